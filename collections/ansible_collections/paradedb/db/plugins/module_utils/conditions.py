"""The conditions of a ParadeDB, made of what a pass found, and the events of their changes.

Form and times are those of the API conventions, "Typical status properties".
"""

from __future__ import annotations

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.phases import CREATING, RUNNING, UPDATING, Progress

Condition = dict[str, Any]

REPLICAS_LIMITED, HIBERNATED, PAUSED = "ReplicasLimited", "Hibernated", "Paused"
CERTIFICATE_VALID = "CertificateValid"
POOLER_READY, USERS_READY, MONITORING_READY = "PoolerReady", "UsersReady", "MonitoringReady"
BACKUP_HEALTHY, CONTINUOUS_ARCHIVING = "BackupHealthy", "ContinuousArchiving"
BACKUP_VERIFIED, RECOVERED = "BackupVerified", "Recovered"

# Refusals of the Secret with the certificate; two of them may also be about the superuser's.
_NO_CERTIFICATE = ("SecretNotFound", "InvalidSecret", "InvalidCertificate", "CertificateExpired")

# Conditions that are there even when they do not apply, and their reason then.
_STANDING = {REPLICAS_LIMITED: "NotLimited", HIBERNATED: "NotHibernated", PAUSED: "NotPaused"}

# Conditions whose changes are events: the status that is news, and the type of that event.
_NEWS = {
    REPLICAS_LIMITED: ("True", "Warning"),
    HIBERNATED: ("True", "Normal"),
    PAUSED: ("True", "Normal"),
    "ExtensionsReady": ("False", "Warning"),
    "ExtensionsCurrent": ("False", "Warning"),
    CERTIFICATE_VALID: ("False", "Warning"),
    POOLER_READY: ("False", "Warning"),
    USERS_READY: ("False", "Warning"),
    MONITORING_READY: ("False", "Warning"),
    BACKUP_HEALTHY: ("False", "Warning"),
    CONTINUOUS_ARCHIVING: ("False", "Warning"),
    BACKUP_VERIFIED: ("False", "Warning"),
    RECOVERED: ("False", "Warning"),
}

# Reasons that come and go with a change that was asked for.
_ROUTINE = (
    *("RollingUpdate", "PoolerStarting", "PoolerHibernated", "ExporterStarting"),
    *("NoBackupYet", "NotVerifiedYet", "ArchivingStarting", "Recovering"),
)

# The events of those that end, where the condition itself does not say enough: reason and message.
_ENDED = {
    REPLICAS_LIMITED: (REPLICAS_LIMITED, "The number of instances is not limited any more"),
    HIBERNATED: ("Waking", "The instances are started again"),
    PAUSED: ("Resumed", "Changes of the spec are applied again"),
}


def found(phase: str, progress: Progress) -> list[Condition]:
    """Ready, Progressing, Degraded and the checks of a pass, without their times."""
    made = [_ready(progress), _progressing(phase, progress), _degraded(phase, progress)]
    made += [
        _condition(item["type"], item["ok"], item["reason"], item["message"]) for item in progress.checks
    ]
    return [_about(progress.generation, condition) for condition in made]


def ready(progress: Progress) -> Condition:
    """Whether every instance that is to run serves; without its time."""
    return _about(progress.generation, _ready(progress))


def _ready(progress: Progress) -> Condition:
    if _serves(progress):
        return _condition("Ready", True, "InstancesReady", _counted(progress))
    if progress.replicas == 0 and (progress.settled or progress.failed):
        return _condition("Ready", False, HIBERNATED, "No instance runs; the data are kept")
    return _condition("Ready", False, _why(progress), _counted(progress))


def _progressing(phase: str, progress: Progress) -> Condition:
    if phase in (CREATING, UPDATING) and not progress.failed:
        return _condition("Progressing", True, progress.reason, progress.message)
    message = "The spec is in effect" if progress.settled else ""
    return _condition("Progressing", False, "Failed" if progress.failed else "Reconciled", message)


def _degraded(phase: str, progress: Progress) -> Condition:
    if progress.failed or (phase == RUNNING and progress.replicas > 0 and not _serves(progress)):
        message = progress.message or _counted(progress)
        return _condition("Degraded", True, _why(progress), message)
    return _condition("Degraded", False, "AsExpected", "")


def _serves(progress: Progress) -> bool:
    return progress.complete and progress.replicas > 0


def _why(progress: Progress) -> str:
    """The reason why not everything serves."""
    if progress.failed or not progress.settled:
        return progress.reason
    return "InstanceNotReady" if progress.led else "NoPrimary"


