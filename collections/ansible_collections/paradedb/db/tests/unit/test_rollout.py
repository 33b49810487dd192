"""A pass over the instances: what is read for the decision, that the step is taken, and what is reported."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import instances, rollout, steps, topology
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import ExecFailed, KubeError

from .fake_kube import FakeKube, Object, pod

FINE = {
    "connected": True,
    "search_version": "",
    "oldest_wal": 0,
    "hba_problem": None,
    "settings_applied": True,
    "pending_restart": False,
}
COMMUNITY = FINE | {"search_version": "0.24.1"}


def stateful_set(size: int = 1, generation: int = 1, observed: int = 1, update: str = "r1") -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "orders", "generation": generation},
        "spec": {"replicas": size},
        "status": {"observedGeneration": observed, "updateRevision": update},
    }


def reconcile(
    cluster: FakeKube,
    database: dict[str, Any] | None = None,
    check_mode: bool = False,
    spec: dict[str, Any] | None = None,
    **more: str,
) -> dict[str, Any]:
    found = FINE if database is None else database
    where = cluster, "prod", "orders"
    return rollout.reconcile(*where, spec or {"replicas": 1}, found, check_mode, **more)  # type: ignore[arg-type]


def resource(spec: dict[str, Any] | None = None, **annotations: str) -> Object:
    return {
        "apiVersion": "database.paradedb.io/v1alpha1",
        "kind": "ParadeDB",
        "metadata": {"name": "orders", "namespace": "prod", "annotations": annotations},
        "spec": spec or {"replicas": 1},
    }


def checks(found: dict[str, Any]) -> dict[str, bool]:
    return {item["type"]: item["ok"] for item in found["checks"]}


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pods are of long ago, and no disk is full."""
    monkeypatch.setattr(instances, "PROGRESS_DEADLINE", 10**10)
    monkeypatch.setattr(rollout.disk, "full", lambda kube, namespace, pod: None)


def test_settled() -> None:
    cluster = FakeKube(stateful_set(), pod("orders-0", role="primary"))
    found = reconcile(cluster)
    assert found == {
        "changed": False,
        "settled": True,
        "reason": "Reconciled",
        "message": "",
        "replicas": 1,
        "events": [],
        "checks": [
            {"type": "Hibernated", "ok": False, "reason": "NotHibernated", "message": ""},
            {"type": "ReplicasLimited", "ok": False, "reason": "NotLimited", "message": ""},
        ],
    }
    assert (cluster.writes, cluster.commands) == ([], [])


@pytest.mark.parametrize(
    ("objects", "database", "reason"),
    [
        ([], FINE, "InstancesStarting"),
        ([stateful_set(generation=2)], FINE, "InstancesStarting"),
        ([stateful_set()], FINE, "InstancesStarting"),
        ([stateful_set(), pod("orders-0", ready=False)], FINE, "InstancesStarting"),
        ([stateful_set(), pod("orders-0")], FINE, "NoPrimary"),
        ([stateful_set(), pod("orders-0", role="primary")], {"connected": False}, "InstancesStarting"),
        ([stateful_set(), pod("orders-0", role="primary")], {}, "InstancesStarting"),
        (
            [stateful_set(), pod("orders-0", role="primary")],
            FINE | {"settings_applied": False},
            "ApplyingSettings",
        ),
    ],
)
def test_waits_without_touching_anything(
    objects: list[Object], database: dict[str, Any], reason: str
) -> None:
    cluster = FakeKube(*objects)
    found = reconcile(cluster, database)
    assert (found["settled"], found["changed"], found["reason"]) == (False, False, reason)
    assert 0 < found["requeue_after"] <= 10
    assert found["message"]
    assert (cluster.writes, cluster.commands, found["events"]) == ([], [], [])


def test_a_step_is_taken_and_told() -> None:
    cluster = FakeKube(stateful_set(update="r2"), pod("orders-0", role="primary"))
    found = reconcile(cluster)
    assert cluster.writes == [("delete", "Pod", "orders-0")]
    assert (found["reason"], found["settled"], found["changed"]) == ("RollingUpdate", False, True)
    assert "orders-0" in found["message"]


