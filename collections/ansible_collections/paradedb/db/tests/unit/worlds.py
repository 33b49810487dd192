"""What one pass sees, put together for tests of its decision."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import switchover
from ansible_collections.paradedb.db.plugins.module_utils.decision import World
from ansible_collections.paradedb.db.plugins.module_utils.topology import Instance, Topology

from .fake_kube import Object, pod

START = datetime(2025, 1, 1, 0, 0, 5, tzinfo=UTC)  # when the pods' readiness last changed
FINE = {
    "connected": True,
    "oldest_wal": 10,
    "hba_problem": None,
    "settings_applied": True,
    "pending_restart": False,
}
PULL = {"name": "paradedb", "image": "x", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
SHRINKS = {"max_connections": {"old_value": "100", "new_value": "50"}}
GROWS = {"max_connections": {"old_value": "100", "new_value": "200"}}


def member(
    number: int, role: str = "replica", *, node: str = "", container: Object | None = None, **more: Any
) -> Instance:
    ready = more.pop("ready", True)
    made = pod(f"orders-{number}", ready=ready, role=role)
    made["metadata"] |= {"namespace": "prod", "annotations": more.pop("annotations", {})}
    made["spec"] = {"nodeName": node}
    if container:
        made["status"]["containerStatuses"] = [container]
    if more.pop("going", False):
        made["metadata"]["deletionTimestamp"] = "2025-01-01T00:01:00Z"
    if "unschedulable" in more:
        words = {"type": "PodScheduled", "status": "False", "message": more.pop("unschedulable")}
        made["status"]["conditions"].append(words)
    known = {"state": "running", "position": 100, "timeline": 1, "streaming": ready and role == "replica"}
    return Instance(made, ready=ready, primary=role == "primary", **(known | more))


def stateful_set(size: int = 3, observed: int = 1) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "orders", "namespace": "prod", "generation": 1},
        "spec": {"replicas": size},
        "status": {"observedGeneration": observed, "updateRevision": "r1"},
    }


P, R1, R2 = member(0, "primary"), member(1), member(2)


def world(  # ``asked``: who was to hand over to whom, and how many seconds ago
    *present: Instance,
    size: int | None = None,
    after: float = 30,
    wish: str = "",
    asked: tuple[Instance, str, float] | None = None,
    **more: Any,
) -> World:
    seen = Topology("prod", "orders", stateful_set(len(present) if size is None else size), list(present))
    seen.going, seen.holder = more.pop("going", []), more.pop("holder", "")
    now = START + timedelta(seconds=after)
    if asked:
        leader, to, age = asked
        seen.failover = _failover(leader, to, wish or switchover.ANY, now - timedelta(seconds=age))
    annotations = {"database.paradedb.io/switchover": wish} if wish else {}
    resource = {"kind": "ParadeDB", "metadata": {"name": "orders", "annotations": annotations}, "spec": {}}
    given = {"spec": {}, "replicas": len(present), "database": dict(FINE), "resource": resource} | more
    return World(seen=seen, now=now, **given)


def _failover(leader: Instance, to: str, wish: str, since: datetime) -> Object:
    """Patroni's object as it is left by a request of then."""
    note = f"{leader.name} {leader.timeline} {wish} {since.isoformat()} {since.isoformat()}"
    annotations = {"leader": leader.name, "member": to, "database.paradedb.io/asked": note}
    return {"kind": "ConfigMap", "metadata": {"name": "orders-patroni-failover", "annotations": annotations}}


def lost(since: datetime = START) -> Object:
    condition = {"type": "Ready", "status": "Unknown", "lastTransitionTime": since.isoformat()}
    return {"status": {"conditions": [condition]}}


CORDONED = {"spec": {"unschedulable": True}}
OLD = {"outdated": True}
DOWN = {"ready": False}
BROKEN = {"ready": False, "container": PULL, "state": ""}
FORCE = {"nodeLossPolicy": "ForceDelete"}