def _counted(progress: Progress) -> str:
    if progress.ready > progress.replicas:
        return f"{progress.ready} instances are ready, {progress.replicas} wanted"
    leader = "" if progress.led or not progress.ready else ", none is the primary"
    return f"{progress.ready} of {progress.replicas} instances are ready{leader}"


def paused(generation: int) -> Condition:
    """The finding that nothing is to be done, which speaks of the present spec."""
    message = "Nothing is changed or mended; spec.paused: false ends that"
    return _about(generation, _condition(PAUSED, True, "PausedBySpec", message))


def standing(given: list[dict[str, Any]], before: list[Condition]) -> list[dict[str, Any]]:
    """Checks for the conditions that are always there, where a pass found nothing about them.

    Who passes is not paused; the others stay as they were found ``before``.
    """
    known = {item["type"] for item in [*given, *before]} - {PAUSED}
    return [
        {"type": name, "ok": False, "reason": reason, "message": ""}
        for name, reason in _STANDING.items()
        if name not in known
    ]


def together(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One check of each type: what several modules find wrong is told in one, the first's reason with it."""
    made: dict[str, dict[str, Any]] = {}
    for item in checks:
        before = made.setdefault(item["type"], item)
        if before is item or item["ok"]:
            continue
        if before["ok"]:
            made[item["type"]] = item
        else:
            made[item["type"]] = before | {"message": f"{before['message']}; {item['message']}"}
    return list(made.values())


def refused_certificate(reason: str, message: str) -> list[dict[str, Any]]:
    """The check of a certificate that a pass refused; none for other failures."""
    if reason not in _NO_CERTIFICATE or not message.startswith("spec.tls"):
        return []
    return [{"type": CERTIFICATE_VALID, "ok": False, "reason": reason, "message": message}]


def of(resource: dict[str, Any] | None) -> list[Condition]:
    """The conditions in the status of a resource, as the last pass left them."""
    return ((resource or {}).get("status") or {}).get("conditions") or []


def holds(conditions: list[Condition], name: str) -> bool:
    """Whether the condition is there and True."""
    return any(item["type"] == name and item["status"] == "True" for item in conditions)


def wanted(conditions: list[Condition], replicas: int) -> int:
    """How many of the spec's ``replicas`` are to run, as the last pass found."""
    if holds(conditions, HIBERNATED):
        return 0
    return 1 if holds(conditions, REPLICAS_LIMITED) else replicas


def summary(conditions: list[Condition]) -> str:
    """What a person must know of a database that is as its spec says, but not all of it runs; else empty."""
    if holds(conditions, HIBERNATED):
        return "Hibernated: no instance runs, the data are kept; spec.hibernate: false wakes it"
    for item in conditions:
        if item["type"] == REPLICAS_LIMITED and item["status"] == "True":
            return str(item["message"])
    return ""


def merge(old: list[Condition], new: list[Condition], now: str) -> list[Condition]:
    """New conditions with their transition times; conditions of other writers stay.

    lastTransitionTime moves only when the status does (Kubernetes API conventions, "Conditions").
    """
    merged = {condition["type"]: condition for condition in old}
    for condition in new:
        before = merged.get(condition["type"])
        same = before is not None and before["status"] == condition["status"]
        merged[condition["type"]] = {
            **condition,
            "lastTransitionTime": before["lastTransitionTime"] if same else now,
        }
    return list(merged.values())


def news(before: list[Condition], after: list[Condition]) -> list[dict[str, str]]:
    """The events of the conditions that became noteworthy, changed their reason since, or ended."""
    known = {item["type"]: item for item in before}
    told = (_event(known.get(item["type"]), item) for item in after if item["type"] in _NEWS)
    return [event for event in told if event]


def _event(before: Condition | None, after: Condition) -> dict[str, str] | None:
    name = after["type"]
    if _is_noteworthy(after):
        if before and _is_noteworthy(before) and before["reason"] == after["reason"]:
            return None
        reason = REPLICAS_LIMITED if name == REPLICAS_LIMITED else after["reason"]
        return {"type": _NEWS[name][1], "reason": reason, "message": after["message"]}
    if before is None or not _is_noteworthy(before):
        return None
    reason, message = _ENDED.get(name, (after["reason"], after["message"] or f"{name} is {after['status']}"))
    return {"type": "Normal", "reason": reason, "message": message}


def _is_noteworthy(condition: Condition) -> bool:
    return condition["status"] == _NEWS[condition["type"]][0] and condition["reason"] not in _ROUTINE


def _condition(kind: str, status: bool, reason: str, message: str) -> Condition:
    return {"type": kind, "status": "True" if status else "False", "reason": reason, "message": message}


def _about(generation: int, condition: Condition) -> Condition:
    return {**condition, "observedGeneration": generation}
