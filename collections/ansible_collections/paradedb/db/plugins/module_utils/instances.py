"""What the pods of a ParadeDB tell about themselves: ready or not, current or outdated, and what is wrong."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.kube import CONTAINER, Kube, Object
from ansible_collections.paradedb.db.plugins.module_utils.labels import ROLE, database_selector

RECOVER = "recover"  # the init container that makes the data from a backup
REVISION = "controller-revision-hash"

# How long an instance may take to become ready before that counts as a failure, in seconds.
PROGRESS_DEADLINE = 600

PULL_FAILURES = (
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "RegistryUnavailable",
)


def database_pods(kube: Kube, namespace: str, name: str) -> list[Object]:
    """The instances' pods by name, those that are going left out."""
    pods = all_pods(kube, namespace, name)
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def all_pods(kube: Kube, namespace: str, name: str) -> list[Object]:
    """The instances' pods by name, also those that are going: PostgreSQL may still run in them."""
    pods = kube.list("v1", "Pod", namespace, database_selector(name))
    return sorted(pods, key=lambda pod: pod["metadata"]["name"])


def is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def role(pod: Object) -> str:
    """The role that Patroni gave its pod: primary, replica, or none."""
    return str(pod["metadata"].get("labels", {}).get(ROLE) or "")


def is_primary(pod: Object) -> bool:
    return role(pod) == "primary"


def is_running(pod: Object) -> bool:
    """Whether the database container runs, so that a command can be run in it."""
    statuses = pod.get("status", {}).get("containerStatuses") or []
    return any(item["name"] == CONTAINER and "running" in item["state"] for item in statuses)


def trouble(pod: Object, now: datetime, cloning: bool = False) -> dict[str, str] | None:
    """Why the pod does not become ready, as ``reason`` and ``message``; None while it may still do so.

    ``cloning``: it is copying the primary's data, which takes as long as it takes.
    """
    if is_ready(pod):
        return None
    status = pod.get("status", {})
    for container in (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or []):
        found = _container_trouble(container)
        if found:
            return found
    waits = cloning or recovers(pod)
    if not waits and (now - unready_since(pod)).total_seconds() > PROGRESS_DEADLINE:
        return {
            "reason": "ProgressDeadlineExceeded",
            "message": f"pod {pod['metadata']['name']} is not ready after {PROGRESS_DEADLINE // 60} minutes: "
            + (unscheduled(pod) or f"see kubectl logs {pod['metadata']['name']}"),
        }
    return None


def recovers(pod: Object) -> bool:
    """Whether the pod is making its data from a backup now, which takes as long as it takes."""
    statuses = (pod.get("status") or {}).get("initContainerStatuses") or []
    return any(item["name"] == RECOVER and "running" in item["state"] for item in statuses)


def unready_since(pod: Object) -> datetime:
    """When the pod stopped being ready; its creation when it never was."""
    for item in pod.get("status", {}).get("conditions") or []:
        if item["type"] == "Ready" and item.get("lastTransitionTime"):
            return datetime.fromisoformat(item["lastTransitionTime"])
    return datetime.fromisoformat(pod["metadata"]["creationTimestamp"])


def unscheduled(pod: Object) -> str:
    """The scheduler's word why the pod has no node; empty when it has one."""
    for item in pod.get("status", {}).get("conditions") or []:
        if item["type"] == "PodScheduled" and item["status"] == "False":
            return item.get("message", "")
    return ""


# Where the image of a container comes from.
_IMAGE_OF = {"tools": "the operator's PARADEDB_TOOLS_IMAGE", "exporter": "spec.monitoring.image"}


def _container_trouble(container: dict[str, Any]) -> dict[str, str] | None:
    waiting = container["state"].get("waiting") or {}
    reason, image = waiting.get("reason", ""), container["image"]
    if reason in PULL_FAILURES:
        field = _IMAGE_OF.get(container["name"], "spec.image")
        return {
            "reason": "ImagePullFailed",
            "message": f"{field}: the image {image} cannot be pulled; check its name, its registry and "
            "spec.imagePullSecrets",
        }
    if reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
        return {
            "reason": "ContainerCannotStart",
            "message": f"{container['name']}: {waiting.get('message', reason)}",
        }
    ended = container["state"].get("terminated") or container.get("lastState", {}).get("terminated") or {}
    said = (ended.get("message") or "").strip()
    if container["name"] in ("prepare", RECOVER) and ended.get("exitCode", 0) != 0 and said:
        # they say "Reason|field: what is wrong"
        code, _separator, message = said.partition("|")
        if message and re.fullmatch(r"[A-Z][A-Za-z]*", code):
            return {"reason": code, "message": message}
        reason = "PrepareFailed" if container["name"] == "prepare" else "RestoreFailed"
        return {"reason": reason, "message": said[-500:]}
    if reason == "CrashLoopBackOff":
        return {
            "reason": "InstanceCrashing",
            "message": f"container {container['name']} ends again and again: {said[-500:] or 'see its log'}",
        }
    return None
