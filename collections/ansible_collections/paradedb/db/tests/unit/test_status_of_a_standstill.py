"""Databases of which less runs than the spec names: hibernated, held at one instance, or paused."""

from __future__ import annotations

from typing import Any

import pytest

from .life import CONNECTED, NOT_CONNECTED, SETTLED, WAITING, Life, instance, stateful_set

WHY = "one instance instead of 2: pg_search 0.25 of the Community edition"
ASLEEP = {"type": "Hibernated", "ok": True, "reason": "HibernatedBySpec", "message": "No instance runs"}
AWAKE = {"type": "Hibernated", "ok": False, "reason": "NotHibernated", "message": ""}
LIMITED = {"type": "ReplicasLimited", "ok": True, "reason": "CommunityStandbyUnsupported", "message": WHY}
UNLIMITED = {"type": "ReplicasLimited", "ok": False, "reason": "NotLimited", "message": ""}


def reasons(life: Life) -> list[str]:
    return [event[1] for event in life.kube.events()]


def hold(life: Life, replicas: int, *checks: dict[str, Any]) -> None:
    """So many instances are left, the first of them the primary."""
    for ordinal in range(replicas, 2):
        life.kube.objects.pop(("Pod", "prod", f"orders-{ordinal}"), None)
    life.kube.put(stateful_set(size=replicas))
    database = CONNECTED if replicas else NOT_CONNECTED
    life.finished(SETTLED | {"replicas": replicas, "checks": list(checks)}, database)


def test_conditions_that_do_not_apply_are_there(two: Life) -> None:
    for name in ("ReplicasLimited", "Hibernated", "Paused"):
        assert two.condition(name)["status"] == "False"
        assert two.condition(name)["observedGeneration"] == 1


# Hibernated


@pytest.fixture
def asleep(two: Life) -> Life:
    two.change_spec(hibernate=True)
    two.started()
    hold(two, 0, ASLEEP)
    two.written()
    return two


def test_hibernation_is_a_state_of_rest(asleep: Life) -> None:
    assert asleep.status["phase"] == "Running"
    assert asleep.status["message"].startswith("Hibernated: ")
    assert asleep.status["readyReplicas"] == 0
    assert asleep.status["instances"] == []
    assert asleep.status["currentPrimary"] == "orders-0"  # who will lead when it wakes
    assert asleep.condition("Hibernated")["status"] == "True"
    assert (asleep.condition("Ready")["status"], asleep.condition("Ready")["reason"]) == (
        "False",
        "Hibernated",
    )
    assert asleep.condition("Degraded")["status"] == "False"
    assert asleep.condition("Progressing")["status"] == "False"
    assert reasons(asleep).count("HibernatedBySpec") == 1
    assert asleep.kube.events()[-1] == ("Normal", "Running", asleep.status["message"])


def test_a_hibernated_database_is_left_alone_between_passes(asleep: Life) -> None:
    assert asleep.observed()["changed"] is False
    assert "requeue_after" not in asleep.observed()
    asleep.started()
    hold(asleep, 0, ASLEEP)
    assert asleep.written() == []


def test_a_failing_pass_does_not_count_missing_instances(asleep: Life) -> None:
    asleep.failed("KubernetesUnavailable", "no answer")
    assert asleep.condition("Ready")["reason"] == "Hibernated"
    assert asleep.condition("Degraded")["reason"] == "KubernetesUnavailable"
    assert asleep.status["phase"] == "Running"


def test_waking_up_is_an_update(asleep: Life) -> None:
    asleep.change_spec(hibernate=False)
    assert asleep.started()["phase"] == "Updating"
    found = asleep.finished(WAITING | {"replicas": 1, "checks": [AWAKE]}, NOT_CONNECTED)
    assert found["phase"] == "Updating"
    assert asleep.condition("Hibernated")["status"] == "False"
    assert asleep.condition("Ready")["reason"] == "InstancesStarting"
    assert reasons(asleep)[-1] == "Waking"
    for ordinal in range(2):
        asleep.kube.put(instance(f"orders-{ordinal}", primary=ordinal == 0))
    assert asleep.finished(SETTLED | {"replicas": 2, "checks": [AWAKE]})["phase"] == "Running"
    assert asleep.condition("Ready")["status"] == "True"
    assert asleep.status["message"] == ""
    assert "PrimaryChanged" not in reasons(asleep)


# Held at one instance


def test_a_limited_database_runs_and_says_why_not_all_of_it_does(two: Life) -> None:
    hold(two, 1, LIMITED)
    assert two.status["phase"] == "Running"
    assert two.status["message"] == WHY
    assert two.condition("Ready")["status"] == "True"
    assert two.condition("Ready")["message"] == "1 of 1 instances are ready"
    assert two.condition("Degraded")["status"] == "False"
    assert two.kube.events()[-1] == ("Warning", "ReplicasLimited", WHY)
    two.written()
    hold(two, 1, LIMITED)
    assert two.observed()["changed"] is False
    assert two.written() == []


