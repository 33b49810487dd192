"""Write the status of a ParadeDB: phases by the state diagram, conditions, an event for each transition.

``generation`` is always the one whose spec the pass worked on: the resource may have a newer one by the time
the status is written, and that one is the next pass's.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import events, instances, phases, rollout
from ansible_collections.paradedb.db.plugins.module_utils.credentials import PORT, credentials_name
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, Object
from ansible_collections.paradedb.db.plugins.module_utils.labels import API_VERSION, KIND, database_selector


def started(kube: Kube, namespace: str, name: str, generation: int, check_mode: bool) -> dict[str, Any]:
    """A pass begins: Pending becomes Creating, a changed spec Updating; nothing else is written."""
    resource = kube.get(API_VERSION, KIND, namespace, name)
    if resource is None:
        return {"changed": False}
    phase = _phase(resource)
    target = phases.phase_at_start(
        phase, generation, (resource.get("status") or {}).get("observedGeneration")
    )
    if target == phase:
        return {"changed": False, "phase": phase}
    progress = phases.Progress(
        generation, resource["spec"].get("replicas", 1), _ready(resource), settled=False
    )
    return _write(kube, resource, [target], progress, {}, check_mode)


def finished(
    kube: Kube,
    namespace: str,
    name: str,
    generation: int,
    rolled: dict[str, Any],
    database: dict[str, Any],
    check_mode: bool,
) -> dict[str, Any]:
    """A pass ended well: what it found becomes the status."""
    resource = kube.get(API_VERSION, KIND, namespace, name)
    if resource is None:
        return {"changed": False}
    progress = _progress(
        resource,
        instances.database_pods(kube, namespace, name),
        generation,
        settled=rolled["settled"],
        reason=rolled["reason"],
        message=rolled["message"],
        checks=_extension_checks(database),
    )
    fields = {
        "endpoint": f"{name}.{namespace}.svc:{PORT}",
        "credentialsSecret": credentials_name(name),
        "selector": database_selector(name),
    }
    if database.get("connected"):
        fields |= {"currentVersion": database["version"], "extensions": database["extensions"]}
    result = _write(kube, resource, _path(resource, progress), progress, fields, check_mode)
    return result | ({"requeue_after": rolled["requeue_after"]} if "requeue_after" in rolled else {})


def failed(
    kube: Kube, namespace: str, name: str, generation: int, reason: str, message: str, check_mode: bool
) -> dict[str, Any]:
    """A pass failed: the phase says so, the conditions and an event say why."""
    resource = kube.get(API_VERSION, KIND, namespace, name)
    if resource is None:
        return {"changed": False}
    pods = instances.database_pods(kube, namespace, name)
    progress = _progress(
        resource, pods, generation, settled=False, reason=reason, message=message, failed=True
    )
    path = _path(resource, progress)
    known = (resource.get("status") or {}).get("message") == message
    result = _write(kube, resource, path, progress, {}, check_mode)
    if phases.FAILED not in path and not known and not check_mode:
        events.emit(kube, resource, phases.transition_event(phases.FAILED, reason, message), _now())
    return result


def observed(kube: Kube, namespace: str, name: str, check_mode: bool) -> dict[str, Any]:
    """Between passes: only the state of the instances may have changed, and becomes the status.

    Asks for a pass (``requeue_after``, seconds) where more is needed than to write down what is seen.
    """
    resource = kube.get(API_VERSION, KIND, namespace, name)
    if resource is None or "deletionTimestamp" in resource["metadata"]:
        return {"changed": False}
    seen = (resource.get("status") or {}).get("observedGeneration")
    if _phase(resource) != phases.RUNNING or seen != resource["metadata"]["generation"]:
        return {"changed": False, "requeue_after": 0}
    stateful_set = kube.get("apps/v1", "StatefulSet", namespace, name)
    pods = instances.database_pods(kube, namespace, name)
    try:
        waiting = rollout.standing(stateful_set, pods, resource["spec"].get("replicas", 1))
    except Refused:
        return {"changed": False, "requeue_after": 0}
    reason, message = (waiting["reason"], waiting["message"]) if waiting else ("Reconciled", "")
    progress = _progress(resource, pods, seen, settled=waiting is None, reason=reason, message=message)
    result = _write(kube, resource, [], progress, {}, check_mode)
    return result | ({"requeue_after": waiting["requeue_after"]} if waiting else {})


def deleting(kube: Kube, namespace: str, name: str, check_mode: bool) -> dict[str, Any]:
    """The resource is going."""
    resource = kube.get(API_VERSION, KIND, namespace, name)
    if resource is None or "deletionTimestamp" not in resource["metadata"]:
        return {"changed": False}
    progress = phases.Progress(
        resource["metadata"]["generation"],
        resource["spec"].get("replicas", 1),
        0,
        settled=False,
        reason="Deleting",
    )
    return _write(kube, resource, phases.steps(_phase(resource), phases.DELETING), progress, {}, check_mode)


def _progress(resource: Object, pods: list[Object], generation: int, **findings: Any) -> phases.Progress:
    """The findings of a pass together with the instances that are ready."""
    return phases.Progress(
        generation=generation or resource["metadata"]["generation"],
        replicas=resource["spec"].get("replicas", 1),
        ready=sum(instances.is_ready(pod) for pod in pods),
        **findings,
    )


def _path(resource: Object, progress: phases.Progress) -> list[str]:
    """The phases to walk through to where the findings lead."""
    phase = _phase(resource)
    return phases.steps(phase, phases.phase_at_end(phase, progress))


def _write(
    kube: Kube,
    resource: Object,
    path: list[str],
    progress: phases.Progress,
    fields: dict[str, Any],
    check_mode: bool,
) -> dict[str, Any]:
    """Walk the phases of ``path``, one patch and one event each; one patch when only the rest changed."""
    before = resource.get("status") or {}
    current, changed = before, False
    for phase in path or [_phase(resource)]:
        wanted = _status(current, phase, progress, fields)
        if wanted != current:
            changed = True
            if not check_mode:
                kube.merge_patch(resource, {"status": wanted}, "status")
        if path and not check_mode:
            events.emit(
                kube, resource, phases.transition_event(phase, progress.reason, progress.message), _now()
            )
        current = wanted
    return {"changed": changed, "phase": current["phase"], "diff": {"before": before, "after": current}}


def _status(current: Object, phase: str, progress: phases.Progress, fields: dict[str, Any]) -> Object:
    # The last phase of a walk carries the findings; those on the way only say that they were passed.
    conditions = phases.conditions(phase, progress)
    status = current | {
        "phase": phase,
        "readyReplicas": progress.ready,
        "message": progress.message,
        "conditions": phases.merge_conditions(current.get("conditions") or [], conditions, _now()),
        **fields,
    }
    # The generation counts as observed when a pass has dealt with it, not when one begins.
    if phase not in (phases.CREATING, phases.UPDATING) or progress.settled or progress.failed:
        status["observedGeneration"] = progress.generation
    return status


def _extension_checks(database: dict[str, Any]) -> list[dict[str, Any]]:
    if not database.get("connected"):
        return []
    missing = database["missing_extensions"]
    message = "; ".join(f"{item['name']}: {item['problem']}" for item in missing)
    return [
        {
            "type": "ExtensionsReady",
            "ok": not missing,
            "reason": "ExtensionMissing" if missing else "ExtensionsCreated",
            "message": f"spec.extensions: {message}" if missing else "",
        }
    ]


def _phase(resource: Object) -> str:
    return (resource.get("status") or {}).get("phase") or phases.PENDING


def _ready(resource: Object) -> int:
    return (resource.get("status") or {}).get("readyReplicas", 0)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
