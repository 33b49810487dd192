"""Fewer instances, hibernation and waking, where the way there is not the usual one."""

from __future__ import annotations

import pytest

from .scenario import FEW, SEEDS, Make, lead, make, passes

__all__ = ["make"]

SYNC = {"replication": {"mode": "sync", "syncNodeCount": 1}}
STRICT = {"replication": {"mode": "sync", "syncNodeCount": 1, "strict": True}}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("mode", [{}, SYNC])
def test_what_somebody_else_took_away_wakes_without_a_loss(make: Make, seed: int, mode: dict) -> None:
    """As by kubectl scale: the first instance need not be the one that has the newest data."""
    cluster = make(3, seed, mode)
    lead(cluster, "orders-2")
    passes(cluster, 5)
    cluster.scale_behind_its_back(0)
    for _ in range(30):
        cluster.tick()
    assert cluster.pods == {}
    synchronous = cluster._synchronous()
    cluster.disks["orders-0"].position = 1
    cluster.operate()
    assert cluster.size == 3
    passes(cluster, 100)
    assert len(cluster.ready()) == 3
    if mode:
        assert cluster.leaders[-1] in synchronous
        assert cluster.dynamic["synchronous_mode"] is True


@pytest.mark.parametrize("seed", FEW)
def test_after_its_own_hibernation_the_first_instance_is_the_first(make: Make, seed: int) -> None:
    """Also where its note went away with the StatefulSet, as when a volume grows meanwhile."""
    cluster = make(3, seed)
    cluster.spec["hibernate"] = True
    cluster.settle()
    cluster.disks["orders-0"].position = max(disk.position for disk in cluster.disks.values()) + 1
    cluster.stateful_set["metadata"].pop("annotations", None)
    cluster.spec["hibernate"] = False
    cluster.operate()
    assert cluster.size == 1
    cluster.settle()
    assert (cluster.leader, cluster.lacked) == ("orders-0", 0)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("leader", ["orders-0", "orders-1", "orders-2"])
@pytest.mark.parametrize("wanted", [{"replicas": 1}, {"replicas": 2}, {"hibernate": True}])
def test_synchronous_replication_does_not_keep_instances(
    make: Make, seed: int, leader: str, wanted: dict
) -> None:
    """Only the synchronous replica may follow, and it stays what it is while it streams."""
    cluster = make(3, seed, SYNC)
    while cluster.leader != leader:
        cluster.wish("any")
        cluster.settle()
    cluster.spec |= wanted
    cluster.settle()
    assert cluster.size == cluster.spec["replicas"] * (not cluster.spec.get("hibernate"))
    assert cluster.lacked == 0


@pytest.mark.parametrize("seed", FEW)
@pytest.mark.parametrize("wanted", [{"replicas": 1}, {"hibernate": True}])
def test_who_has_to_follow_is_mended_first(make: Make, seed: int, wanted: dict) -> None:
    cluster = make(2, seed)
    lead(cluster, "orders-1")
    cluster.calm = False
    cluster.oldest_wal, cluster.disks["orders-0"].position = cluster.position - 1, 1
    for _ in range(8):
        cluster.tick()
    cluster.spec |= wanted
    cluster.settle()
    assert "orders-0" in cluster.clones
    assert cluster.size == (0 if "hibernate" in wanted else 1)


@pytest.mark.parametrize("seed", FEW)
def test_instances_that_do_not_start_are_told_of_on_the_way_down(make: Make, seed: int) -> None:
    cluster = make(3, seed)
    cluster.calm, cluster.corrupt = False, set(cluster.pods)
    cluster.leader = ""
    for _ in range(40):
        cluster.tick()
    cluster.spec["hibernate"] = True
    assert cluster.operate()["reason"] == "InstanceCrashing"


@pytest.mark.parametrize("seed", FEW)
def test_what_stays_serves_before_the_rest_goes(make: Make, seed: int) -> None:
    cluster = make(3, seed, SYNC)
    lead(cluster, "orders-0")
    cluster.calm = False
    cluster.crash("orders-1")
    cluster.replaying["orders-1"] = 20
    cluster.spec["replicas"] = 2
    for _ in range(200):
        cluster.operate()
        if cluster.size == 2:
            break
        cluster.tick()
    assert {"orders-0", "orders-1"} <= cluster.ready()
    cluster.settle()


@pytest.mark.parametrize("seed", FEW)
def test_strict_replication_stops_no_writes_while_replicas_copy(make: Make, seed: int) -> None:
    cluster = make(1, seed)
    cluster.spec |= {"replicas": 3} | STRICT
    cluster.settle()
    cluster.settle()
    assert cluster.dynamic["synchronous_mode_strict"] is True
    cluster.spec["hibernate"] = True
    cluster.settle()
    hung = cluster.hung
    cluster.spec["hibernate"] = False
    for _ in range(100):
        cluster.operate()
        cluster.tick()
        if any(name != cluster.leader for name in cluster.ready()):
            break
        assert cluster.hung == hung
    cluster.settle()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("leader", ["orders-0", "orders-1", "orders-2"])
def test_an_image_that_allows_one_instance_only_ends_with_one(make: Make, seed: int, leader: str) -> None:
    """Community with pg_search 0.24: known only when the first instance with it leads."""
    cluster = make(3, seed, search={"r1": "0.23.5", "r2": "0.24.1"})
    lead(cluster, leader)
    cluster.calm = False  # on the way to one instance, others need not serve
    moves = len(cluster.leaders)
    cluster.apply_template("r2")
    cluster.settle()
    assert (cluster.ready(), cluster.revisions()) == ({"orders-0"}, {"orders-0": "r2"})
    assert len(cluster.leaders) - moves <= 3
