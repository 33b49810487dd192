"""What is said of a pooler, by its Deployment and its pods."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import pooler

from .fake_kube import FakeKube

LABELS = {
    "app.kubernetes.io/name": "paradedb",
    "app.kubernetes.io/instance": "orders",
    "app.kubernetes.io/component": "pooler",
}
PULL = {"waiting": {"reason": "ImagePullBackOff"}}
CRASH = {"waiting": {"reason": "CrashLoopBackOff"}}
LATE = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
RUNS = {"running": {}}


def deployment(available: int = 2, updated: int = 2, total: int = 2, **status: Any) -> dict[str, Any]:
    counted = {"availableReplicas": available, "updatedReplicas": updated, "replicas": total}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "orders-pooler", "generation": 3},
        "spec": {"replicas": 2},
        "status": {"observedGeneration": 3, **counted, **status},
    }


def pod(state: dict[str, Any], said: str = "", ready: bool = False, **status: Any) -> dict[str, Any]:
    container = {"name": "pgbouncer", "image": "pgbouncer:1", "state": state}
    container["lastState"] = {"terminated": {"exitCode": 1, "message": said}}
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "orders-pooler-1", "labels": LABELS},
        "status": {"conditions": conditions, "containerStatuses": [container], **status},
    }


def check(*objects: dict[str, Any], **spec: Any) -> tuple[bool, str, str]:
    (found,) = pooler.check(FakeKube(*objects), "prod", "orders", spec)
    assert found["type"] == "PoolerReady"
    return found["ok"], found["reason"], found["message"]


@pytest.mark.parametrize(
    ("status", "ok", "reason"),
    [
        ({}, True, "PoolerRunning"),
        ({"available": 0}, False, "PoolerStarting"),
        ({"available": 1}, False, "PoolerStarting"),
        ({"observedGeneration": 2}, False, "PoolerStarting"),
        ({"updated": 1, "total": 3}, True, "PoolerUpdating"),
        ({"available": 3, "total": 3}, True, "PoolerUpdating"),
        ({"available": 1, "updated": 1, "total": 3}, False, "PoolerStarting"),
        ({"available": 0, "conditions": LATE}, False, "PoolerNotReady"),
    ],
)
def test_by_the_deployment(status: dict[str, Any], ok: bool, reason: str) -> None:
    assert check(deployment(**status))[:2] == (ok, reason)


def test_before_there_is_one() -> None:
    assert check()[:2] == (False, "PoolerStarting")


def test_a_hibernated_database_has_no_pooler() -> None:
    assert check(deployment(available=0), hibernate=True)[:2] == (False, "PoolerHibernated")


@pytest.mark.parametrize(
    ("pod", "reason", "message"),
    [
        (pod(PULL), "PoolerImagePullFailed", "pgbouncer:1 cannot be pulled"),
        (pod(CRASH, "FATAL TLS setup failed\n"), "PoolerCrashing", "again: FATAL TLS setup failed; 1 of 2"),
        (pod(CRASH), "PoolerCrashing", "see kubectl logs orders-pooler-1"),
        (
            pod({"waiting": {"reason": "CreateContainerConfigError", "message": "no such key"}}),
            "PoolerCannotStart",
            "no such key",
        ),
        (
            pod({}, conditions=[{"type": "PodScheduled", "status": "False", "message": "no memory"}]),
            "PoolerUnschedulable",
            "finds no node: no memory",
        ),
    ],
)
def test_why_a_pod_does_not_serve(pod: dict[str, Any], reason: str, message: str) -> None:
    found = check(deployment(available=1), pod)
    assert found[:2] == (False, reason)
    assert message in found[2]


def test_a_change_that_cannot_end_is_not_well_though_the_pods_of_before_serve() -> None:
    assert check(deployment(updated=1, total=3), pod(PULL))[:2] == (False, "PoolerImagePullFailed")


def test_pods_that_serve_or_go_are_no_trouble() -> None:
    going = pod(CRASH)
    going["metadata"] |= {"name": "orders-pooler-2", "deletionTimestamp": "now"}
    serving = pod(RUNS, ready=True)
    assert check(deployment(available=1), serving, going)[:2] == (False, "PoolerStarting")
