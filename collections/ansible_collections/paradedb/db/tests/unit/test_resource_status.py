from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import instances
from ansible_collections.paradedb.db.plugins.module_utils.events import LONGEST_MESSAGE

from .fake_kube import pod
from .life import CONNECTED, NOT_CONNECTED, NOTHING_SEEN, WAITING, Life, paradedb, running_life, stateful_set


@pytest.fixture
def running() -> Life:
    return running_life()


def test_a_life_without_trouble() -> None:
    life = Life()
    assert life.started() | {"diff": None} == {"changed": True, "phase": "Creating", "diff": None}
    assert life.status["phase"] == "Creating"
    assert "observedGeneration" not in life.status
    waiting = life.finished(WAITING, NOT_CONNECTED)
    assert waiting["phase"] == "Creating"
    assert waiting["requeue_after"] == 3
    life.kube.put(pod("orders-0", role="primary"))
    done = life.finished()
    assert done["phase"] == "Running"
    assert "requeue_after" not in done
    assert life.status["observedGeneration"] == 1
    assert life.status["readyReplicas"] == 1
    assert life.status["endpoint"] == "orders.prod.svc:5432"
    assert life.status["readOnlyEndpoint"] == "orders-ro.prod.svc:5432"
    assert life.status["currentPrimary"] == "orders-0"
    assert life.status["credentialsSecret"] == "orders-credentials"
    assert life.status["currentVersion"] == "17.6"
    assert life.status["extensions"] == CONNECTED["extensions"]
    assert "app.kubernetes.io/instance=orders" in life.status["selector"]
    assert life.condition("Ready")["status"] == "True"
    assert life.condition("ExtensionsReady")["status"] == "True"
    life.change_spec()
    assert life.started()["phase"] == "Updating"
    assert life.finished()["phase"] == "Running"
    assert life.status["observedGeneration"] == 2
    assert life.deleting()["phase"] == "Deleting"
    assert [reason for _type, reason, _message in life.kube.events()] == [
        *("Creating", "Running", "Updating", "Running", "Deleting")
    ]
    assert {kind for kind, _reason, _message in life.kube.events()} == {"Normal"}


def test_nothing_is_written_when_nothing_changed(running: Life) -> None:
    for _pass in range(3):
        assert running.started()["changed"] is False
        assert running.finished()["changed"] is False
    assert running.written() == []


def test_nothing_is_written_while_waiting_for_the_same() -> None:
    life = Life()
    life.started()
    life.finished(WAITING, NOT_CONNECTED)
    life.written()
    assert life.started()["changed"] is False
    assert life.finished(WAITING, NOT_CONNECTED)["changed"] is False
    assert life.written() == []


def test_one_patch_and_one_event_a_transition(running: Life) -> None:
    running.change_spec()
    running.started()
    assert running.written() == [("patch", "ParadeDB", "status"), ("create", "Event")]
    running.finished(WAITING)
    assert running.written() == [("patch", "ParadeDB", "status")]
    running.finished()
    assert running.written() == [("patch", "ParadeDB", "status"), ("create", "Event")]


def test_a_failure_is_told_once(running: Life) -> None:
    running.change_spec()
    running.started()
    running.written()
    assert running.failed("InvalidSetting", "spec.postgresConfig.x: no")["phase"] == "Failed"
    assert running.status["message"] == "spec.postgresConfig.x: no"
    assert running.status["observedGeneration"] == 2
    assert running.condition("Degraded")["reason"] == "InvalidSetting"
    assert running.condition("Degraded")["message"] == "spec.postgresConfig.x: no"
    assert running.kube.events()[-1] == ("Warning", "InvalidSetting", "spec.postgresConfig.x: no")
    running.written()
    for _pass in range(3):
        running.started()
        assert running.failed("InvalidSetting", "spec.postgresConfig.x: no")["changed"] is False
    assert running.written() == []


def test_another_failure_is_told_too(running: Life) -> None:
    running.change_spec()
    running.started()
    running.failed("InvalidSetting", "first")
    running.failed("InvalidHBARule", "second")
    assert [event[1:] for event in running.kube.events()[-2:]] == [
        ("InvalidSetting", "first"),
        ("InvalidHBARule", "second"),
    ]
    assert running.status["phase"] == "Failed"


def test_a_mended_database_walks_through_creating(running: Life) -> None:
    running.change_spec()
    running.started()
    running.failed()
    running.written()
    running.change_spec()
    assert running.started()["changed"] is False
    assert running.finished()["phase"] == "Running"
    phases = [write[4]["status"]["phase"] for write in running.kube.writes if write[0] == "patch"]
    assert phases == ["Creating", "Running"]
    assert running.status["message"] == ""
    assert running.condition("Degraded")["status"] == "False"


