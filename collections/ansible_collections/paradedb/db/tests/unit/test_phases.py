"""The state diagram, exhaustively: every phase with everything that a pass can find."""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import phases
from ansible_collections.paradedb.db.plugins.module_utils.phases import Progress

PHASES = ["Pending", "Creating", "Running", "Updating", "Failed", "Deleting"]

# The arrows of the architecture's diagram; "CR Deleted" may happen in any phase.
ARROWS = {
    ("Pending", "Creating"),
    ("Creating", "Running"),
    ("Creating", "Failed"),
    ("Running", "Updating"),
    ("Updating", "Running"),
    ("Updating", "Failed"),
    ("Failed", "Creating"),
    *((phase, "Deleting") for phase in PHASES if phase != "Deleting"),
}

FOUND = [
    Progress(
        generation=2,
        replicas=replicas,
        ready=ready,
        settled=settled,
        reason=reason,
        message=message,
        failed=failed,
        led=led,
    )
    for replicas, ready, settled, failed, message, led, reason in itertools.product(
        (0, 1, 3),
        (0, 1, 3),
        (True, False),
        (True, False),
        ("", "said"),
        (True, False),
        ("Cause", "DiskFull"),
    )
    if not (settled and failed)  # a pass that failed settled nothing
]


@pytest.mark.parametrize("phase", PHASES)
def test_every_pass_stays_on_the_arrows(phase: str) -> None:
    for progress, observed in itertools.product(FOUND, (None, 1, 2)):
        begun = phases.phase_at_start(phase, progress.generation, observed)
        if begun != phase:
            assert (phase, begun) in ARROWS
        target = phases.phase_at_end(begun, progress)
        walked = [begun, *phases.steps(begun, target)]
        assert walked[-1] == target
        assert all(arrow in ARROWS for arrow in itertools.pairwise(walked))


@pytest.mark.parametrize(("phase", "target"), itertools.product(PHASES, PHASES))
def test_steps_are_the_shortest_way_on_the_arrows(phase: str, target: str) -> None:
    walked = phases.steps(phase, target)
    assert len(walked) <= 3
    if phase == target:
        assert walked == []
    elif walked:
        assert walked[-1] == target
        assert all(arrow in ARROWS for arrow in itertools.pairwise([phase, *walked]))
    else:
        assert phase == "Deleting" or target == "Pending"


@pytest.mark.parametrize(
    ("phase", "generation", "observed", "expected"),
    [
        ("Pending", 1, None, "Creating"),
        ("Creating", 2, 1, "Creating"),
        ("Running", 2, 1, "Updating"),
        ("Running", 1, 1, "Running"),
        ("Running", 1, None, "Running"),
        ("Updating", 3, 1, "Updating"),
        ("Failed", 2, 1, "Failed"),
        ("Deleting", 2, 1, "Deleting"),
    ],
)
def test_phase_at_start(phase: str, generation: int, observed: int | None, expected: str) -> None:
    assert phases.phase_at_start(phase, generation, observed) == expected


@pytest.mark.parametrize(
    ("phase", "settled", "ready", "failed", "expected"),
    [
        ("Creating", True, 1, False, "Running"),
        ("Creating", False, 1, False, "Creating"),
        ("Creating", True, 0, False, "Creating"),
        ("Creating", False, 0, True, "Failed"),
        ("Updating", True, 1, False, "Running"),
        ("Updating", False, 1, False, "Updating"),
        ("Updating", False, 1, True, "Failed"),
        ("Running", True, 1, False, "Running"),
        ("Running", False, 0, False, "Running"),
        ("Running", False, 0, True, "Running"),
        ("Failed", False, 0, True, "Failed"),
        ("Failed", False, 0, False, "Creating"),
        ("Failed", True, 1, False, "Running"),
        ("Deleting", True, 1, False, "Deleting"),
        ("Deleting", False, 0, True, "Deleting"),
    ],
)
def test_phase_at_end(phase: str, settled: bool, ready: int, failed: bool, expected: str) -> None:
    assert phases.phase_at_end(phase, Progress(1, 1, ready, settled, failed=failed)) == expected


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        ("Pending", ["Creating", "Failed"]),
        ("Creating", ["Failed"]),
        ("Running", ["Updating", "Failed"]),
        ("Updating", ["Failed"]),
        ("Failed", []),
        ("Deleting", []),
    ],
)
def test_what_needs_another_spec_fails_from_everywhere(phase: str, expected: list[str]) -> None:
    full = Progress(1, 3, 2, settled=False, reason="DiskFull", message="spec.storage.size: full", failed=True)
    assert phases.steps(phase, phases.phase_at_end(phase, full)) == expected


@pytest.mark.parametrize(
    ("replicas", "ready", "led", "expected"),
    [
        (3, 3, True, "Running"),
        (3, 3, False, "Updating"),
        (3, 2, True, "Updating"),
        (1, 3, True, "Running"),  # held at one
        (0, 0, False, "Running"),  # hibernated
    ],
)
def test_a_change_is_over_when_all_that_is_to_run_serves(
    replicas: int, ready: int, led: bool, expected: str
) -> None:
    assert phases.phase_at_end("Updating", Progress(1, replicas, ready, settled=True, led=led)) == expected


@pytest.mark.parametrize("phase", [phase for phase in PHASES if phase != "Pending"])
def test_every_phase_has_an_event(phase: str) -> None:
    made = phases.transition_event(phase, "Cause", "text")
    assert made["reason"]
    assert made["message"]
    assert made["type"] == ("Warning" if phase == "Failed" else "Normal")


def test_the_way_to_a_failure_of_a_running_database_says_no_spec_was_changed() -> None:
    passing = phases.transition_event("Updating", "DiskFull", "spec.storage.size: full")
    assert passing["message"] != phases.transition_event("Updating", "Reconciling", "")["message"]
    assert phases.transition_event("Failed", "DiskFull", "full") == {
        "type": "Warning",
        "reason": "DiskFull",
        "message": "full",
    }
