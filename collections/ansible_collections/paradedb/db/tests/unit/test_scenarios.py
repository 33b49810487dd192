"""Whole changes of a simulated cluster, pass by pass; the rules that always hold are in fake_cluster.py."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from .scenario import SEEDS, lead, make

__all__ = ["make"]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("replicas", [1, 2, 3, 5])
def test_a_rolling_update_replaces_every_pod_and_moves_the_primary_once(
    make: Any, replicas: int, seed: int
) -> None:
    cluster = make(replicas, seed)
    before, moves = cluster.leader, len(cluster.leaders)
    cluster.apply_template("r2")
    cluster.settle()
    assert set(cluster.revisions().values()) == {"r2"}
    assert len(cluster.leaders) == moves + 1
    assert (cluster.leader != before) is (replicas > 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_broken_image_stops_at_the_first_replica_and_goes_back(make: Any, seed: int) -> None:
    cluster = make(3, seed, broken={"r2"})
    leader = cluster.leader
    cluster.apply_template("r2")
    for _ in range(60):
        said = cluster.operate()
        cluster.tick()
    assert (said["reason"], said.get("refused")) == ("ImagePullFailed", True)
    assert sorted(cluster.revisions().values()) == ["r1", "r1", "r2"]
    assert (cluster.leader, len(cluster.ready())) == (leader, 2)
    cluster.apply_template("r1")
    cluster.settle()
    assert set(cluster.revisions().values()) == {"r1"}
    assert (cluster.leader, len(cluster.ready())) == (leader, 3)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("leader", ["orders-0", "orders-4"])
def test_scaling_down_keeps_the_primary(make: Any, seed: int, leader: str) -> None:
    cluster = make(5, seed)
    lead(cluster, leader)
    cluster.spec["replicas"] = 2
    cluster.settle()
    assert cluster.ready() == {"orders-0", "orders-1"}
    assert cluster.leader in cluster.ready()
    cluster.spec["replicas"] = 4
    cluster.settle()
    assert len(cluster.ready()) == 4


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("replicas", "leader"), [(1, "orders-0"), (3, "orders-0"), (3, "orders-2")])
def test_hibernation_ends_with_the_primary_and_wakes_with_its_data(
    make: Any, seed: int, replicas: int, leader: str
) -> None:
    cluster = make(replicas, seed)
    lead(cluster, leader)
    cluster.spec["hibernate"] = True
    said = cluster.settle()[-1]
    assert (cluster.pods, said["replicas"]) == ({}, 0)
    assert next(item for item in said["checks"] if item["type"] == "Hibernated")["ok"] is True
    written = max(disk.position for disk in cluster.disks.values())
    assert cluster.disks["orders-0"].position == written
    cluster.spec["hibernate"] = False
    passes = cluster.settle()
    assert len(cluster.ready()) == replicas
    assert cluster.leader == "orders-0"
    assert next(item for item in passes[-1]["checks"] if item["type"] == "Hibernated")["ok"] is False


@pytest.mark.parametrize("seed", SEEDS)
def test_hibernation_that_is_called_off_halfway(make: Any, seed: int) -> None:
    cluster = make(3, seed)
    cluster.spec["hibernate"] = True
    for _ in range(cluster.random.randint(1, 25)):
        cluster.operate()
        cluster.tick()
    cluster.spec["hibernate"] = False
    cluster.settle()
    assert len(cluster.ready()) == 3


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("wish", ["any", "orders-0", "orders-1", "orders-2"])
def test_a_wish_for_another_primary(make: Any, seed: int, wish: str) -> None:
    cluster = make(3, seed)
    before = cluster.leader
    cluster.wish(wish)
    said = cluster.settle()
    assert "database.paradedb.io/switchover" not in cluster.resource["metadata"]["annotations"]
    assert cluster.leader != before if wish == "any" else cluster.leader == wish
    assert "SwitchoverDone" in [event["reason"] for item in said for event in item.get("events", [])]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("before", "after"), [(100, 50), (100, 200)])
def test_sensitive_settings_reach_primary_and_replicas_in_the_order_that_serves(
    make: Any, seed: int, before: int, after: int
) -> None:
    """The rule itself is in FakeCluster: no replica stops because it has less than the primary."""
    cluster = make(3, seed, settings={"max_connections": before})
    cluster.strict = True
    first = cluster.leader
    cluster.change_settings(max_connections=after)
    commands = len(cluster.kube.commands)
    cluster.settle()
    assert {disk.settings["max_connections"] for disk in cluster.disks.values()} == {after}
    restarted = [target for target, command, _ in cluster.kube.commands[commands:] if "restart" in command]
    assert (restarted[0] == first) is (after < before)
    assert (cluster.leader == first) is (after < before)  # else it hands over instead of stopping


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("after", [50, 200])
def test_sensitive_settings_and_a_new_template_together(make: Any, seed: int, after: int) -> None:
    cluster = make(3, seed)
    cluster.strict = True
    cluster.apply_template("r2")
    for _ in range(seed):
        cluster.operate()
        cluster.tick()
    cluster.change_settings(max_connections=after)
    cluster.settle()
    assert set(cluster.revisions().values()) == {"r2"}
    assert {disk.settings["max_connections"] for disk in cluster.disks.values()} == {after}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_primary_leaves_a_node_that_is_drained(make: Any, seed: int) -> None:
    cluster = make(3, seed)
    node = cluster.pods[cluster.leader]["spec"]["nodeName"]
    cluster.cordon(node)
    cluster.settle()
    assert cluster.pods[cluster.leader]["spec"]["nodeName"] != node
    assert len(cluster.ready()) == 3


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("policy", ["Manual", "ForceDelete"])
def test_a_lost_node(make: Any, seed: int, policy: str) -> None:
    cluster = make(3, seed)
    cluster.spec["nodeLossPolicy"] = policy
    lost = cluster.leader
    cluster.lose_node(cluster.pods[lost]["spec"]["nodeName"])
    if policy == "Manual":
        for _ in range(100):
            said = cluster.operate()
            cluster.tick()
        assert said["reason"] == "NodeLost"
        assert all(write[-1] != "at once" for write in cluster.kube.writes)
    else:
        for _ in range(5):  # the node controller notices
            cluster.tick()
        cluster.settle()
        assert len(cluster.ready()) == 3
        assert ("delete", "Pod", lost, "at once") in cluster.kube.writes
    assert cluster.leader != lost


@pytest.mark.parametrize("seed", SEEDS)
def test_a_primary_that_crashes_in_a_rolling_update(make: Any, seed: int) -> None:
    """Those that could lead are left alone until one does."""
    cluster = make(3, seed)
    cluster.apply_template("r2")
    for _ in range(cluster.random.randint(0, 6)):
        cluster.operate()
        cluster.tick()
    leader, candidates = cluster.leader, {name for name in cluster.ready() if name != cluster.leader}
    if leader in cluster.pods:
        cluster.crash(leader)
    for _ in range(100):
        if cluster.leader in cluster.ready():
            break
        cluster.operate()
        assert candidates <= set(cluster.pods)
        assert all("deletionTimestamp" not in cluster.pods[name]["metadata"] for name in candidates)
        cluster.tick()
    cluster.settle()
    assert set(cluster.revisions().values()) == {"r2"}
    assert len(cluster.ready()) == 3


@pytest.mark.parametrize("seed", SEEDS)
def test_a_replica_whose_log_is_gone_is_cloned(make: Any, seed: int) -> None:
    cluster = make(3, seed)
    cluster.calm = False
    behind = next(name for name in sorted(cluster.pods) if name != cluster.leader)
    cluster.oldest_wal = cluster.position - 1
    cluster.disks[behind].position = 1
    for _ in range(12):
        cluster.tick()
    cluster.settle()
    assert set(cluster.clones) >= {behind}
    assert cluster.leader not in cluster.clones
    assert len(cluster.ready()) == 3


@pytest.mark.parametrize("seed", SEEDS)
def test_a_renewed_certificate_is_loaded_everywhere_without_a_restart(make: Any, seed: int) -> None:
    cluster = make(3, seed, certificate="c1")
    pods = {name: item["metadata"]["uid"] for name, item in cluster.pods.items()}
    cluster.reloads.clear()
    cluster.certificate = "c2"
    cluster.settle()
    assert set(cluster.certificates.values()) == {"c2"}
    assert sorted(cluster.reloads) == sorted(pods)
    assert pods == {name: item["metadata"]["uid"] for name, item in cluster.pods.items()}


@pytest.mark.parametrize("seed", range(40))
def test_passes_that_are_killed_anywhere_go_on(make: Any, seed: int) -> None:
    """Everything at once, each write with a chance that the pass ends before or after it."""
    cluster = make(3, seed)
    cluster.kube.fuse = Random(seed)  # noqa: S311 - no secret
    cluster.apply_template("r2")
    cluster.change_settings(max_connections=40, max_worker_processes=9)
    cluster.spec["replicas"] = 2
    cluster.wish("orders-1")
    cluster.settle(2000)
    assert cluster.ready() == {"orders-0", "orders-1"}
    assert set(cluster.revisions().values()) == {"r2"}
    cluster.spec["hibernate"] = True
    cluster.settle(2000)
    assert cluster.pods == {}
    cluster.spec |= {"hibernate": False, "replicas": 3}
    cluster.settle(2000)
    assert len(cluster.ready()) == 3


@pytest.mark.parametrize("seed", range(40))
def test_any_changes_in_any_order_settle(make: Any, seed: int) -> None:
    """A new wish may come at any moment of the one before."""
    cluster = make(3, seed)
    dice = Random(seed)  # noqa: S311 - no secret
    for number in range(8):
        match dice.randrange(6):
            case 0:
                cluster.apply_template(f"r{number + 2}")
            case 1:
                cluster.spec["replicas"] = dice.randint(1, 5)
            case 2:
                cluster.change_settings(max_connections=dice.choice([30, 100, 300]))
            case 3:
                cluster.calm = False  # a person may ask for it while an instance is down
                cluster.wish(dice.choice(["any", "orders-0", "orders-1", "orders-9"]))
            case 4:
                cluster.spec["hibernate"] = not cluster.spec.get("hibernate")
            case _:
                cluster.certificate = f"c{number}"
        for _ in range(dice.randint(0, 12)):
            cluster.operate()
            cluster.tick()
    cluster.spec["hibernate"] = False
    cluster.settle(2000)
    assert len(cluster.ready()) == cluster.spec["replicas"]
    assert set(cluster.revisions().values()) == {cluster.stateful_set["spec"]["template"]["revision"]}


@pytest.mark.parametrize("seed", SEEDS)
def test_only_a_synchronous_replica_is_asked_to_lead(make: Any, seed: int) -> None:
    cluster = make(3, seed)
    cluster.spec["replication"] = {"mode": "sync", "syncNodeCount": 1}
    for _ in range(6):
        cluster.tick()
    cluster.apply_template("r2")
    cluster.settle()
    assert set(cluster.revisions().values()) == {"r2"}
