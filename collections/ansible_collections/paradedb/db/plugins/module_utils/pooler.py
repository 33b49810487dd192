"""What is to be said of a ParadeDB's connection pooler, by its Deployment and its pods."""

from __future__ import annotations

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import instances
from ansible_collections.paradedb.db.plugins.module_utils.conditions import POOLER_READY
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, Object
from ansible_collections.paradedb.db.plugins.module_utils.labels import COMPONENT, INSTANCE


def check(kube: Kube, namespace: str, name: str, spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The check PoolerReady: whether every pooler pod that is wanted serves, as the spec says.

    A change that cannot end is not ok either, though the pods of before serve on: the spec is not in effect.
    """
    if spec.get("hibernate"):
        return [_found(False, "PoolerHibernated", "No pooler runs while the database is hibernated")]
    deployment = kube.get("apps/v1", "Deployment", namespace, f"{name}-pooler")
    if deployment is None or not _is_seen(deployment):
        return [_found(False, "PoolerStarting", "The pooler's pods are being made")]
    wanted, status = deployment["spec"].get("replicas", 1), deployment.get("status") or {}
    ready, updated = (int(status.get(field) or 0) for field in ("availableReplicas", "updatedReplicas"))
    if ready >= wanted and updated >= wanted and int(status.get("replicas") or 0) <= wanted:
        return [_found(True, "PoolerRunning", f"{ready} of {wanted} pooler pods are ready")]
    counted = f"{min(ready, wanted)} of {wanted} pooler pods are ready"
    selector = f"{INSTANCE}={name},{COMPONENT}=pooler"
    for pod in kube.list("v1", "Pod", namespace, f"app.kubernetes.io/name=paradedb,{selector}"):
        if trouble := _trouble(pod):
            reason, message = trouble
            return [_found(False, reason, f"{message}; {counted}")]
    if _is_late(deployment):
        message = f"the pods do not become ready: see kubectl logs deployment/{name}-pooler; {counted}"
        return [_found(False, "PoolerNotReady", message)]
    if ready >= wanted:
        return [_found(True, "PoolerUpdating", f"The pooler's pods are being replaced; {counted}")]
    return [_found(False, "PoolerStarting", counted)]


def _is_seen(deployment: Object) -> bool:
    """Whether the status speaks of the present spec."""
    generation = deployment["metadata"].get("generation", 0)
    return int((deployment.get("status") or {}).get("observedGeneration") or 0) >= generation


def _is_late(deployment: Object) -> bool:
    """Whether Kubernetes has given up waiting for the pods (progressDeadlineSeconds)."""
    conditions = (deployment.get("status") or {}).get("conditions") or []
    return any(item["type"] == "Progressing" and item["status"] == "False" for item in conditions)


def _trouble(pod: Object) -> tuple[str, str] | None:
    """Why the pod does not become ready, as reason and message; None while it may still do so."""
    if instances.is_ready(pod) or "deletionTimestamp" in pod["metadata"]:
        return None
    name = pod["metadata"]["name"]
    if why := instances.unscheduled(pod):
        return "PoolerUnschedulable", f"pod {name} finds no node: {why}"
    for container in (pod.get("status") or {}).get("containerStatuses") or []:
        waiting = container["state"].get("waiting") or {}
        reason = waiting.get("reason", "")
        if reason in instances.PULL_FAILURES:
            return (
                "PoolerImagePullFailed",
                f"spec.connectionPooling.image: the image {container['image']} cannot be pulled; check its "
                "name, its registry and spec.imagePullSecrets",
            )
        if reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
            return "PoolerCannotStart", f"pod {name}: {waiting.get('message', reason)}"
        if reason == "CrashLoopBackOff":
            ended = container.get("lastState", {}).get("terminated") or {}
            said = (ended.get("message") or "").strip()[-300:]
            return "PoolerCrashing", f"PgBouncer ends again and again: {said or f'see kubectl logs {name}'}"
    return None


def _found(ok: bool, reason: str, message: str) -> dict[str, Any]:
    return {"type": POOLER_READY, "ok": ok, "reason": reason, "message": message}
