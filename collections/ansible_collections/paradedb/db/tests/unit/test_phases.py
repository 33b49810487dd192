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
        reason="Cause",
        message=message,
        failed=failed,
        checks=checks,
    )
    for replicas, ready, settled, failed, message, checks in itertools.product(
        (1, 3),
        (0, 1, 3),
        (True, False),
        (True, False),
        ("", "said"),
        ([], [{"type": "ExtensionsReady", "ok": False, "reason": "ExtensionMissing", "message": "x"}]),
    )
    if not (settled and failed)  # a pass that failed settled nothing
]


def by_type(made: list[dict[str, object]]) -> dict[object, dict[str, object]]:
    assert len({item["type"] for item in made}) == len(made)
    return {item["type"]: item for item in made}


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


@pytest.mark.parametrize("phase", PHASES)
def test_conditions_agree_with_each_other_and_the_api(phase: str) -> None:
    for progress in FOUND:
        check_conditions(phase, progress)


def check_conditions(phase: str, progress: Progress) -> None:
    made = by_type(phases.conditions(phase, progress))
    assert list(made)[:3] == ["Ready", "Progressing", "Degraded"]
    for item in made.values():
        assert item["status"] in ("True", "False")
        assert item["reason"]  # the API refuses an empty one
        assert isinstance(item["message"], str)
        assert item["observedGeneration"] == 2
    serving = progress.ready >= progress.replicas
    assert made["Ready"]["status"] == str(serving)
    if progress.failed:
        assert made["Degraded"]["status"] == "True"
        assert made["Degraded"]["reason"] == "Cause"
        assert made["Progressing"]["status"] == "False"
    if made["Progressing"]["message"] == "The spec is in effect":
        assert progress.settled
        assert not progress.failed
    if phase == "Running" and serving and not progress.failed:
        assert made["Degraded"] == {
            **made["Degraded"],
            "status": "False",
            "reason": "AsExpected",
            "message": "",
        }


def test_conditions_of_a_database_that_lost_an_instance() -> None:
    made = by_type(phases.conditions("Running", Progress(3, 3, 2, settled=True)))
    assert made["Ready"] == {
        "type": "Ready",
        "status": "False",
        "reason": "InstanceNotReady",
        "message": "2 of 3 instances are ready",
        "observedGeneration": 3,
    }
    assert made["Degraded"]["status"] == "True"


def test_no_instances_wanted_is_not_ready() -> None:
    assert (
        by_type(phases.conditions("Running", Progress(1, 0, 0, settled=True)))["Ready"]["status"] == "False"
    )


def test_transition_time_moves_with_the_status_only() -> None:
    first = phases.merge_conditions([], phases.conditions("Creating", Progress(1, 1, 0, False)), "t1")
    assert {item["lastTransitionTime"] for item in first} == {"t1"}
    same = phases.merge_conditions(
        first, phases.conditions("Creating", Progress(1, 1, 0, False, "Other", "text")), "t2"
    )
    assert {item["lastTransitionTime"] for item in same} == {"t1"}
    assert {item["reason"] for item in same} != {item["reason"] for item in first}
    after = phases.merge_conditions(same, phases.conditions("Running", Progress(1, 1, 1, True)), "t3")
    times = {item["type"]: item["lastTransitionTime"] for item in after}
    assert times == {"Ready": "t3", "Progressing": "t3", "Degraded": "t1"}


def test_conditions_of_others_stay_in_place() -> None:
    other = {
        "type": "BackupReady",
        "status": "True",
        "reason": "x",
        "message": "",
        "lastTransitionTime": "t0",
    }
    merged = phases.merge_conditions([other], phases.conditions("Running", Progress(1, 1, 1, True)), "t1")
    assert merged[0] == other
    assert [item["type"] for item in merged] == ["BackupReady", "Ready", "Progressing", "Degraded"]


def test_merging_the_same_conditions_changes_nothing() -> None:
    made = phases.conditions("Running", Progress(1, 1, 1, True))
    once = phases.merge_conditions([], made, "t1")
    assert phases.merge_conditions(once, made, "t2") == once


@pytest.mark.parametrize("phase", [phase for phase in PHASES if phase != "Pending"])
def test_every_phase_has_an_event(phase: str) -> None:
    made = phases.transition_event(phase, "Cause", "text")
    assert made["reason"]
    assert made["message"]
    assert made["type"] == ("Warning" if phase == "Failed" else "Normal")
