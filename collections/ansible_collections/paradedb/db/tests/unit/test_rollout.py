"""The rollout's decisions, one table row each."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import rollout
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused

from .fake_kube import FakeKube, pod

FINE = {
    "connected": True,
    "hba_problem": None,
    "settings_applied": True,
    "pending_restart": False,
}


def stateful_set(generation: int = 1, observed: int = 1, update: str = "r1") -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "orders", "generation": generation},
        "status": {"observedGeneration": observed, "updateRevision": update},
    }


def reconcile(
    cluster: FakeKube, database: dict[str, Any] | None = None, replicas: int = 1, check_mode: bool = False
) -> dict[str, Any]:
    found = FINE if database is None else database
    return rollout.reconcile(cluster, "prod", "orders", replicas, found, check_mode)  # type: ignore[arg-type]


def test_settled() -> None:
    cluster = FakeKube(stateful_set(), pod("orders-0", role="primary"))
    assert reconcile(cluster) == {"changed": False, "settled": True, "reason": "Reconciled", "message": ""}
    assert (cluster.writes, cluster.commands) == ([], [])


@pytest.mark.parametrize(
    ("objects", "database", "reason"),
    [
        ([], FINE, "InstancesStarting"),
        ([stateful_set(generation=2)], FINE, "InstancesStarting"),
        ([stateful_set()], FINE, "InstancesStarting"),
        ([stateful_set(), pod("orders-0", ready=False)], FINE, "ready-soon"),
        ([stateful_set(), pod("orders-0")], {"connected": False}, "InstancesStarting"),
        ([stateful_set(), pod("orders-0")], {}, "InstancesStarting"),
        ([stateful_set(), pod("orders-0")], FINE | {"settings_applied": False}, "ApplyingSettings"),
    ],
)
def test_waits_without_touching_anything(
    objects: list[dict[str, Any]], database: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout.instances, "PROGRESS_DEADLINE", 10**10)
    cluster = FakeKube(*objects)
    found = reconcile(cluster, database)
    assert found["settled"] is False
    assert found["changed"] is False
    assert 0 < found["requeue_after"] <= 10
    assert found["message"]
    assert found["reason"] == ("InstancesStarting" if reason == "ready-soon" else reason)
    assert (cluster.writes, cluster.commands) == ([], [])


def test_a_pod_that_finds_no_node_is_named_for_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout.instances, "PROGRESS_DEADLINE", 10**10)
    condition = {"type": "PodScheduled", "status": "False", "message": "insufficient memory"}
    cluster = FakeKube(stateful_set(), pod("orders-0", ready=False, conditions=[condition]))
    found = reconcile(cluster)
    assert (found["reason"], found["message"]) == ("Unschedulable", "insufficient memory")
    assert found["settled"] is False


def test_an_outdated_pod_is_replaced() -> None:
    cluster = FakeKube(stateful_set(update="r2"), pod("orders-0", role="primary"))
    found = reconcile(cluster)
    assert cluster.writes == [("delete", "Pod", "orders-0")]
    assert (found["reason"], found["settled"], found["changed"]) == ("RollingUpdate", False, True)
    assert "orders-0" in found["message"]


def test_check_mode_foretells_and_touches_nothing() -> None:
    cluster = FakeKube(stateful_set(update="r2"), pod("orders-0", role="primary"))
    assert reconcile(cluster, check_mode=True)["changed"] is True
    restart = FINE | {"pending_restart": True}
    cluster = FakeKube(stateful_set(), pod("orders-0", role="primary"))
    assert reconcile(cluster, restart, check_mode=True)["changed"] is True
    assert (cluster.writes, cluster.commands) == ([], [])


@pytest.mark.parametrize(
    ("pods", "first"),
    [
        ([pod("orders-0", role="primary"), pod("orders-1"), pod("orders-2")], "orders-1"),
        ([pod("orders-0"), pod("orders-1", role="primary"), pod("orders-2", ready=False)], "orders-2"),
        ([pod("orders-0", role="primary", ready=False), pod("orders-1")], "orders-0"),
        ([pod("orders-0", role="primary"), pod("orders-1", revision="r2")], "orders-0"),
    ],
)
def test_broken_instances_first_the_primary_last(pods: list[dict[str, Any]], first: str) -> None:
    cluster = FakeKube(stateful_set(update="r2"), *pods)
    reconcile(cluster, replicas=len(pods))
    assert cluster.writes == [("delete", "Pod", first)]


def test_an_outdated_broken_pod_is_replaced_rather_than_complained_about() -> None:
    """A mended spec must get past the pod that the broken one left behind."""
    waiting = {"name": "paradedb", "image": "x", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    broken = pod("orders-0", ready=False, containerStatuses=[waiting])
    cluster = FakeKube(stateful_set(update="r2"), broken)
    assert reconcile(cluster, {"connected": False})["reason"] == "RollingUpdate"


def test_a_current_broken_pod_is_a_refusal() -> None:
    waiting = {"name": "paradedb", "image": "x", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    cluster = FakeKube(stateful_set(), pod("orders-0", ready=False, containerStatuses=[waiting]))
    with pytest.raises(Refused) as caught:
        reconcile(cluster, {"connected": False})
    assert caught.value.reason == "ImagePullFailed"
    assert cluster.writes == []


def test_a_rule_that_postgresql_did_not_take_is_a_refusal() -> None:
    cluster = FakeKube(stateful_set(), pod("orders-0", role="primary"))
    with pytest.raises(Refused) as caught:
        reconcile(cluster, FINE | {"hba_problem": "line 3: bad", "settings_applied": False})
    assert caught.value.reason == "InvalidHBARule"
    assert caught.value.field == "spec.auth.pgHBA"
    assert "line 3: bad" in str(caught.value)


def test_a_pending_restart_is_done_through_patroni() -> None:
    cluster = FakeKube(stateful_set(), pod("orders-0", role="primary"))
    found = reconcile(cluster, FINE | {"pending_restart": True})
    ((target, command, stdin),) = cluster.commands
    assert target == "orders-0"
    assert command[0] == "/opt/patroni/patronictl"
    assert command[-4:] == ["restart", "orders-patroni", "orders-0", "--force"]
    assert stdin == ""
    assert (found["reason"], found["settled"], found["changed"]) == ("RestartingInstances", False, True)
    assert cluster.writes == []


def test_settings_are_applied_before_anything_restarts() -> None:
    cluster = FakeKube(stateful_set(), pod("orders-0", role="primary"))
    found = reconcile(cluster, FINE | {"pending_restart": True, "settings_applied": False})
    assert found["reason"] == "ApplyingSettings"
    assert cluster.commands == []