def test_an_event_tells_of_a_step_that_people_look_for() -> None:
    cluster = FakeKube(stateful_set(), pod("orders-0", role="primary"))
    found = reconcile(cluster, spec={"replicas": 3})
    assert found["events"] == [{"type": "Normal", "reason": "ScalingUp", "message": "From 1 instances to 3"}]
    assert (found["replicas"], found["changed"]) == (3, True)


def test_check_mode_foretells_and_touches_nothing() -> None:
    waits = {"state": "running", "role": "primary", "pending_restart": True}
    for made, said in ((stateful_set(update="r2"), None), (stateful_set(), waits)):
        cluster = FakeKube(made, pod("orders-0", role="primary", said=said))
        assert reconcile(cluster, check_mode=True)["changed"] is True
        assert (cluster.writes, cluster.commands) == ([], [])


def test_a_restart_of_which_only_postgresql_knows_is_not_ours() -> None:
    """After an ALTER SYSTEM of somebody, which Patroni would not restart for."""
    said = {"state": "running", "role": "primary"}
    cluster = FakeKube(stateful_set(), pod("orders-0", role="primary", said=said))
    assert reconcile(cluster, FINE | {"pending_restart": True})["settled"] is True
    assert cluster.commands == []


def test_a_refusal_touches_nothing() -> None:
    waiting = {"name": "paradedb", "image": "x", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    cluster = FakeKube(stateful_set(), pod("orders-0", ready=False, containerStatuses=[waiting]))
    with pytest.raises(Refused) as caught:
        reconcile(cluster, {"connected": False})
    assert caught.value.reason == "ImagePullFailed"
    assert cluster.writes == []


@pytest.mark.parametrize(
    ("spec", "database", "replicas", "scaled"),
    [
        ({"replicas": 3}, FINE, 3, 3),
        ({"replicas": 3}, {"connected": False}, 1, None),  # what the image has is not known yet
        ({"replicas": 3}, COMMUNITY, 1, None),
        ({"replicas": 3, "edition": "Enterprise"}, COMMUNITY, 3, 3),
        ({"replicas": 3, "replication": {"communityStandby": "HeapOnly"}}, COMMUNITY, 3, 3),
        ({"replicas": 1, "hibernate": True}, FINE, 0, 0),
        ({"replicas": 1, "hibernate": True}, {"connected": False}, 0, 0),
        ({}, FINE, 1, None),
    ],
)
def test_how_many_instances_are_wanted(
    spec: dict[str, Any], database: dict[str, Any], replicas: int, scaled: int | None
) -> None:
    cluster = FakeKube(stateful_set(), pod("orders-0", role="primary"))
    found = reconcile(cluster, database, spec={"replicas": 1} | spec)
    assert found["replicas"] == replicas
    patches = [write[-1]["spec"]["replicas"] for write in cluster.writes]
    assert patches == ([] if scaled is None else [scaled])


def test_what_limits_the_replicas_is_told() -> None:
    cluster = FakeKube(stateful_set(), pod("orders-0", role="primary"))
    found = reconcile(cluster, COMMUNITY, spec={"replicas": 3})
    (limited,) = [item for item in found["checks"] if item["type"] == "ReplicasLimited"]
    assert (limited["ok"], limited["reason"]) == (True, "CommunityStandbyUnsupported")
    assert "0.24.1" in limited["message"]
    assert "ReplicasLimited" not in checks(reconcile(cluster, {"connected": False}, spec={"replicas": 3}))


def test_it_sleeps_when_the_last_instance_is_gone() -> None:
    spec = {"replicas": 3, "hibernate": True}
    asleep = reconcile(FakeKube(stateful_set(size=0)), {"connected": False}, spec=spec)
    assert (asleep["settled"], asleep["replicas"], checks(asleep)["Hibernated"]) == (True, 0, True)
    ending = reconcile(FakeKube(stateful_set(size=0), pod("orders-0")), {"connected": False}, spec=spec)
    assert (ending["settled"], checks(ending)["Hibernated"]) == (False, False)


def test_a_full_disk_is_said_before_the_rest_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def full(_kube: Any, namespace: str, item: Object) -> Refused | None:
        asked.append((namespace, item["metadata"]["name"]))
        return (
            Refused("DiskFull", "spec.storage.size", "full")
            if item["metadata"]["name"] == "orders-2"
            else None
        )

    monkeypatch.setattr(rollout.disk, "full", full)
    pods = [pod("orders-0", role="primary"), pod("orders-1", role="replica"), pod("orders-2", ready=False)]
    cluster = FakeKube(stateful_set(3), *pods)
    with pytest.raises(Refused) as caught:
        reconcile(cluster, spec={"replicas": 3})
    assert caught.value.reason == "DiskFull"
    assert sorted(asked) == [("prod", "orders-0"), ("prod", "orders-2")]  # not one that is well
    with pytest.raises(Refused):
        rollout.look(cluster, resource({"replicas": 3}), False)  # type: ignore[arg-type]
    assert cluster.writes == []


def test_a_pod_whose_container_does_not_run_is_not_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout.disk, "full", lambda *_arguments: pytest.fail("asked"))
    waiting = {"name": "paradedb", "image": "x", "state": {"waiting": {}}}
    cluster = FakeKube(stateful_set(), pod("orders-0", ready=False, containerStatuses=[waiting]))
    assert reconcile(cluster, {"connected": False})["reason"] == "InstancesStarting"