def test_a_running_database_stays_running_when_a_pass_fails(running: Life) -> None:
    found = running.failed("KubernetesUnavailable", "no answer")
    assert found["phase"] == "Running"
    assert running.condition("Ready")["status"] == "True"
    assert running.condition("Degraded")["status"] == "True"
    assert running.kube.events()[-1] == ("Warning", "KubernetesUnavailable", "no answer")
    count = len(running.kube.events())
    running.failed("KubernetesUnavailable", "no answer")
    assert len(running.kube.events()) == count
    running.finished()
    assert running.condition("Degraded")["status"] == "False"
    assert running.status["message"] == ""


def test_a_lost_instance_shows_in_the_conditions(running: Life) -> None:
    running.kube.put(pod("orders-0", ready=False, role="primary"))
    found = running.finished(WAITING, NOT_CONNECTED)
    assert found["phase"] == "Running"
    assert running.status["readyReplicas"] == 0
    assert running.condition("Ready")["status"] == "False"
    assert running.condition("Degraded")["status"] == "True"
    assert running.status["currentVersion"] == "17.6"  # what was known last


def test_missing_extensions_are_a_condition_not_a_failure(running: Life) -> None:
    check = {"type": "ExtensionsReady", "ok": False, "reason": "ExtensionMissing", "message": "no x"}
    found = running.finished(database=CONNECTED | {"checks": [check]})
    assert found["phase"] == "Running"
    condition = running.condition("ExtensionsReady")
    assert (condition["status"], condition["reason"]) == ("False", "ExtensionMissing")
    assert running.kube.events()[-1] == ("Warning", "ExtensionMissing", "no x")
    running.finished(NOTHING_SEEN, NOT_CONNECTED)
    assert running.condition("ExtensionsReady") == condition  # what only the database can tell stays
    running.finished()
    assert running.kube.events()[-1][:2] == ("Normal", "ExtensionsCreated")


def test_a_spec_that_changes_during_a_pass_is_the_next_passs(running: Life) -> None:
    """Only the generation that the pass worked on counts as observed."""
    running.change_spec()
    running.started()
    running.change_spec()
    assert running.finished(generation=2)["phase"] == "Running"
    assert running.status["observedGeneration"] == 2
    assert running.condition("Ready")["observedGeneration"] == 2
    assert running.started()["phase"] == "Updating"
    running.change_spec()
    running.failed(generation=3)
    assert running.status["observedGeneration"] == 3


def test_a_failure_before_the_resource_was_read(running: Life) -> None:
    assert running.failed(generation=0)["phase"] == "Running"
    assert running.condition("Degraded")["status"] == "True"


def test_transition_times_survive_other_changes(running: Life) -> None:
    for condition in running.status["conditions"]:
        condition["lastTransitionTime"] = "2020-01-01T00:00:00Z"
    running.change_spec()
    running.started()
    running.finished()
    assert running.condition("Ready")["lastTransitionTime"] == "2020-01-01T00:00:00Z"
    assert running.condition("Degraded")["lastTransitionTime"] == "2020-01-01T00:00:00Z"
    assert running.condition("Progressing")["lastTransitionTime"] != "2020-01-01T00:00:00Z"


def test_conditions_and_fields_of_others_stay(running: Life) -> None:
    other = {"type": "BackupReady", "status": "True", "reason": "x", "message": "", "lastTransitionTime": "t"}
    running.status["conditions"].append(other)
    running.status["theirs"] = "2025-01-01T00:00:00Z"
    running.change_spec()
    running.started()
    running.finished()
    assert other in running.status["conditions"]
    assert running.status["theirs"] == "2025-01-01T00:00:00Z"


@pytest.mark.parametrize("call", ["started", "finished", "failed", "deleting"])
def test_check_mode_shows_and_writes_nothing(call: str) -> None:
    life = Life(
        paradedb(2, phase="Running", observedGeneration=1, readyReplicas=1, conditions=[], message="")
    )
    before = dict(life.status)
    found = getattr(life, call)(check_mode=True)
    assert found["changed"] is True
    assert found["diff"]["before"] == before
    assert found["diff"]["after"] != before
    assert life.kube.writes == []
    assert life.status == before


@pytest.mark.parametrize("call", ["started", "finished", "failed", "deleting"])
def test_without_a_resource_there_is_no_status(call: str) -> None:
    life = Life(pod("orders-0"))
    assert getattr(life, call)() == {"changed": False}
    assert life.kube.writes == []


def test_a_resource_that_is_not_deleted_is_never_said_to_be(running: Life) -> None:
    assert running.call("deleting") == {"changed": False}
    assert running.status["phase"] == "Running"


