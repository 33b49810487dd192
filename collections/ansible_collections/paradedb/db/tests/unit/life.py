"""A ParadeDB and the calls of module status that the passes of its life make, for tests."""

from __future__ import annotations

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import resource_status
from ansible_collections.paradedb.db.plugins.modules import status as module

from .fake_kube import FakeKube, pod

SETTLED = {"settled": True, "reason": "Reconciled", "message": ""}
WAITING = {"settled": False, "reason": "InstancesStarting", "message": "Waiting", "requeue_after": 3}
NOTHING_SEEN = {"settled": False, "reason": "InstancesStarting", "message": "Waiting for the primary"}
CONNECTED = {
    "connected": True,
    "version": "17.6",
    "extensions": [{"name": "pg_search", "version": "0.25.3"}],
    "checks": [{"type": "ExtensionsReady", "ok": True, "reason": "ExtensionsCreated", "message": ""}],
}
NOT_CONNECTED = {"connected": False}


def paradedb(generation: int = 1, replicas: int = 1, **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "database.paradedb.io/v1alpha1",
        "kind": "ParadeDB",
        "metadata": {"name": "orders", "generation": generation, "resourceVersion": "7"},
        "spec": {"replicas": replicas},
        **({"status": status} if status else {}),
    }


class Life:
    """One ParadeDB and the calls that the passes of its life make."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.kube = FakeKube(*(objects or [paradedb()]))

    def call(self, state: str, check_mode: bool = False, **more: Any) -> dict[str, Any]:
        resource = self.kube.objects.get(("ParadeDB", "prod", "orders"), {"metadata": {"generation": 0}})
        parameters = {
            "name": "orders",
            "namespace": "prod",
            "state": state,
            "generation": resource["metadata"]["generation"],
            "credentials": {},
            "reason": "Broken",
            "message": "why",
        }
        return module.run(parameters | more, self.kube, check_mode)  # type: ignore[arg-type]

    def started(self, check_mode: bool = False) -> dict[str, Any]:
        resource = self.kube.objects.get(("ParadeDB", "prod", "orders"), {"metadata": {"generation": 0}})
        generation = resource["metadata"]["generation"]
        return resource_status.started(self.kube, "prod", "orders", generation, check_mode)  # type: ignore[arg-type]

    def finished(
        self,
        rollout: Any = SETTLED,
        database: Any = CONNECTED,
        check_mode: bool = False,
        generation: int | None = None,
        takes: bool = False,
        **more: Any,
    ) -> dict[str, Any]:
        resource = self.kube.objects.get(("ParadeDB", "prod", "orders"), {"metadata": {"generation": 0}})
        generation = generation or resource["metadata"]["generation"]
        results = {"rollout": rollout, "database": database, "credentials": {}} | more
        where = self.kube, "prod", "orders"
        return resource_status.finished(*where, generation, results, check_mode, takes)  # type: ignore[arg-type]

    def failed(self, reason: str = "Broken", message: str = "why", **more: Any) -> dict[str, Any]:
        return self.call("failed", reason=reason, message=message, **more)

    def deleting(self, **more: Any) -> dict[str, Any]:
        resource = self.kube.objects.get(("ParadeDB", "prod", "orders"))
        if resource:
            resource["metadata"]["deletionTimestamp"] = "2025-01-01T00:00:00Z"
        return self.call("deleting", **more)

    def paused(self, check_mode: bool = False) -> dict[str, Any]:
        return resource_status.paused(self.kube, "prod", "orders", check_mode)  # type: ignore[arg-type]

    def observed(self, **more: Any) -> dict[str, Any]:
        return self.call("observed", **more)

    @property
    def status(self) -> dict[str, Any]:
        return self.kube.objects["ParadeDB", "prod", "orders"].get("status", {})

    def condition(self, kind: str) -> dict[str, Any]:
        return next(item for item in self.status["conditions"] if item["type"] == kind)

    def change_spec(self, **spec: Any) -> None:
        resource = self.kube.objects["ParadeDB", "prod", "orders"]
        resource["metadata"]["generation"] += 1
        resource["spec"] |= spec

    def written(self) -> list[tuple[Any, ...]]:
        writes = [write[:2] + write[3:4] for write in self.kube.writes]
        self.kube.writes.clear()
        return writes


def running_life(*names: str) -> Life:
    """A database that runs, its first instance the primary; nothing counts as written so far."""
    names = names or ("orders-0",)
    life = Life(paradedb(replicas=len(names)))
    life.started()
    for name in names:
        life.kube.put(instance(name, primary=name == names[0]))
    life.finished()
    life.written()
    return life


def instance(name: str, primary: bool = False, ready: bool = True, timeline: int = 1, **said: Any) -> Any:
    """The pod of an instance which Patroni runs."""
    words = {
        "state": "running",
        "role": "primary" if primary else "replica",
        "timeline": timeline,
        "xlog_location": 2**30,
        **said,
    }
    return pod(name, ready=ready, role="primary" if primary else "replica", said=words, node="node-1")


def stateful_set(generation: int = 1, observed: int = 1, size: int = 1) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "orders", "generation": generation},
        "spec": {"replicas": size},
        "status": {"observedGeneration": observed, "updateRevision": "r1"},
    }
