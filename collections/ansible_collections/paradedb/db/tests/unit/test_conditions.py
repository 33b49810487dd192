from __future__ import annotations

import itertools
from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import conditions
from ansible_collections.paradedb.db.plugins.module_utils.phases import Progress

from .test_phases import FOUND, PHASES

CHECK = {"type": "ExtensionsReady", "ok": False, "reason": "ExtensionMissing", "message": "x"}


def by_type(made: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    assert len({item["type"] for item in made}) == len(made)
    return {item["type"]: item for item in made}


@pytest.mark.parametrize("phase", PHASES)
def test_conditions_agree_with_each_other_and_the_api(phase: str) -> None:
    for progress in FOUND:
        made = by_type(conditions.found(phase, progress))
        assert list(made) == ["Ready", "Progressing", "Degraded"]
        for item in made.values():
            assert item["status"] in ("True", "False")
            assert item["reason"]  # the API refuses an empty one
            assert isinstance(item["message"], str)
            assert item["observedGeneration"] == 2
        check_agreement(phase, progress, made)


def check_agreement(phase: str, progress: Progress, made: dict[str, dict[str, Any]]) -> None:
    serving = progress.ready >= progress.replicas > 0 and progress.led
    assert made["Ready"]["status"] == str(serving)
    if progress.failed:
        assert made["Degraded"]["status"] == "True"
        assert made["Degraded"]["reason"] == progress.reason
        assert made["Progressing"]["status"] == "False"
    if made["Progressing"]["message"] == "The spec is in effect":
        assert progress.settled
        assert not progress.failed
    if phase == "Running" and (serving or progress.replicas == 0) and not progress.failed:
        assert made["Degraded"]["reason"] == "AsExpected"
        assert made["Degraded"]["status"] == "False"
        assert made["Degraded"]["message"] == ""


def ready(*arguments: Any, **more: Any) -> tuple[str, str, str]:
    made = by_type(conditions.found("Running", Progress(*arguments, **more)))["Ready"]
    return made["status"], made["reason"], made["message"]


def test_a_database_that_lost_an_instance() -> None:
    lost = Progress(3, 3, 2, settled=True)
    assert by_type(conditions.found("Running", lost))["Ready"] == {
        "type": "Ready",
        "status": "False",
        "reason": "InstanceNotReady",
        "message": "2 of 3 instances are ready",
        "observedGeneration": 3,
    }
    assert by_type(conditions.found("Running", lost))["Degraded"]["status"] == "True"


def test_ready_needs_a_primary() -> None:
    message = "3 of 3 instances are ready, none is the primary"
    assert ready(1, 3, 3, settled=True, led=False) == ("False", "NoPrimary", message)
    waits = ready(1, 3, 3, settled=False, reason="SwitchingOver", led=False)
    assert waits == ("False", "SwitchingOver", message)
    assert ready(1, 3, 0, settled=True, led=False)[2] == "0 of 3 instances are ready"


def test_a_hibernated_database_is_not_ready_and_nothing_is_wrong() -> None:
    made = by_type(conditions.found("Running", Progress(1, 0, 0, settled=True, led=False)))
    assert (made["Ready"]["status"], made["Ready"]["reason"]) == ("False", "Hibernated")
    assert made["Degraded"]["status"] == "False"
    going = ready(1, 0, 2, settled=False, reason="ScalingDown")
    assert going == ("False", "ScalingDown", "2 instances are ready, 0 wanted")


def test_an_instance_too_many_serves_as_well() -> None:
    assert ready(1, 1, 3, settled=False, reason="ScalingDown")[0] == "True"


def test_a_check_is_a_condition() -> None:
    made = by_type(conditions.found("Running", Progress(4, 1, 1, settled=True, checks=[CHECK])))
    assert made["ExtensionsReady"] == {
        "type": "ExtensionsReady",
        "status": "False",
        "reason": "ExtensionMissing",
        "message": "x",
        "observedGeneration": 4,
    }


def test_transition_time_moves_with_the_status_only() -> None:
    first = conditions.merge([], conditions.found("Creating", Progress(1, 1, 0, False)), "t1")
    assert {item["lastTransitionTime"] for item in first} == {"t1"}
    same = conditions.merge(
        first, conditions.found("Creating", Progress(1, 1, 0, False, "Other", "text")), "t2"
    )
    assert {item["lastTransitionTime"] for item in same} == {"t1"}
    assert {item["reason"] for item in same} != {item["reason"] for item in first}
    after = conditions.merge(same, conditions.found("Running", Progress(1, 1, 1, True)), "t3")
    times = {item["type"]: item["lastTransitionTime"] for item in after}
    assert times == {"Ready": "t3", "Progressing": "t3", "Degraded": "t1"}


def test_conditions_of_others_stay_in_place() -> None:
    other = {"type": "BackupReady", "status": "True", "reason": "x", "message": "", "lastTransitionTime": "t"}
    merged = conditions.merge([other], conditions.found("Running", Progress(1, 1, 1, True)), "t1")
    assert merged[0] == other
    assert [item["type"] for item in merged] == ["BackupReady", "Ready", "Progressing", "Degraded"]


def test_merging_the_same_conditions_changes_nothing() -> None:
    made = conditions.found("Running", Progress(1, 1, 1, True))
    once = conditions.merge([], made, "t1")
    assert conditions.merge(once, made, "t2") == once


def condition(name: str, status: bool, reason: str = "Cause", message: str = "text") -> dict[str, Any]:
    return {"type": name, "status": str(status), "reason": reason, "message": message}


def test_standing_conditions_are_filled_in_and_what_was_found_before_is_kept() -> None:
    filled = conditions.standing([], [])
    assert [(item["type"], item["ok"]) for item in filled] == [
        ("ReplicasLimited", False),
        ("Hibernated", False),
        ("Paused", False),
    ]
    assert all(item["reason"] for item in filled)
    before = [condition("ReplicasLimited", True), condition("Paused", True)]
    left = conditions.standing([{"type": "Hibernated", "ok": True}], before)
    assert [item["type"] for item in left] == ["Paused"]  # whoever passes is not paused any more


@pytest.mark.parametrize(
    ("limited", "hibernated", "expected"),
    [(False, False, 3), (True, False, 1), (False, True, 0), (True, True, 0)],
)
def test_how_many_are_to_run_shows_in_the_conditions(limited: bool, hibernated: bool, expected: int) -> None:
    present = [condition("ReplicasLimited", limited), condition("Hibernated", hibernated)]
    assert conditions.wanted(present, 3) == expected


def test_the_summary_says_why_not_all_of_a_spec_runs() -> None:
    assert conditions.summary([condition("ReplicasLimited", False)]) == ""
    limited = condition("ReplicasLimited", True, "CommunityStandbyUnsupported", "one instance instead of 3")
    assert conditions.summary([limited]) == "one instance instead of 3"
    assert "spec.hibernate" in conditions.summary([limited, condition("Hibernated", True)])


@pytest.mark.parametrize(
    ("name", "bad", "kind", "begins", "ends"),
    [
        ("ReplicasLimited", True, "Warning", "ReplicasLimited", "ReplicasLimited"),
        ("Hibernated", True, "Normal", "Cause", "Waking"),
        ("Paused", True, "Normal", "Cause", "Resumed"),
        ("ExtensionsCurrent", False, "Warning", "Cause", "Fine"),
        ("CertificateValid", False, "Warning", "Cause", "Fine"),
    ],
)
def test_what_begins_and_ends_is_news_once(name: str, bad: bool, kind: str, begins: str, ends: str) -> None:
    begun, over = condition(name, bad), condition(name, not bad, "Fine", "")
    assert conditions.news([], [over]) == []
    event = {"type": kind, "reason": begins, "message": "text"}
    assert conditions.news([], [begun]) == [event]
    assert conditions.news([over], [begun]) == [event]
    assert conditions.news([begun], [begun]) == []
    (end,) = conditions.news([begun], [over])
    assert (end["type"], end["reason"]) == ("Normal", ends)
    assert end["message"]


def test_another_reason_is_news_another_message_is_not() -> None:
    expiring = condition("CertificateValid", False, "CertificateExpiring", "in 9 days")
    later = condition("CertificateValid", False, "CertificateExpiring", "in 8 days")
    expired = condition("CertificateValid", False, "CertificateExpired", "yesterday")
    assert conditions.news([expiring], [later]) == []
    assert [event["reason"] for event in conditions.news([later], [expired])] == ["CertificateExpired"]


def test_what_a_rolling_update_brings_with_it_is_no_news() -> None:
    rolling = condition("ExtensionsCurrent", False, "RollingUpdate")
    skew = condition("ExtensionsCurrent", False, "VersionSkew")
    current = condition("ExtensionsCurrent", True, "ExtensionsCurrent")
    assert conditions.news([current], [rolling]) == conditions.news([rolling], [current]) == []
    assert [event["reason"] for event in conditions.news([rolling], [skew])] == ["VersionSkew"]


def test_ready_is_no_news_of_its_own() -> None:
    pairs = itertools.product((True, False), repeat=2)
    assert all(not conditions.news([condition("Ready", a)], [condition("Ready", b)]) for a, b in pairs)


def finding(kind: str, ok: bool, message: str = "", reason: str = "Why") -> dict[str, Any]:
    return {"type": kind, "ok": ok, "reason": reason, "message": message}


def test_what_several_modules_find_wrong_is_told_in_one() -> None:
    good, bad = finding("UsersReady", True), finding("UsersReady", False, "no Secret", "SecretNotFound")
    worse, other = finding("UsersReady", False, "no role", "RoleTaken"), finding("PoolerReady", True)
    assert conditions.together([good, other]) == [good, other]
    assert conditions.together([good, bad]) == [bad]
    assert conditions.together([bad, good, worse, other]) == [bad | {"message": "no Secret; no role"}, other]
