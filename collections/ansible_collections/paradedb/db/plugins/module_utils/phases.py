"""The life of a ParadeDB as its status tells it: its phases, and the event of entering each.

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


# Failures that only another spec ends. They make a running database Failed, by the diagram's way through
# Updating: what runs does not fit its spec any more. Whatever else fails in a running one may pass by itself.
_NEEDS_ANOTHER_SPEC = ("DiskFull",)

# Refusals that end by themselves, soon: the pass waits instead of having failed.
WAITING = ("CertificatePending",)


@dataclass
class Progress:
    """What a pass found, in the terms of the status."""

    generation: int
    replicas: int  # instances that are to run at present; 0 hibernated
    ready: int
    settled: bool  # everything in the spec is in effect
    reason: str = "Reconciling"  # why not settled, or what failed
    message: str = ""
    failed: bool = False
    led: bool = True  # an instance is the primary and serves
    checks: list[dict[str, Any]] = field(default_factory=list)  # conditions: type, ok, reason, message
    absent: tuple[str, ...] = ()  # types of conditions that do not apply any more

    @property
    def complete(self) -> bool:
        """Whether everything that is to run serves; true as well where nothing is to run."""
        return self.ready >= self.replicas and (self.led or self.replicas == 0)


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

    A running database whose spec did not change keeps its phase, unless it needs another spec: the
    conditions Ready and Degraded tell what happens to it, and the diagram knows no other way.
    """
    if phase == DELETING:
        return DELETING
    if progress.failed:
        told = phase in (CREATING, UPDATING, FAILED) or progress.reason in _NEEDS_ANOTHER_SPEC
        return FAILED if told else phase
    if progress.settled and progress.complete:
        return RUNNING
    return CREATING if phase == FAILED else phase


def transition_event(phase: str, reason: str, message: str) -> dict[str, str]:
    """The event of entering a phase. ``message``: that of the status, empty when all is as usual."""
    if phase == FAILED:
        return {"type": "Warning", "reason": reason, "message": message}
    text = _ENTERED[phase]
    if phase == RUNNING:
        text = message or text
    if phase == UPDATING and reason in _NEEDS_ANOTHER_SPEC:
        text = "What runs does not fit the spec any more"
    return {"type": "Normal", "reason": phase, "message": text}
