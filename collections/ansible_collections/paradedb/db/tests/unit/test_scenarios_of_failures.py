"""Instances, nodes and Patronis that fail, and what must go on meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from .fake_cluster import FakeCluster
from .scenario import FEW, SEEDS, Make, lead, make, passes, with_clock

__all__ = ["make"]


def node_of(cluster: FakeCluster, name: str) -> str:
    return str(cluster.pods[name]["spec"]["nodeName"])


def uids(cluster: FakeCluster) -> dict[str, str]:
    return {name: item["metadata"]["uid"] for name, item in cluster.pods.items()}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_replica_that_goes_through_its_own_log_is_left_alone(make: Make, seed: int) -> None:
    """Its position is below what the primary still has, but it moves."""
    cluster = make(3, seed)
    lead(cluster, "orders-0")
    cluster.calm = False
    cluster.oldest_wal, cluster.disks["orders-2"].position = cluster.position, cluster.position - 90
    cluster.crash("orders-2")
    cluster.replaying["orders-2"] = 90
    cluster.settle(1000)
    assert cluster.clones.count("orders-2") <= 1  # those of the first start


@pytest.mark.parametrize("seed", SEEDS)
def test_a_setting_with_which_postgresql_does_not_start_destroys_nothing(make: Make, seed: int) -> None:
    cluster = make(3, seed)
    clones, leader = len(cluster.clones), cluster.leader
    cluster.failing = {"r2"}
    cluster.apply_template("r2")
    said = passes(cluster, 100)
    assert said[-1]["reason"] == "InstanceCrashing"
    assert (len(cluster.clones), cluster.leader) == (clones, leader)
    assert sorted(cluster.revisions().values()) == ["r1", "r1", "r2"]
    cluster.apply_template("r1")
    cluster.settle()
    assert len(cluster.ready()) == 3


@pytest.mark.parametrize("seed", FEW)
@pytest.mark.parametrize("heals", [True, False])
def test_data_that_do_not_serve_are_replaced_once(make: Make, seed: int, heals: bool) -> None:
    cluster = make(2, seed)
    lead(cluster, "orders-0")
    cluster.calm, clones = False, len(cluster.clones)
    cluster.corrupt = {"orders-1"}
    for _ in range(150):
        cluster.tick()
        said = cluster.operate()
        if not heals:
            cluster.corrupt = {"orders-1"}
    assert len(cluster.clones) == clones + 1
    assert said["settled"] if heals else said["reason"] == "InstanceCrashing"


@pytest.mark.parametrize("seed", FEW)
@pytest.mark.parametrize("what", ["drain", "fewer", "wish", "rollback", "certificate"])
def test_a_lost_node_that_nobody_gives_up_holds_nothing_else_up(make: Make, seed: int, what: str) -> None:
    cluster = make(3, seed, certificate="c1", broken={"r2"})
    lead(cluster, "orders-0")
    cluster.lose_node(node_of(cluster, "orders-2"))
    passes(cluster, 80)
    match what:
        case "drain":
            cluster.cordon(node_of(cluster, "orders-0"))
        case "fewer":
            cluster.spec["replicas"] = 2
        case "wish":
            cluster.wish("orders-1")
        case "rollback":
            cluster.apply_template("r2")
            passes(cluster, 3)
            cluster.apply_template("r1")
        case _:
            cluster.certificate = "c2"
    passes(cluster, 30)
    assert (cluster.leader == "orders-1") is (what in ("drain", "wish"))
    assert (cluster.size == 2) is (what == "fewer")
    assert cluster.revisions()["orders-1"] == "r1"
    served = {cluster.certificates[name] for name in ("orders-0", "orders-1")}
    assert served == {"c2" if what == "certificate" else "c1"}


@pytest.mark.parametrize("seed", FEW)
@pytest.mark.parametrize("broken", ["unplaced", "corrupt", "full"])
def test_a_drain_waits_for_no_broken_replica(make: Make, seed: int, broken: str) -> None:
    cluster = make(3, seed)
    lead(cluster, "orders-0")
    setattr(cluster, broken, {"orders-2"})
    cluster.crash("orders-2")
    passes(cluster, 4)
    cluster.cordon(node_of(cluster, "orders-0"))
    passes(cluster, 20)
    assert cluster.leader == "orders-1"


@pytest.mark.parametrize("seed", SEEDS)
def test_the_making_of_a_database_is_not_cut_off_by_an_edit(monkeypatch: Any, seed: int) -> None:
    cluster = with_clock(monkeypatch, FakeCluster({"replicas": 1}, seed, initdb=15))
    for _ in range(50):
        cluster.operate()
        cluster.tick()
        said = cluster.pods.get("orders-0", {}).get("metadata", {}).get("annotations", {})
        if "initializing" in said.get("status", ""):
            break
    cluster.apply_template("r2")
    cluster.settle()
    assert not cluster.half_made
    assert cluster.revisions() == {"orders-0": "r2"}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("policy", ["Manual", "ForceDelete"])
def test_a_kubelet_that_is_dead_takes_no_primary_with_it(make: Make, seed: int, policy: str) -> None:
    cluster = make(3, seed)
    cluster.spec["nodeLossPolicy"] = policy
    before = cluster.leader
    cluster.kill_kubelet(node_of(cluster, before))
    passes(cluster, 40)
    assert cluster.leader != before
    assert cluster.leader in cluster.ready()


@pytest.mark.parametrize("seed", FEW)
def test_a_primary_that_lives_on_and_is_alone_is_not_made_twice(make: Make, seed: int) -> None:
    """The rule itself is in FakeCluster: no force where the lock is renewed."""
    cluster = make(1, seed)
    cluster.spec["nodeLossPolicy"] = "ForceDelete"
    cluster.kill_kubelet(node_of(cluster, "orders-0"))
    assert passes(cluster, 100)[-1]["reason"] == "NodeLost"


@pytest.mark.parametrize("seed", FEW)
@pytest.mark.parametrize("what", ["wish", "template", "drain", "fewer"])
def test_a_handover_that_patroni_refuses_becomes_an_error(make: Make, seed: int, what: str) -> None:
    cluster = make(3, seed)
    lead(cluster, "orders-2")
    passes(cluster, 200)  # older requests are forgotten
    cluster.refuses = True
    match what:
        case "wish":
            cluster.wish("orders-1")
        case "template":
            cluster.apply_template("r2")
        case "drain":
            cluster.cordon(node_of(cluster, "orders-2"))
        case _:
            cluster.spec["replicas"] = 2
    said = passes(cluster, 120)
    reasons = {item["reason"] for item in said} | {
        event["reason"] for item in said for event in item.get("events", [])
    }
    assert "SwitchoverTimeout" in reasons
    if what == "wish":
        assert cluster.resource["metadata"]["annotations"] == {}
    cluster.refuses = False
    cluster.settle(1000)
    assert cluster.leader != "orders-2" or what == "wish"


@pytest.mark.parametrize("seed", FEW)
@pytest.mark.parametrize("replicas", [1, 3])
def test_an_alter_system_of_somebody_moves_nothing(make: Make, seed: int, replicas: int) -> None:
    cluster = make(replicas, seed)
    leader, commands = cluster.leader, len(cluster.kube.commands)
    cluster.altered = True
    cluster.settle()
    assert cluster.leader == leader
    assert not [command for _, command, _ in cluster.kube.commands[commands:] if "restart" in command]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("replicas", [1, 3])
def test_the_recovery_of_a_crash_is_waited_for(make: Make, seed: int, replicas: int) -> None:
    """A new template replaces none that is on its way up: it would begin again."""
    cluster = make(replicas, seed)
    lead(cluster, "orders-0")
    cluster.calm = False
    crashed, before = f"orders-{replicas - 1}", uids(cluster)
    cluster.recovering[crashed] = 40
    for _ in range(8):
        cluster.tick()
    cluster.apply_template("r2")
    while cluster.recovering[crashed]:
        cluster.operate()
        assert uids(cluster)[crashed] == before[crashed]
        assert "deletionTimestamp" not in cluster.pods[crashed]["metadata"]
        cluster.tick()
    cluster.settle()
    assert set(cluster.revisions().values()) == {"r2"}


@pytest.mark.parametrize("seed", FEW)
@pytest.mark.parametrize("what", ["nothing", "fewer", "wish", "lost"])
def test_a_full_disk_of_one_replica_holds_nothing_else_up(make: Make, seed: int, what: str) -> None:
    cluster = make(3, seed)
    lead(cluster, "orders-0")
    cluster.spec["nodeLossPolicy"] = "ForceDelete"
    cluster.calm, cluster.full = False, {"orders-2"}
    assert passes(cluster, 30)[-1]["reason"] == "DiskFull"
    match what:
        case "fewer":
            cluster.spec["replicas"] = 2
        case "wish":
            cluster.wish("orders-1")
        case "lost":
            cluster.lose_node(node_of(cluster, "orders-1"))
    said = passes(cluster, 80)
    assert (said[-1]["reason"] == "DiskFull") is (what != "fewer")
    assert (cluster.leader == "orders-1") is (what == "wish")
    assert (("delete", "Pod", "orders-1", "at once") in cluster.kube.writes) is (what == "lost")


@pytest.mark.parametrize("seed", FEW)
def test_a_wish_that_changes_between_read_and_write_is_kept(make: Make, seed: int) -> None:
    cluster = make(3, seed)
    lead(cluster, "orders-0")
    cluster.resource["metadata"]["resourceVersion"] = "1"
    cluster.wish("any")
    patch = cluster.kube.merge_patch

    def meanwhile(target: Any, *more: Any) -> Any:
        if target["kind"] == "ParadeDB" and cluster.resource["metadata"]["resourceVersion"] == "1":
            cluster.resource["metadata"]["resourceVersion"] = "2"
            cluster.wish("orders-2")
        return patch(target, *more)

    cluster.kube.merge_patch = meanwhile  # type: ignore[method-assign]
    cluster.settle()
    assert cluster.leader == "orders-2"
