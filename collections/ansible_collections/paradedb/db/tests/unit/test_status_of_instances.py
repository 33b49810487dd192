"""What the status says about the instances: who leads, what each does, what a failure of one means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from .life import CONNECTED, SETTLED, Life, instance, running_life, stateful_set

MIB = 2**20
CERTIFICATE = {"secretName": "orders-tls", "expires": "2027-01-01T00:00:00Z", "checksum": "abc"}
VALID = {"type": "CertificateValid", "ok": True, "reason": "CertificateValid", "message": ""}


def fail_over(life: Life) -> None:
    life.kube.put(instance("orders-0", ready=False))
    life.kube.put(instance("orders-1", primary=True, timeline=2))


def test_every_instance_is_listed(two: Life) -> None:
    two.kube.put(instance("orders-1", xlog_location=2**30 - 40 * MIB, pending_restart=True))
    two.finished()
    first, second = two.status["instances"]
    assert first == {
        "name": "orders-0",
        "role": "primary",
        "state": "running",
        "ready": True,
        "timeline": 1,
        "lagBytes": 0,
        "pendingRestart": False,
        "node": "node-1",
    }
    assert second["role"] == "replica"
    assert second["lagBytes"] == 32 * MIB  # whole segments of the write-ahead log
    assert second["pendingRestart"] is True


def test_a_little_more_lag_is_not_written(two: Life) -> None:
    two.kube.put(instance("orders-1", xlog_location=2**30 - 5 * MIB - 7))
    two.finished()
    two.written()
    two.kube.put(instance("orders-1", xlog_location=2**30 - 5 * MIB - 9))
    assert two.finished()["changed"] is False
    assert two.written() == []


@pytest.mark.parametrize("state", ["finished", "failed", "observed"])
def test_another_primary_is_told_once(two: Life, state: str) -> None:
    fail_over(two)
    getattr(two, state)()
    assert two.status["currentPrimary"] == "orders-1"
    message = "orders-1 is the primary now, before it was orders-0 (timeline 2)"
    assert two.kube.events().count(("Normal", "PrimaryChanged", message)) == 1
    getattr(two, state)()
    assert sum(event[1] == "PrimaryChanged" for event in two.kube.events()) == 1


def test_the_first_primary_is_no_news(two: Life) -> None:
    assert two.status["currentPrimary"] == "orders-0"
    assert "PrimaryChanged" not in [event[1] for event in two.kube.events()]


def test_while_nobody_leads_the_last_primary_stays_named(two: Life) -> None:
    two.kube.put(instance("orders-0"))
    two.observed()
    assert two.status["currentPrimary"] == "orders-0"
    assert [item["role"] for item in two.status["instances"]] == ["replica", "replica"]
    assert (two.condition("Ready")["status"], two.condition("Ready")["reason"]) == ("False", "NoPrimary")
    assert two.status["phase"] == "Running"
    two.kube.put(instance("orders-1", primary=True, timeline=2))
    two.observed()
    assert two.condition("Ready")["status"] == "True"
    assert [event[1] for event in two.kube.events()][-1] == "PrimaryChanged"


def test_a_full_disk_makes_a_running_database_fail_and_growing_it_mends_it(two: Life) -> None:
    two.kube.put(instance("orders-1", ready=False))
    words = "spec.storage.size: the volume is full"
    assert two.failed("DiskFull", words)["phase"] == "Failed"
    phases = [write[4]["status"]["phase"] for write in two.kube.writes if write[0] == "patch"]
    assert phases == ["Updating", "Failed"]
    assert two.status["message"] == words
    assert two.condition("Degraded")["reason"] == "DiskFull"
    assert two.kube.events()[-1] == ("Warning", "DiskFull", words)
    two.written()
    two.started()
    assert two.failed("DiskFull", words)["changed"] is False
    two.change_spec(storage={"size": "2Gi"})
    two.kube.put(instance("orders-1"))
    two.started()
    assert two.finished()["phase"] == "Running"
    phases = [write[4]["status"]["phase"] for write in two.kube.writes if write[0] == "patch"]
    assert phases == ["Creating", "Running"]
    assert two.condition("Degraded")["status"] == "False"


def test_what_ends_by_itself_is_no_failure() -> None:
    life = Life()
    life.started()
    said = life.failed("CertificatePending", "cert-manager has not issued it yet")
    assert said["waiting"] is True
    assert said["requeue_after"] > 0
    assert life.status["phase"] == "Creating"
    assert life.condition("Progressing")["reason"] == "CertificatePending"
    assert life.condition("Degraded")["status"] == "False"
    assert {event[0] for event in life.kube.events()} == {"Normal"}
    life.kube.objects.clear()  # as a playbook without an operator makes its passes
    assert life.failed("CertificatePending", "cert-manager")["waiting"] is True


def test_events_of_the_rollout_are_written_as_they_are(two: Life) -> None:
    event = {"type": "Warning", "reason": "SwitchoverRefused", "message": "there is no orders-7"}
    two.finished(SETTLED | {"events": [event]}, check_mode=True)
    assert "SwitchoverRefused" not in [item[1] for item in two.kube.events()]
    two.finished(SETTLED | {"events": [event]})
    assert two.kube.events()[-1] == ("Warning", "SwitchoverRefused", "there is no orders-7")


def test_the_certificate_shows_while_there_is_one(two: Life) -> None:
    two.finished(credentials={"tls": CERTIFICATE, "checks": [VALID]})
    assert two.status["tls"] == {"secretName": "orders-tls", "expires": "2027-01-01T00:00:00Z"}
    assert two.condition("CertificateValid")["status"] == "True"
    expiring = VALID | {"ok": False, "reason": "CertificateExpiring", "message": "in 9 days"}
    two.finished(credentials={"tls": CERTIFICATE, "checks": [expiring]})
    assert two.kube.events()[-1] == ("Warning", "CertificateExpiring", "in 9 days")
    two.failed("KubernetesUnavailable", "no answer")
    assert "tls" in two.status
    two.finished(credentials={"tls": {}})
    assert "tls" not in two.status
    assert "CertificateValid" not in [item["type"] for item in two.status["conditions"]]


@pytest.mark.parametrize("credentials", [{}, {"tls": {}}])
def test_without_tls_nothing_speaks_of_it(two: Life, credentials: dict[str, Any]) -> None:
    two.finished(database=CONNECTED, credentials=credentials)
    assert "tls" not in two.status
    assert "CertificateValid" not in [item["type"] for item in two.status["conditions"]]


def test_a_certificate_that_is_refused_is_not_valid() -> None:
    life = running_life()
    life.finished(credentials={"tls": CERTIFICATE, "checks": [VALID]})
    message = "spec.tls.secretRef: there is no Secret 'mine' in namespace 'prod'; create it"
    life.failed("SecretNotFound", message, credentials={"failed": True})
    condition = life.condition("CertificateValid")
    assert (condition["status"], condition["reason"]) == ("False", "SecretNotFound")
    assert condition["message"] == message
    assert life.status["tls"]["expires"] == CERTIFICATE["expires"]


def test_another_failure_says_nothing_of_the_certificate() -> None:
    life = running_life()
    life.failed("SecretNotFound", "spec.auth.superuserSecretRef: there is no Secret 'boss'", credentials={})
    assert "CertificateValid" not in [item["type"] for item in life.status["conditions"]]


def test_dates_pass_while_passes_fail() -> None:
    life = running_life()
    life.finished(credentials={"tls": CERTIFICATE, "checks": [VALID]})
    expired = VALID | {"ok": False, "reason": "CertificateExpired"}
    renewed = CERTIFICATE | {"expires": "2027-02-01T00:00:00Z"}
    life.failed("InstanceCrashing", "orders-1 crashes", credentials={"tls": renewed, "checks": [expired]})
    assert life.condition("CertificateValid")["reason"] == "CertificateExpired"
    assert life.status["tls"]["expires"] == renewed["expires"]
    life.written()
    again = life.failed(
        "InstanceCrashing", "orders-1 crashes", credentials={"tls": renewed, "checks": [expired]}
    )
    assert again["changed"] is False
    life.failed("InstanceCrashing", "orders-1 crashes", credentials={"tls": {}, "checks": []})
    assert "tls" not in life.status
    assert "CertificateValid" not in [item["type"] for item in life.status["conditions"]]


def test_what_is_pending_besides_is_looked_at_again() -> None:
    life = running_life()
    pending = VALID | {"ok": False, "reason": "CertificatePending"}
    unknown = CERTIFICATE | {"expires": "", "checksum": ""}
    life.finished(credentials={"tls": CERTIFICATE, "checks": [VALID]})
    found = life.finished(credentials={"tls": unknown, "checks": [pending]})
    assert (found["phase"], found["requeue_after"]) == ("Running", 60)
    assert life.condition("CertificateValid")["reason"] == "CertificatePending"
    assert life.status["tls"]["expires"] == CERTIFICATE["expires"]  # what was known of it
    rollout = SETTLED | {"settled": False, "requeue_after": 3}
    assert life.finished(rollout, credentials={"tls": unknown, "checks": [pending]})["requeue_after"] == 3


@pytest.mark.parametrize(
    ("tls", "days", "due"),
    [
        ({"enabled": True}, 29, True),
        ({"enabled": True}, 31, False),
        ({"enabled": True, "secretRef": {"name": "mine"}}, 29, False),
        ({"enabled": True, "certManager": {"enabled": True}}, 29, False),
        ({"enabled": True, "certManager": {"enabled": False}}, 29, True),
        ({"enabled": False}, 29, False),
    ],
)
def test_a_certificate_that_is_to_be_renewed_asks_for_a_pass(
    tls: dict[str, Any], days: int, due: bool
) -> None:
    life = running_life()
    life.kube.put(stateful_set())
    expires = (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    life.kube.objects["ParadeDB", "prod", "orders"]["spec"]["tls"] = tls
    life.finished(credentials={"tls": CERTIFICATE | {"expires": expires}})
    assert (life.observed().get("requeue_after") == 0) is due
