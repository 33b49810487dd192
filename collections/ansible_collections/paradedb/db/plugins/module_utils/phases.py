"""The life of a ParadeDB as its status tells it: phases, conditions, and the events of each transition.

The phases and the ways between them are those of the architecture's state diagram: a pass that finds the
database further on than one step walks the steps, so that a watcher never sees a jump.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PENDING, CREATING, RUNNING = "Pending", "Creating", "Running"
UPDATING, FAILED, DELETING = "Updating", "Failed", "Deleting"

# Where a phase may go. Deletion may come at any time.
_EDGES = {
    PENDING: (CREATING,),
    CREATING: (RUNNING, FAILED),
    RUNNING: (UPDATING,),
    UPDATING: (RUNNING, FAILED),
    FAILED: (CREATING,),
    DELETING: (),
}

# What the event of entering a phase says.
_ENTERED = {
    CREATING: "Creating the database",
    RUNNING: "All instances are ready",
    UPDATING: "Applying a changed spec",
    DELETING: "Deleting the database",
}


@dataclass
class Progress:
    """What a pass found, in the terms of the status."""

    generation: int
    replicas: int
    ready: int
    settled: bool  # everything in the spec is in effect
    reason: str = "Reconciling"  # why not settled, or what failed
    message: str = ""
    failed: bool = False
    checks: list[dict[str, Any]] = field(
        default_factory=list
    )  # further conditions: type, ok, reason, message


def steps(phase: str, target: str) -> list[str]:
    """The phases to enter to come from one to the other; none when it is there or no way leads there."""
    if target == DELETING:
        return [] if phase == DELETING else [DELETING]
    seen, paths = {phase}, [[phase]]
    while paths:
        path = paths.pop(0)
        if path[-1] == target:
            return path[1:]
        for following in _EDGES[path[-1]]:
            if following not in seen:
                seen.add(following)
                paths.append([*path, following])
    return []


def phase_at_start(phase: str, generation: int, observed: int | None) -> str:
    """The phase of a pass that begins: a new resource is being created, a changed one updated."""
    if phase == PENDING:
        return CREATING
    if phase == RUNNING and observed is not None and generation != observed:
        return UPDATING
    return phase


def phase_at_end(phase: str, progress: Progress) -> str:
    """The phase which a pass's findings lead to.

    A running database whose spec did not change keeps its phase whatever happens to it: the conditions
    Ready and Degraded tell that, and the diagram knows no other way.
    """
    if phase == DELETING:
        return DELETING
    if progress.failed:
        return FAILED if phase in (CREATING, UPDATING, FAILED) else phase
    if progress.settled and progress.ready >= progress.replicas:
        return RUNNING
    return CREATING if phase == FAILED else phase


def conditions(phase: str, progress: Progress) -> list[dict[str, Any]]:
    """Ready, Progressing, Degraded and ExtensionsReady for the findings, without their times."""
    serving = progress.ready >= progress.replicas > 0
    moving = phase in (CREATING, UPDATING) and not progress.failed
    problem = progress.failed or (phase == RUNNING and not serving)
    counted = f"{progress.ready} of {progress.replicas} instances are ready"
    reason = progress.reason if not progress.settled or progress.failed else "InstanceNotReady"
    made = [
        _condition("Ready", serving, "InstancesReady" if serving else reason, counted),
        _condition(
            "Progressing",
            moving,
            progress.reason if moving else ("Failed" if progress.failed else "Reconciled"),
            progress.message if moving else ("The spec is in effect" if progress.settled else ""),
        ),
        _condition(
            "Degraded",
            problem,
            reason if problem else "AsExpected",
            (progress.message or counted) if problem else "",
        ),
    ]
    for check in progress.checks:
        made.append(_condition(check["type"], check["ok"], check["reason"], check["message"]))
    return [{**condition, "observedGeneration": progress.generation} for condition in made]


def _condition(kind: str, status: bool, reason: str, message: str) -> dict[str, Any]:
    return {"type": kind, "status": "True" if status else "False", "reason": reason, "message": message}


def merge_conditions(old: list[dict[str, Any]], new: list[dict[str, Any]], now: str) -> list[dict[str, Any]]:
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


def transition_event(phase: str, reason: str, message: str) -> dict[str, str]:
    """The event of entering a phase."""
    if phase == FAILED:
        return {"type": "Warning", "reason": reason, "message": message}
    return {"type": "Normal", "reason": phase, "message": _ENTERED[phase]}