def test_deleting_is_final(running: Life) -> None:
    running.deleting()
    running.written()
    assert running.deleting()["changed"] is False
    assert running.started()["phase"] == "Deleting"
    assert running.finished()["phase"] == "Deleting"
    assert running.failed()["phase"] == "Deleting"


@pytest.mark.parametrize("message", ["x" * 5000, "\U0001f418" * 2000, "a" + "\u00e4" * 3000, ""])
def test_an_event_fits_the_api_in_bytes(message: str) -> None:
    life = Life(paradedb(1, phase="Creating"))
    life.failed("Broken", message)
    (told,) = [event[2] for event in life.kube.events()]
    assert len(told.encode()) <= LONGEST_MESSAGE
    assert message.startswith(told)
    assert life.status["message"] == message


def test_an_event_is_about_the_resource() -> None:
    life = Life()
    life.started()
    (event,) = [item for (kind, *_rest), item in life.kube.objects.items() if kind == "Event"]
    assert event["involvedObject"] == {
        "apiVersion": "database.paradedb.io/v1alpha1",
        "kind": "ParadeDB",
        "name": "orders",
        "namespace": "prod",
        "uid": "uid-1",
        "resourceVersion": "7",
    }
    assert event["metadata"]["namespace"] == "prod"
    assert event["metadata"]["name"].startswith("orders.")
    assert event["reportingComponent"] == "database.paradedb.io/paradedb-operator"


# Between passes


def waiting(reason: str) -> dict[str, Any]:
    return {"name": "paradedb", "image": "paradedb/paradedb:17", "state": {"waiting": {"reason": reason}}}


@pytest.fixture
def settled(running: Life, monkeypatch: pytest.MonkeyPatch) -> Life:
    monkeypatch.setattr(instances, "PROGRESS_DEADLINE", 10**10)
    running.kube.put(stateful_set())
    return running


def test_an_unchanged_database_is_observed_without_a_write(settled: Life) -> None:
    assert settled.observed()["changed"] is False
    assert settled.written() == []


def test_a_lost_instance_is_written_down_and_looked_after_soon(settled: Life) -> None:
    settled.kube.put(pod("orders-0", role="primary", ready=False))
    result = settled.observed()
    assert result["changed"] is True
    assert result["requeue_after"] > 0
    assert settled.status["readyReplicas"] == 0
    assert settled.status["phase"] == "Running"
    assert settled.condition("Ready")["status"] == "False"
    assert settled.condition("Degraded")["reason"] == "InstancesStarting"


def test_an_instance_that_came_back_is_written_down(settled: Life) -> None:
    settled.kube.put(pod("orders-0", role="primary", ready=False))
    settled.observed()
    settled.kube.put(pod("orders-0", role="primary"))
    assert "requeue_after" not in settled.observed()
    assert settled.condition("Ready")["status"] == "True"
    assert settled.condition("Degraded")["reason"] == "AsExpected"


def test_observing_keeps_what_only_a_pass_can_find_out(settled: Life) -> None:
    before = settled.condition("ExtensionsReady"), settled.status["currentVersion"]
    settled.kube.put(pod("orders-0", role="primary", ready=False))
    settled.observed()
    assert (settled.condition("ExtensionsReady"), settled.status["currentVersion"]) == before


def test_observing_in_check_mode_writes_nothing(settled: Life) -> None:
    settled.kube.put(pod("orders-0", role="primary", ready=False))
    assert settled.observed(check_mode=True)["changed"] is True
    assert settled.written() == []


@pytest.mark.parametrize(
    "change",
    [
        lambda life: life.change_spec(),
        lambda life: life.kube.put(pod("orders-0", role="primary", revision="r0")),
        lambda life: life.kube.put(stateful_set(generation=2) | {"status": {}}) or life.kube.put(pod("x")),
        lambda life: life.status.update(phase="Failed"),
        lambda life: life.kube.put(
            pod("orders-0", ready=False, containerStatuses=[waiting("CreateContainerError")])
        ),
    ],
    ids=["a changed spec", "an outdated pod", "an unseen StatefulSet", "another phase", "a pod in trouble"],
)
def test_what_observing_cannot_settle_asks_for_a_pass(settled: Life, change: Any) -> None:
    change(settled)
    assert "requeue_after" in settled.observed()


def test_a_resource_that_is_going_is_not_observed(settled: Life) -> None:
    settled.kube.objects["ParadeDB", "prod", "orders"]["metadata"]["deletionTimestamp"] = (
        "2025-01-01T00:00:00Z"
    )
    assert settled.observed() == {"changed": False}


def test_nothing_is_observed_without_a_resource() -> None:
    assert Life(stateful_set()).observed() == {"changed": False}
