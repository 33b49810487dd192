"""Write the status of a ParadeDB: phases by the state diagram, conditions, instances, and events of changes.

``generation`` is always the one whose spec the pass worked on: the resource may have a newer one by the time
the status is written, and that one is the next pass's.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import (
    backup_fields,
    certificates,
    conditions,
    events,
    features,
    phases,
    rollout,
    status_fields,
)
from ansible_collections.paradedb.db.plugins.module_utils.credentials import enabled
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, Object
from ansible_collections.paradedb.db.plugins.module_utils.labels import API_VERSION, KIND
from ansible_collections.paradedb.db.plugins.module_utils.phases import Progress
from ansible_collections.paradedb.db.plugins.module_utils.topology import Topology, observe

# Seconds until a look at what cert-manager says of a certificate; its Secret wakes the operator by itself.
_LOOK_AGAIN = 15  # of a database that waits for it
_LOOK_BESIDES = 60  # of one that goes on with another
# Seconds until another look, for reasons that end, or turn out to be others, with no object of ours changing.
_WITHOUT_WATCH = dict.fromkeys(
    (*phases.WAITING, features.NO_PROMETHEUS_OPERATOR, "NameTaken"), _LOOK_BESIDES
) | dict.fromkeys(("PoolerStarting", "PoolerUpdating", "ExporterStarting"), _LOOK_AGAIN)
_ELECTION = 2  # seconds until there may be a primary


def started(kube: Kube, namespace: str, name: str, generation: int, check_mode: bool) -> dict[str, Any]:
    """A pass begins: Pending becomes Creating, a changed spec Updating; nothing else is written."""
    resource = kube.get(API_VERSION, KIND, namespace, name)
    if resource is None:
        return {"changed": False}
    status = _before(resource)
    phase = _phase(resource)
    target = phases.phase_at_start(phase, generation, status.get("observedGeneration"))
    if target == phase:
        return {"changed": False, "phase": phase}
    progress = Progress(
        generation,
        _wanted(resource),
        status.get("readyReplicas", 0),
        settled=False,
        led=status_fields.led(status),
        checks=conditions.standing([], conditions.of(resource)),
    )
    return _write(kube, resource, [target], progress, {}, check_mode)


def finished(
    kube: Kube,
    namespace: str,
    name: str,
    generation: int,
    results: dict[str, dict[str, Any]],
    check_mode: bool,
    prometheus_operator: bool = False,
) -> dict[str, Any]:
    """A pass ended well: what its modules (rollout, database, credentials) returned becomes the status.

    ``prometheus_operator``: whether the cluster takes the objects that it was asked to make for that.
    """
    resource = kube.get(API_VERSION, KIND, namespace, name)
    if resource is None:
        return {"changed": False}
    rolled, database, credentials = (results[key] for key in ("rollout", "database", "credentials"))
    checks = [check for result in results.values() for check in result.get("checks") or []]
    seen_parts, part_fields = features.look(kube, resource, prometheus_operator)
    checks = conditions.together(checks + seen_parts)
    seen = observe(kube, namespace, name)
    progress = _progress(
        resource,
        seen,
        generation,
        rolled,
        checks=checks + conditions.standing(checks, conditions.of(resource)),
        absent=_absent(credentials, checks) + features.unwanted(resource["spec"]),
    )
    fields = {
        **status_fields.addresses(namespace, name, enabled(resource["spec"], "connectionPooling")),
        **status_fields.instances(seen),
        **status_fields.certificate(credentials),
        **status_fields.database(database),
        **status_fields.users(credentials),
        **part_fields,
    }
    result = _write(kube, resource, _path(resource, progress), progress, fields, check_mode)
    _tell(kube, resource, rolled.get("events") or [], check_mode)
    looks = [seconds for check in checks if (seconds := _until_another_look(check))]
    return result | ({"requeue_after": min(looks)} if looks else {}) | _next_look(rolled)


def failed(
    kube: Kube,
    namespace: str,
    name: str,
    generation: int,
    reason: str,
    message: str,
    check_mode: bool,
    credentials: dict[str, Any],
) -> dict[str, Any]:
    """A pass failed: the phase says so, the conditions and an event say why.

    ``credentials``: what that module returned, if the pass came so far: dates pass while passes fail.
    ``waiting`` in the result says that the reason is none that a person has to do anything about.
    """
    waiting = reason in phases.WAITING
    waits = {"waiting": True, "message": message, "requeue_after": _LOOK_AGAIN} if waiting else {}
    resource = kube.get(API_VERSION, KIND, namespace, name)
    if resource is None:
        return {"changed": False, **waits}
    seen = observe(kube, namespace, name)
    findings = {"settled": False, "reason": reason, "message": message}
    told = conditions.of(resource)
    checks = conditions.refused_certificate(reason, message) or credentials.get("checks") or []
    seen_parts, part_fields = _parts_known(kube, resource, told)
    checks = conditions.together(checks + seen_parts)
    checks += conditions.standing(checks, told)
    progress = _progress(
        *(resource, seen, generation, findings),
        failed=not waiting,
        checks=checks,
        absent=_absent(credentials, checks),
    )
    fields = {**status_fields.instances(seen), **status_fields.certificate(credentials), **part_fields}
    path = _path(resource, progress)
    known = _before(resource).get("message") == message
    result = _write(kube, resource, path, progress, fields, check_mode)
    if not waiting and phases.FAILED not in path and not known:
        _tell(kube, resource, [phases.transition_event(phases.FAILED, reason, message)], check_mode)
    return result | waits


def observed(kube: Kube, namespace: str, name: str, check_mode: bool) -> dict[str, Any]:
    """Between passes: only the state of the instances may have changed, and becomes the status.

    Asks for a pass (``requeue_after``, seconds) where more is needed than to write down what is seen.
    """
    resource = kube.get(API_VERSION, KIND, namespace, name)
    if resource is None or "deletionTimestamp" in resource["metadata"]:
        return {"changed": False}
    if resource["spec"].get("paused"):
        return _paused(kube, resource, check_mode)
    generation = _before(resource).get("observedGeneration")
    applied = _phase(resource) == phases.RUNNING and generation == resource["metadata"]["generation"]
    if not applied or _renewal_due(resource):
        return {"changed": False, "requeue_after": 0}
    try:
        limited = conditions.holds(conditions.of(resource), conditions.REPLICAS_LIMITED)
        found = rollout.look(kube, resource, limited)
    except Refused:
        return {"changed": False, "requeue_after": 0}
    seen, told = found["seen"], conditions.of(resource)
    takes = features.takes_prometheus_operator(told)
    checks, part_fields = features.look(kube, resource, takes)
    checks += conditions.standing(checks, told)
    progress = _progress(resource, seen, generation, found, checks=checks)
    fields = status_fields.instances(seen) | part_fields
    result = _write(kube, resource, [], progress, fields, check_mode)
    return result | _next_look(found)


def paused(kube: Kube, namespace: str, name: str, check_mode: bool) -> dict[str, Any]:
    """The spec asks for nothing to be done: see ``_paused``."""
    resource = kube.get(API_VERSION, KIND, namespace, name)
    if resource is None or "deletionTimestamp" in resource["metadata"]:
        return {"changed": False}
    return _paused(kube, resource, check_mode)


def _paused(kube: Kube, resource: Object, check_mode: bool) -> dict[str, Any]:
    """What is seen of the instances is written, what passes decided stays: phase, message, other conditions.

    Paused speaks of the present spec. The rest goes on to speak of the last one that was applied, so that who
    waits for Ready of a changed spec waits until it is in effect.
    """
    metadata, before = resource["metadata"], _before(resource)
    seen = observe(kube, metadata["namespace"], metadata["name"])
    made = [conditions.paused(metadata["generation"])]
    if "observedGeneration" in before:
        findings = {"settled": True, "reason": "Reconciled", "message": "", "replicas": seen.size}
        progress = _progress(resource, seen, before["observedGeneration"], findings)
        made.append(conditions.ready(progress))
    status = before | status_fields.instances(seen) | {"phase": _phase(resource)}
    status["conditions"] = conditions.merge(conditions.of(resource), made, _now())
    changed = _save(kube, resource, before, status, check_mode)
    soon = {"requeue_after": _ELECTION} if seen.present and seen.primary is None else {}
    return {"changed": changed, "phase": status["phase"], "diff": {"before": before, "after": status}, **soon}


def deleting(kube: Kube, namespace: str, name: str, check_mode: bool) -> dict[str, Any]:
    """The resource is going."""
    resource = kube.get(API_VERSION, KIND, namespace, name)
    if resource is None or "deletionTimestamp" not in resource["metadata"]:
        return {"changed": False}
    generation = resource["metadata"]["generation"]
    progress = Progress(generation, _wanted(resource), 0, settled=False, reason="Deleting", led=False)
    path = phases.steps(_phase(resource), phases.DELETING)
    return _write(kube, resource, path, progress, {"instances": [], "readyReplicas": 0}, check_mode)


def _progress(
    resource: Object, seen: Topology, generation: int, findings: dict[str, Any], **more: Any
) -> Progress:
    """The findings of a pass (settled, reason, message, replicas) together with what the instances do."""
    return Progress(
        generation=generation or resource["metadata"]["generation"],
        replicas=findings.get("replicas", _wanted(resource)),
        ready=status_fields.ready(seen),
        led=seen.primary is not None,
        settled=findings["settled"],
        reason=findings["reason"],
        message=findings["message"],
        **more,
    )


def _path(resource: Object, progress: Progress) -> list[str]:
    """The phases to walk through to where the findings lead."""
    phase = _phase(resource)
    return phases.steps(phase, phases.phase_at_end(phase, progress))


def _write(
    kube: Kube,
    resource: Object,
    path: list[str],
    progress: Progress,
    fields: dict[str, Any],
    check_mode: bool,
) -> dict[str, Any]:
    """Walk the phases of ``path``, one patch and one event each; one patch when only the rest changed."""
    before = _before(resource)
    current, changed = before, False
    for phase in path or [_phase(resource)]:
        wanted = _status(current, phase, progress, fields)
        changed |= _save(kube, resource, current, wanted, check_mode)
        if path:
            event = phases.transition_event(phase, progress.reason, wanted["message"])
            _tell(kube, resource, [event], check_mode)
        current = wanted
    return {"changed": changed, "phase": current["phase"], "diff": {"before": before, "after": current}}


def _status(current: Object, phase: str, progress: Progress, fields: dict[str, Any]) -> Object:
    # The last phase of a walk carries the findings; those on the way only say that they were passed.
    kept = [item for item in current.get("conditions") or [] if item["type"] not in progress.absent]
    made = conditions.merge(kept, conditions.found(phase, progress), _now())
    message = progress.message
    if progress.settled and not message:
        message = conditions.summary(made)
    status = {**current, "phase": phase, "message": message, "conditions": made, **fields}
    # The generation counts as observed when a pass has dealt with it, not when one begins.
    if phase not in (phases.CREATING, phases.UPDATING) or progress.settled or progress.failed:
        status["observedGeneration"] = progress.generation
    return {name: value for name, value in status.items() if value is not None}


def _save(kube: Kube, resource: Object, before: Object, after: Object, check_mode: bool) -> bool:
    """Write the status if it changed, and tell what is news in it. True if it changed."""
    if after == before:
        return False
    if not check_mode:
        kube.merge_patch(resource, {"status": status_fields.patch(before, after)}, "status")
    news = conditions.news(before.get("conditions") or [], after["conditions"])
    news += backup_fields.news(before, after)
    _tell(kube, resource, status_fields.promotion(before, after) + news, check_mode)
    return True


def _tell(kube: Kube, resource: Object, told: list[dict[str, str]], check_mode: bool) -> None:
    for event in [] if check_mode else told:
        events.emit(kube, resource, event, _now())


def _absent(credentials: dict[str, Any], checks: list[dict[str, Any]]) -> tuple[str, ...]:
    """Without TLS no condition speaks of a certificate."""
    checked = any(item["type"] == conditions.CERTIFICATE_VALID for item in checks)
    return (conditions.CERTIFICATE_VALID,) if not checked and credentials.get("tls") == {} else ()


def _until_another_look(check: dict[str, Any]) -> int:
    """Seconds; 0 where an object that is watched tells. Nothing tells of what is in the database."""
    if check["type"] == conditions.USERS_READY and not check["ok"]:
        return _LOOK_BESIDES
    return _WITHOUT_WATCH.get(check["reason"], 0)


def _parts_known(
    kube: Kube, resource: Object, told: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What is seen of the optional parts that a pass has made before, as checks and fields."""
    known = {item["type"] for item in told} - set(features.unwanted(resource["spec"]))
    if not known & set(features.SEEN):
        return [], {}
    seen, fields = features.look(kube, resource, features.takes_prometheus_operator(told))
    return [item for item in seen if item["type"] in known], fields


def _renewal_due(resource: Object) -> bool:
    """Whether the operator's own certificate is to be made anew: no watch tells, only the clock."""
    tls = resource["spec"].get("tls") or {}
    theirs = tls.get("secretRef") or (tls.get("certManager") or {}).get("enabled")
    end = (_before(resource).get("tls") or {}).get("expires")
    if not tls.get("enabled") or theirs or not end:
        return False
    return datetime.fromisoformat(end) - datetime.now(UTC) < certificates.RENEWAL


def _next_look(findings: dict[str, Any]) -> dict[str, Any]:
    return {key: findings[key] for key in ("requeue_after",) if findings.get(key) is not None}


def _wanted(resource: Object) -> int:
    return conditions.wanted(conditions.of(resource), resource["spec"].get("replicas", 1))


def _before(resource: Object) -> Object:
    return resource.get("status") or {}


def _phase(resource: Object) -> str:
    return _before(resource).get("phase") or phases.PENDING


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