def test_a_pass_that_cannot_tell_the_edition_keeps_what_is_known(two: Life) -> None:
    hold(two, 1, LIMITED)
    two.finished(WAITING | {"replicas": 1, "checks": [AWAKE]}, NOT_CONNECTED)
    assert two.condition("ReplicasLimited")["status"] == "True"
    two.failed("KubernetesUnavailable", "no answer")
    assert two.condition("Ready")["status"] == "True"
    assert reasons(two).count("ReplicasLimited") == 1


def test_the_end_of_the_limit_is_told(two: Life) -> None:
    hold(two, 1, LIMITED)
    two.finished(WAITING | {"replicas": 2, "checks": [UNLIMITED]})
    assert two.condition("ReplicasLimited")["status"] == "False"
    assert two.condition("Ready")["message"] == "1 of 2 instances are ready"
    assert two.kube.events()[-1][:2] == ("Normal", "ReplicasLimited")


# Paused


def test_pausing_leaves_phase_and_findings_as_they_are(two: Life) -> None:
    before = two.condition("Ready"), two.condition("Progressing"), two.condition("ReplicasLimited")
    two.change_spec(paused=True)
    assert two.paused()["phase"] == "Running"
    paused = two.condition("Paused")
    assert (paused["status"], paused["reason"]) == ("True", "PausedBySpec")
    assert paused["observedGeneration"] == 2  # the spec that asks for it
    assert two.status["observedGeneration"] == 1  # the spec that is in effect
    assert (two.condition("Ready"), two.condition("Progressing"), two.condition("ReplicasLimited")) == before
    assert two.kube.events()[-1][:2] == ("Normal", "PausedBySpec")
    two.written()
    assert two.paused()["changed"] is False
    assert two.written() == []


def test_instances_are_still_seen_while_paused(two: Life) -> None:
    two.change_spec(paused=True, replicas=5)
    two.paused()
    assert two.condition("Ready")["status"] == "True"  # of what was asked for last before
    two.kube.put(instance("orders-0", ready=False))
    two.kube.put(instance("orders-1", primary=True, timeline=2))
    two.observed()
    assert two.status["currentPrimary"] == "orders-1"
    assert reasons(two)[-1] == "PrimaryChanged"
    assert two.status["readyReplicas"] == 1
    ready = two.condition("Ready")
    assert (ready["status"], ready["reason"], ready["message"]) == (
        "False",
        "InstanceNotReady",
        "1 of 2 instances are ready",
    )
    assert ready["observedGeneration"] == 1
    assert two.status["phase"] == "Running"
    assert two.status["observedGeneration"] == 1


def test_an_election_is_followed_while_paused(two: Life) -> None:
    two.change_spec(paused=True)
    assert "requeue_after" not in two.paused()
    two.kube.put(instance("orders-0", ready=False))
    assert two.paused()["requeue_after"] > 0
    assert two.observed()["requeue_after"] > 0
    assert two.condition("Ready")["reason"] == "NoPrimary"


def test_the_end_of_a_pause_is_told_when_a_pass_begins(two: Life) -> None:
    two.change_spec(paused=True)
    two.paused()
    two.change_spec(paused=False)
    assert two.started()["phase"] == "Updating"
    assert two.condition("Paused")["status"] == "False"
    assert "Resumed" in reasons(two)
    assert two.finished(SETTLED | {"replicas": 2})["phase"] == "Running"
    assert two.condition("Paused")["observedGeneration"] == 3
    assert two.status["observedGeneration"] == 3


@pytest.mark.parametrize("phase", ["Creating", "Failed"])
def test_whatever_ends_a_pass_ends_the_pause(two: Life, phase: str) -> None:
    two.status["phase"] = phase
    two.change_spec(paused=True)
    two.paused()
    assert two.status["phase"] == phase
    two.change_spec(paused=False)
    two.started()
    two.failed()
    assert two.condition("Paused")["status"] == "False"


def test_a_new_database_may_be_paused_at_once() -> None:
    life = Life()
    life.change_spec(paused=True)
    assert life.paused()["phase"] == "Pending"
    assert [item["type"] for item in life.status["conditions"]] == ["Paused"]
    assert "observedGeneration" not in life.status


def test_a_paused_database_of_which_nothing_ran(asleep: Life) -> None:
    asleep.change_spec(paused=True)
    asleep.paused()
    assert asleep.condition("Ready")["reason"] == "Hibernated"


def test_pausing_in_check_mode_writes_nothing(two: Life) -> None:
    two.change_spec(paused=True)
    assert two.paused(check_mode=True)["changed"] is True
    assert two.written() == []


def test_what_is_deleted_or_not_there_is_not_paused(two: Life) -> None:
    two.kube.objects["ParadeDB", "prod", "orders"]["metadata"]["deletionTimestamp"] = "2025-01-01T00:00:00Z"
    assert two.paused() == {"changed": False}
    del two.kube.objects["ParadeDB", "prod", "orders"]
    assert two.paused() == {"changed": False}
