"""What is read out of pods and Patroni's objects, also where it is illegible."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import topology
from ansible_collections.paradedb.db.plugins.module_utils.kube import KubeError

from .fake_kube import FakeKube, Object, pod

# As touch_member of Patroni 4.1 writes it.
PRIMARY = {
    "conn_url": "postgres://10.0.0.1:5432/postgres",
    "api_url": "http://10.0.0.1:8008/patroni",
    "state": "running",
    "role": "primary",
    "version": "4.1.5",
    "xlog_location": 100 * 2**20,
    "timeline": 3,
}
REPLICA = PRIMARY | {
    "role": "replica",
    "xlog_location": 97 * 2**20 + 5,
    "replay_lsn": 97 * 2**20,
    "receive_lsn": 97 * 2**20 + 5,
    "replication_state": "streaming",
}


def said(name: str, words: Any, **more: Any) -> Object:
    made = pod(name, **more)
    text = words if isinstance(words, str) else json.dumps(words, separators=(",", ":"))
    made["metadata"]["annotations"] = {"status": text}
    return made


def stateful_set(**status: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "orders", "generation": 2},
        "spec": {"replicas": 3},
        "status": {"observedGeneration": 2, "updateRevision": "r1"} | status,
    }


def config_map(name: str, **annotations: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "annotations": annotations}}


def observe(*objects: Object) -> topology.Topology:
    return topology.observe(FakeKube(*objects), "prod", "orders")  # type: ignore[arg-type]


def test_a_primary_and_its_replica() -> None:
    seen = observe(
        stateful_set(), said("orders-1", REPLICA, role="replica"), said("orders-0", PRIMARY, role="primary")
    )
    assert [item.name for item in seen.present] == ["orders-0", "orders-1"]
    primary, replica = seen.present
    assert seen.primary is primary
    assert seen.replicas == [replica]
    assert (primary.role, primary.timeline, primary.streaming) == ("primary", 3, False)
    assert (replica.role, replica.streaming, replica.ordinal) == ("replica", True, 1)
    assert seen.lag(replica) == 3 * 2**20 - 5
    assert seen.size == 3
    assert seen.requested is False


def test_the_table_counts_lag_in_whole_segments() -> None:
    waits = REPLICA | {
        "xlog_location": 60 * 2**20 - 1,
        "pending_restart": True,
        "pending_restart_reason": {"max_connections": {"old_value": "100", "new_value": "50"}},
    }
    replica = said("orders-1", waits, role="replica")
    replica["spec"] = replica.get("spec", {}) | {"nodeName": "n2"}
    table = observe(stateful_set(), said("orders-0", PRIMARY, role="primary"), replica).table()
    assert table[1] == {
        "name": "orders-1",
        "role": "replica",
        "state": "running",
        "ready": True,
        "timeline": 3,
        "lagBytes": 32 * 2**20,
        "pendingRestart": True,
        "node": "n2",
    }


@pytest.mark.parametrize(
    "words",
    ["", "{", "null", "[]", "7", '"running"', "{}", '{"xlog_location":"12","timeline":null}', '{"state":7}'],
)
def test_what_is_illegible_is_left_open(words: str) -> None:
    item = topology.parse(said("orders-1", words, role="replica"), stateful_set(), [])
    assert (item.position, item.timeline, item.streaming, item.pending) == (0, 0, False, {})
    assert item.ready


@pytest.mark.parametrize("annotations", [None, {}, {"other": "x"}])
def test_a_pod_of_which_patroni_has_said_nothing(annotations: Any) -> None:
    bare = pod("orders-1")
    bare["metadata"]["annotations"] = annotations
    item = topology.parse(bare, None, [])
    assert (item.state, item.role, item.primary, item.outdated) == ("", "", False, False)


def test_an_instance_that_told_no_position_has_no_lag() -> None:
    cloning = said("orders-1", {"state": "creating replica", "role": "replica"}, ready=False)
    seen = observe(stateful_set(), said("orders-0", PRIMARY, role="primary"), cloning)
    assert seen.lag(seen.present[1]) == 0


def test_a_replica_is_never_ahead() -> None:
    ahead = REPLICA | {"xlog_location": 200 * 2**20}
    seen = observe(
        stateful_set(), said("orders-0", PRIMARY, role="primary"), said("orders-1", ahead, role="replica")
    )
    assert seen.lag(seen.present[1]) == 0
    assert observe(stateful_set(), said("orders-1", ahead, role="replica")).table()[0]["lagBytes"] == 0


def test_of_two_that_say_they_lead_the_later_timeline_does() -> None:
    stale = said("orders-0", PRIMARY, role="primary")
    new = said("orders-1", PRIMARY | {"timeline": 4}, role="primary")
    assert getattr(observe(stateful_set(), stale, new).primary, "name", "") == "orders-1"
    down = said("orders-1", PRIMARY | {"timeline": 4}, role="primary", ready=False)
    assert getattr(observe(stateful_set(), stale, down).primary, "name", "") == "orders-0"


@pytest.mark.parametrize(
    ("text", "names"),
    [("orders-1", {"orders-1"}), ("orders-1,orders-2", {"orders-1", "orders-2"}), ("", set())],
)
def test_synchronous_standbys(text: str, names: set[str]) -> None:
    replicas = [said(f"orders-{number}", REPLICA, role="replica") for number in (1, 2)]
    seen = observe(
        stateful_set(),
        said("orders-0", PRIMARY, role="primary"),
        *replicas,
        config_map("orders-patroni-sync", leader="orders-0", sync_standby=text),
    )
    assert {item.name for item in seen.present if item.synchronous} == names
    assert {item.name for item in seen.present if item.role == "syncReplica"} == names


@pytest.mark.parametrize(
    ("annotations", "requested"),
    [
        ({}, False),
        ({"leader": "orders-0"}, True),
        ({"leader": "orders-0", "member": "orders-1"}, True),
        ({"member": "orders-1"}, True),
        ({"database.paradedb.io/asked": "orders-0 orders-1 x y"}, False),  # our own note stays
    ],
)
def test_what_patroni_was_asked_for(annotations: dict[str, str], requested: bool) -> None:
    pods = [said("orders-0", PRIMARY, role="primary"), said("orders-1", REPLICA, role="replica")]
    seen = observe(stateful_set(), *pods, config_map("orders-patroni-failover", **annotations))
    assert seen.requested is requested
    assert seen.failover is not None
    assert observe(stateful_set(), *pods).requested is False


@pytest.mark.parametrize(
    ("lock", "holder"),
    [
        ({}, ""),
        ({"leader": "orders-0"}, ""),
        ({"leader": "orders-0", "renewTime": "?"}, ""),
        ({"leader": "orders-0", "renewTime": 5}, "orders-0"),
        ({"leader": "orders-0", "renewTime": -30}, "orders-0"),  # clocks differ
        ({"leader": "orders-0", "renewTime": 61}, ""),
        ({"renewTime": 5}, ""),
    ],
)
def test_who_holds_the_lock(lock: dict[str, Any], holder: str) -> None:
    """Also one whose kubelet does not answer, so that its pod is not ready. A number: seconds ago."""
    age = lock.get("renewTime")
    if isinstance(age, int):
        lock = lock | {"renewTime": (datetime.now(UTC) - timedelta(seconds=age)).isoformat()}
    pods = [
        said("orders-0", PRIMARY, role="primary", ready=False),
        said("orders-1", REPLICA, role="replica"),
    ]
    seen = observe(stateful_set(), *pods, config_map("orders-patroni-leader", **lock))
    assert seen.holder == holder
    assert seen.primary is None


@pytest.mark.parametrize(
    ("annotations", "hibernated"), [(None, False), ({}, False), ({topology.HIBERNATED: "true"}, True)]
)
def test_who_took_the_instances_away(annotations: Any, hibernated: bool) -> None:
    asleep = stateful_set()
    asleep["metadata"]["annotations"] = annotations
    assert observe(asleep).hibernated is hibernated
    assert observe().hibernated is False


def test_the_instances_that_there_are_data_of() -> None:
    labels = pod("orders-0")["metadata"]["labels"]
    names = ["data-orders-0", "data-orders-3", "wal-orders-7", "data-orders-x-8"]
    claims = [
        {"kind": "PersistentVolumeClaim", "metadata": {"name": name, "labels": labels}} for name in names
    ]
    assert topology.kept_instances(FakeKube(*claims), "prod", "orders") == 4  # type: ignore[arg-type]
    assert topology.kept_instances(FakeKube(), "prod", "orders") == 0  # type: ignore[arg-type]


def test_those_that_go_are_apart() -> None:
    leaving = said("orders-1", REPLICA, role="replica")
    leaving["metadata"]["deletionTimestamp"] = "2025-01-01T00:00:00Z"
    seen = observe(stateful_set(), said("orders-0", PRIMARY, role="primary"), leaving)
    assert [item.name for item in seen.present] == ["orders-0"]
    assert [item.name for item in seen.going] == ["orders-1"]


@pytest.mark.parametrize(
    ("status", "outdated"),
    [
        ({}, False),
        ({"updateRevision": "r2"}, True),
        ({"updateRevision": "r2", "observedGeneration": 1}, False),  # the controller has not looked yet
    ],
)
def test_outdated(status: dict[str, Any], outdated: bool) -> None:
    assert topology.parse(pod("orders-0"), stateful_set(**status), []).outdated is outdated


def test_is_current() -> None:
    assert topology.is_current(stateful_set()) is True
    assert topology.is_current(stateful_set(observedGeneration=1)) is False
    assert topology.is_current(None) is False
    assert topology.is_current({"metadata": {"generation": 1}}) is False


@pytest.mark.parametrize(
    ("words", "pending"),
    [
        ({}, {}),
        ({"pending_restart": False, "pending_restart_reason": {"a": {}}}, {}),
        ({"pending_restart": True}, {"": {}}),  # Patroni before 4.0
        ({"pending_restart": True, "pending_restart_reason": "?"}, {"": {}}),
        (
            {"pending_restart": True, "pending_restart_reason": {"a": {"old_value": "1"}}},
            {"a": {"old_value": "1"}},
        ),
    ],
)
def test_what_waits_for_a_restart(words: dict[str, Any], pending: dict[str, Any]) -> None:
    item = topology.parse(said("orders-0", PRIMARY | words), None, [])
    assert item.pending == pending
    assert item.pending_restart is bool(pending)


def test_unready_for() -> None:
    now = datetime(2025, 1, 1, 0, 1, 5, tzinfo=UTC)
    assert topology.unready_for(topology.parse(pod("orders-0"), None, []), now) == 0
    assert topology.unready_for(topology.parse(pod("orders-0", ready=False), None, []), now) == 60


def node(name: str, status: str, **more: Any) -> Object:
    condition = {"type": "Ready", "status": status, "lastTransitionTime": "2025-01-01T00:00:00Z"}
    metadata = {"name": name, "namespace": ""}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": metadata,
        "status": {"conditions": [condition]},
    } | more


def test_nodes() -> None:
    placed = pod("orders-0")
    placed["spec"] = placed.get("spec", {}) | {"nodeName": "n1"}
    kube = FakeKube(placed, pod("orders-1"), node("n1", "Unknown"), node("n2", "True"))
    seen = topology.observe(kube, "prod", "orders")  # type: ignore[arg-type]
    states = topology.node_states(kube, seen)  # type: ignore[arg-type]
    assert set(states) == {"n1"}
    assert topology.lost_since(states["n1"]) == datetime(2025, 1, 1, tzinfo=UTC)
    assert topology.lost_since(node("n2", "True")) is None
    assert topology.lost_since(None) is None
    assert topology.lost_since({"status": None}) is None
    assert topology.is_cordoned(node("n1", "True", spec={"unschedulable": True})) is True
    assert topology.is_cordoned(node("n1", "True")) is False
    assert topology.is_cordoned(None) is False


@pytest.mark.parametrize(("status", "raised"), [(403, False), (500, True), (0, True)])
def test_who_may_not_read_nodes_knows_none_to_be_lost(
    status: int, raised: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = pod("orders-0")
    placed["spec"] = placed.get("spec", {}) | {"nodeName": "n1"}
    kube = FakeKube(placed)
    seen = topology.observe(kube, "prod", "orders")  # type: ignore[arg-type]

    def refuse(*_arguments: str) -> None:
        raise KubeError(status, "no")

    monkeypatch.setattr(kube, "get", refuse)
    if raised:
        with pytest.raises(KubeError):
            topology.node_states(kube, seen)  # type: ignore[arg-type]
    else:
        assert topology.node_states(kube, seen) == {}  # type: ignore[arg-type]