@pytest.mark.parametrize(("alone", "reads"), [(True, False), (False, True)])
def test_nodes_are_read_where_they_matter(alone: bool, reads: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(topology, "node_states", lambda kube, seen: read.append(1) or {})
    more = [] if alone else [pod("orders-1", role="replica")]
    reconcile(FakeKube(stateful_set(1 + len(more)), pod("orders-0", role="primary"), *more))
    assert bool(read) is reads


def test_the_certificate_and_the_volumes_are_passed_on() -> None:
    cluster = FakeKube(stateful_set(), pod("orders-0", role="primary"))
    assert reconcile(cluster, resizing="Growing")["message"] == "Growing"
    found = reconcile(cluster, certificate="c1", check_mode=True)
    assert (found["reason"], cluster.writes, cluster.commands) == ("ReloadingCertificate", [], [])


@pytest.mark.parametrize("error", [None, KubeError(0, "lost"), ExecFailed(1, "no such file")])
def test_a_certificate_is_loaded_whatever_else_is_waited_for(error: Exception | None) -> None:
    """Each running instance that does not have it is asked; one out of reach stops nothing."""
    out = {"name": "paradedb", "image": "x", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    pods = [pod("orders-0", role="primary"), pod("orders-1", role="replica"), pod("orders-3", ready=False)]
    broken = pod("orders-2", ready=False, containerStatuses=[out])
    cluster = FakeKube(stateful_set(4), *pods, broken)

    def run(command: list[str], _stdin: str) -> str:
        if error and cluster.commands[-1][0] == "orders-0":
            raise error
        return "c1  -" if "sha256sum" in command[-1] else ""

    cluster.run = run
    with pytest.raises(Refused):
        reconcile(cluster, spec={"replicas": 4}, certificate="c1")
    served = {
        name
        for (kind, _, name), item in cluster.objects.items()
        if kind == "Pod" and (item["metadata"].get("annotations") or {}).get(steps.LOADED) == "c1"
    }
    assert served == {"orders-1", "orders-3"} | (set() if error else {"orders-0"})


def test_into_a_pod_of_a_lost_node_nothing_is_loaded() -> None:
    since = {"type": "Ready", "status": "Unknown", "lastTransitionTime": "2025-01-01T00:00:00Z"}
    node = {"kind": "Node", "metadata": {"name": "n1", "namespace": ""}, "status": {"conditions": [since]}}
    pods = [pod("orders-0", role="primary"), pod("orders-1", ready=False, node="n1")]
    cluster = FakeKube(stateful_set(2), *pods, node)
    cluster.run = lambda command, stdin: "c1  -"
    assert reconcile(cluster, spec={"replicas": 2}, certificate="c1")["reason"] == "NodeLost"
    assert {name for name, _, _ in cluster.commands} == {"orders-0"}


def conditions(status: str) -> Object:
    return resource({"replicas": 3}) | {
        "status": {"conditions": [{"type": "ReplicasLimited", "status": status}]}
    }


@pytest.mark.parametrize(
    ("status", "database", "replicas"),
    [
        ("True", {"connected": False}, 1),  # what the last pass found holds while nobody can be asked
        ("False", {"connected": False}, 3),
        ("True", FINE, 3),  # what the primary says now counts more
        ("False", COMMUNITY, 1),
    ],
)
def test_the_limit_lasts_until_the_database_tells_another(
    status: str, database: dict[str, Any], replicas: int
) -> None:
    """Of three instances, which all serve; nothing known means that as many as now are wanted."""
    pods = [pod(f"orders-{number}", role="replica") for number in (1, 2)]
    cluster = FakeKube(stateful_set(3), pod("orders-0", role="primary"), *pods, conditions(status))
    found = reconcile(cluster, database, spec={"replicas": 3}, check_mode=True)
    assert (found["replicas"], found["reason"] == "ScalingDown") == (replicas, replicas == 1)


def test_how_many_there_are_data_of_is_read_only_where_none_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology, "kept_instances", lambda *_arguments: 3)
    cluster = FakeKube(stateful_set(size=0))
    assert reconcile(cluster, {"connected": False}, spec={"replicas": 5})["message"].endswith("to 3")
    monkeypatch.setattr(topology, "kept_instances", lambda *_arguments: pytest.fail("read"))
    reconcile(FakeKube(stateful_set(), pod("orders-0", role="primary")))


def test_a_wish_on_the_resource_is_seen() -> None:
    asked = resource(**{"database.paradedb.io/switchover": "orders-0"})
    cluster = FakeKube(stateful_set(), pod("orders-0", role="primary"), asked)
    found = reconcile(cluster)
    assert (found["reason"], found["events"][0]["type"]) == ("SwitchoverDone", "Normal")
    assert cluster.objects[("ParadeDB", "prod", "orders")]["metadata"]["annotations"] == {}


# Between the passes


def look(cluster: FakeKube, spec: dict[str, Any] | None = None, limited: bool = False) -> dict[str, Any]:
    return rollout.look(cluster, resource(spec), limited)  # type: ignore[arg-type]


def test_a_look_finds_what_is_settled() -> None:
    found = look(FakeKube(stateful_set(), pod("orders-0", role="primary")))
    assert (found["settled"], found["changed"], found["replicas"]) == (True, False, 1)
    assert found["seen"].primary.name == "orders-0"


def test_a_look_finds_a_step_and_does_not_take_it() -> None:
    cluster = FakeKube(stateful_set(update="r2"), pod("orders-0", role="primary"))
    found = look(cluster)
    assert (found["settled"], found["changed"], found["reason"]) == (False, False, "RollingUpdate")
    assert (found["requeue_after"], found["events"], cluster.writes) == (0, [], [])


@pytest.mark.parametrize(("limited", "settled"), [(True, True), (False, False)])
def test_a_look_knows_of_the_limit(limited: bool, settled: bool) -> None:
    cluster = FakeKube(stateful_set(), pod("orders-0", role="primary"))
    found = look(cluster, {"replicas": 3}, limited)
    assert (found["settled"], found["replicas"]) == (settled, 1 if limited else 3)


def test_settings_age() -> None:
    """By the API server's record of the operator's own writes; Patroni writes into the same object."""
    records = [
        {"manager": "paradedb-operator", "time": "2025-01-01T00:00:00Z"},
        {"manager": "Patroni", "time": "2999-01-01T00:00:00Z"},
        {"manager": "paradedb-operator"},
    ]
    metadata = {"name": "orders-patroni-config", "managedFields": records}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    waits = '{"state":"running","pending_restart":true,"xlog_location":1}'
    replica = pod("orders-1", role="replica")
    replica["metadata"]["annotations"] = {"status": waits}
    cluster = FakeKube(stateful_set(2), pod("orders-0", role="primary"), replica, config)
    assert reconcile(cluster, spec={"replicas": 2}, check_mode=True)["reason"] == "RestartingInstances"
    records[0]["time"] = "2999-01-01T00:00:00Z"
    cluster.put(config)
    assert reconcile(cluster, spec={"replicas": 2}, check_mode=True)["reason"] == "ApplyingSettings"
