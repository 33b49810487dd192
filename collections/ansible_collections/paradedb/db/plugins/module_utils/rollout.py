"""Bring the instances to what was applied: replace outdated pods, restart PostgreSQL where it is needed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import instances
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, Object
from ansible_collections.paradedb.db.plugins.module_utils.labels import scope

CONFIG_DIRECTORY = "/run/paradedb/patroni"
PATRONICTL = "/opt/patroni/patronictl"


def _unsettled(reason: str, message: str, requeue_after: int, changed: bool = False) -> dict[str, Any]:
    """Not there yet. ``requeue_after``: seconds until a look is worth while, if nothing happens before."""
    return {
        "changed": changed,
        "settled": False,
        "reason": reason,
        "message": message,
        "requeue_after": requeue_after,
    }


def reconcile(
    kube: Kube, namespace: str, name: str, replicas: int, database: dict[str, Any], check_mode: bool
) -> dict[str, Any]:
    """One step towards the applied state. Raises Refused when an instance cannot get there by itself."""
    stateful_set = kube.get("apps/v1", "StatefulSet", namespace, name)
    pods = instances.database_pods(kube, namespace, name)
    outdated = _outdated(stateful_set, pods)
    if outdated:
        return _replace(kube, _next_to_replace(outdated), check_mode)
    waiting = standing(stateful_set, pods, replicas)
    if waiting:
        return waiting
    if not database.get("connected"):
        return _unsettled("InstancesStarting", "Waiting for the primary", 2)
    return _settings(kube, namespace, name, pods, database, check_mode)


def standing(stateful_set: Object | None, pods: list[Object], replicas: int) -> dict[str, Any] | None:
    """What keeps the instances from being as they were applied; None when nothing does.

    Raises Refused when an instance cannot get there by itself.
    """
    if not _is_current(stateful_set):
        return _unsettled("InstancesStarting", "Waiting for the StatefulSet controller", 2)
    if _outdated(stateful_set, pods):
        return _unsettled("RollingUpdate", "Some pods do not have the new template yet", 0)
    _raise_trouble(pods)
    if len(pods) < replicas or not all(instances.is_ready(pod) for pod in pods):
        return _waiting(pods)
    return None


def _is_current(stateful_set: Object | None) -> bool:
    """Whether the StatefulSet controller has seen what was applied."""
    if stateful_set is None:
        return False
    observed = stateful_set.get("status", {}).get("observedGeneration", 0)
    return observed >= stateful_set["metadata"]["generation"]


def _outdated(stateful_set: Object | None, pods: list[Object]) -> list[Object]:
    if stateful_set is None or not _is_current(stateful_set):
        return []
    revision = stateful_set["status"]["updateRevision"]
    return [pod for pod in pods if pod["metadata"]["labels"].get(instances.REVISION) != revision]


def _next_to_replace(outdated: list[Object]) -> Object:
    """Broken ones first, then replicas, the primary last."""
    return min(outdated, key=lambda pod: (instances.is_ready(pod), instances.is_primary(pod)))


def _replace(kube: Kube, pod: Object, check_mode: bool) -> dict[str, Any]:
    changed = True if check_mode else kube.delete(pod)
    name = pod["metadata"]["name"]
    return _unsettled("RollingUpdate", f"Replacing pod {name} by one with the new template", 2, changed)


def _raise_trouble(pods: list[Object]) -> None:
    now = datetime.now(UTC)
    for pod in pods:
        found = instances.trouble(pod, now)
        if found:
            raise Refused(found["reason"], "", found["message"])


def _waiting(pods: list[Object]) -> dict[str, Any]:
    blocked = next((reason for reason in map(instances.unscheduled, pods) if reason), "")
    if blocked:
        return _unsettled("Unschedulable", blocked, 10)
    return _unsettled("InstancesStarting", "Waiting for the instances to become ready", 3)


def _settings(
    kube: Kube, namespace: str, name: str, pods: list[Object], database: dict[str, Any], check_mode: bool
) -> dict[str, Any]:
    if database.get("hba_problem"):
        raise Refused(
            "InvalidHBARule",
            "spec.auth.pgHBA",
            f"PostgreSQL kept the previous rules: {database['hba_problem']}",
        )
    if not database["settings_applied"]:
        return _unsettled("ApplyingSettings", "Waiting for Patroni to apply the settings", 1)
    if database["pending_restart"]:
        primary = instances.ready_primary(pods)
        if primary is not None and not check_mode:
            command = [
                PATRONICTL,
                "-c",
                CONFIG_DIRECTORY,
                "restart",
                scope(name),
                primary["metadata"]["name"],
                "--force",
            ]
            kube.execute(namespace, primary["metadata"]["name"], command)
        return _unsettled(
            "RestartingInstances", "Restarting PostgreSQL, as changed settings need it", 1, True
        )
    return {"changed": False, "settled": True, "reason": "Reconciled", "message": ""}
