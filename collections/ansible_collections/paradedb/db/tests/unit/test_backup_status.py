"""What the status says of backups, by what the programs report and the Jobs there are."""

from __future__ import annotations

from typing import Any

import pytest

from .backups import (
    BACKUP,
    CONTINUOUS,
    GOOD,
    ago,
    database,
    failed,
    good,
    job,
    keys,
    running,
    state,
)
from .fake_kube import pod
from .life import Life


def life(*objects: Any, status: dict[str, Any] | None = None, **spec: Any) -> Life:
    spec = {"backup": BACKUP} | spec
    return Life(database(status, **spec), pod("orders-0", role="primary"), keys(), *objects)


def told(of: Life, kind: str = "BackupHealthy") -> tuple[str, str, str]:
    of.finished()
    found = of.condition(kind)
    return found["status"], found["reason"], found["message"]


def types(of: Life) -> set[str]:
    return {item["type"] for item in of.status["conditions"]}


def test_a_good_backup_with_its_age() -> None:
    one = life(state(dump=good(hours=5)), job(ended="Complete", hours=5))
    status, reason, message = told(one)
    assert (status, reason) == ("True", "BackupSucceeded")
    assert GOOD["id"] in message
    assert "1Mi" in message
    assert "ended less than a day ago, at 20" in message
    assert one.status["lastBackup"] == ago(hours=5)
    assert one.status["lastBackupSize"] == "1Mi"
    assert one.status["backup"]["place"] == "s3://shop/eu/orders"
    assert one.status["backup"]["dump"] == GOOD | {"finished": ago(hours=5)}


def test_a_warning_of_a_good_one_is_told() -> None:
    assert "took long" in told(life(state(dump=good(hours=1) | {"message": "took long"})))[2]


@pytest.mark.parametrize(
    "text", ["{", "[]", "null", '{"state": 5, "last": 3, "finished": "x"}', '{"last": {}}']
)
def test_what_is_no_report_counts_for_nothing(text: str) -> None:
    status, reason, message = told(life(state(dump=text)))
    assert (status, reason) == ("False", "NoBackupYet")
    assert "the next starts at" in message


WRONG = {
    "bytes": -5,
    "durationSeconds": 1e400,
    "percent": 10**30,
    "id": "x" * 10_000,
    "reason": "no reason",
    "message": "m" * 10**6,
    "started": "0001-01-01T00:00:00+14:00",
    "finished": ago(hours=1),
    "checks": {"rows": {"wrong": ["w" * 5000] * 1000}, "deep": [[[[[[[]]]]]]]},
}


@pytest.mark.parametrize("which", ["dump", "verify", "recovery"])
@pytest.mark.parametrize("word", ["running", "succeeded", "failed"])
def test_nothing_that_is_reported_breaks_the_status(which: str, word: str) -> None:
    wild = {"state": word, "last": WRONG, "target": WRONG, "phase": "p" * 999, **WRONG}
    one = life(state(**{which: wild}), job(which), backup=BACKUP | {"verify": {}}, **RECOVERY)
    one.finished()
    assert_in_bounds(one.status.get("backup") or {})
    assert_in_bounds(one.status.get("recovery") or {})
    for condition in one.status["conditions"]:
        assert len(condition["message"]) < 32768
        assert condition["reason"].isalnum()


def assert_in_bounds(value: Any) -> None:
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        assert_in_bounds(item)
    if isinstance(value, int):
        assert 0 <= value < 2**54
    if isinstance(value, str):
        assert len(value) < 30_000
    if isinstance(value, dict):
        assert "started" not in value
        assert value.get("percent", 0) <= 100


def test_a_failure_is_told_in_the_words_of_the_program() -> None:
    last = good(days=1)["last"]
    one = life(state(dump=failed(last=last)), job(ended="Failed"))
    status, reason, message = told(one)
    assert (status, reason) == ("False", "AccessDenied")
    assert message.startswith("spec.backup.s3: no. The last good backup ended a day ago")
    assert one.status["phase"] == "Running"
    assert one.status["lastBackup"] == last["finished"]
    assert ("Warning", "AccessDenied", message) in one.kube.events()
    assert told(life(state(dump=failed())))[2].endswith("There is no good backup yet")


def test_a_backup_that_runs_changes_nothing_but_the_progress() -> None:
    one = life(state(dump=good(hours=20)), job(ended="Complete", hours=20))
    before = told(one)
    one.kube.put(state(dump=running(last=good(hours=20)["last"])))
    one.kube.put(job(name="orders-backup-2"))
    assert one.observed()["changed"] is True
    assert told(one) == before
    assert one.status["backup"]["running"][0] | {"kind": "dump", "phase": "dumping shop", "percent": 40} == {
        **one.status["backup"]["running"][0]
    }
    one.kube.put(state(dump=good(minutes=1)))
    one.kube.put(job(name="orders-backup-2", ended="Complete"))
    one.observed()
    assert "running" not in one.status["backup"]
    assert one.condition("BackupHealthy")["status"] == "True"
    assert [reason for _type, reason, _ in one.kube.events()] == ["BackupCompleted"]


def test_a_backup_that_runs_does_not_mend_a_failure_before_it_is_done() -> None:
    one = life(state(dump=failed()))
    before = told(one)
    one.kube.put(state(dump=running()))
    one.kube.put(job())
    assert told(one) == before


@pytest.mark.parametrize(
    ("jobs", "words"),
    [
        ([], "its Job is gone"),
        ([job(ended="Complete")], "its Job is gone"),
        ([job(ended="Failed", reason="BackoffLimitExceeded")], "Job orders-dump-1 failed: it said so"),
        ([job(ended="Failed", reason="DeadlineExceeded")], "spec.backup.activeDeadlineSeconds"),
    ],
)
def test_a_running_backup_without_a_running_job_is_not_believed(jobs: list[Any], words: str) -> None:
    one = life(state(dump=running(last=good(hours=30)["last"])), *jobs)
    status, reason, message = told(one)
    assert (status, reason) == ("False", "BackupInterrupted")
    assert words in message
    assert "running" not in one.status["backup"]


def test_a_job_that_failed_without_a_word_is_an_interruption() -> None:
    assert told(life(state(dump=good(hours=5)), job(ended="Failed")))[1] == "BackupInterrupted"
    assert told(life(job(ended="Failed")))[1] == "BackupInterrupted"
    # It reported its success before it was killed.
    assert told(life(state(dump=good(minutes=1)), job(ended="Failed")))[0] == "True"


def test_a_backup_that_is_late_is_told_after_two_starts_and_the_deadline() -> None:
    assert told(life(state(dump=good(hours=24))))[0] == "True"
    status, reason, message = told(life(state(dump=good(days=4))))
    assert (status, reason) == ("False", "BackupOverdue")
    assert "4 days ago" in message
    hourly = BACKUP | {"schedule": "@hourly"}
    assert told(life(state(dump=good(hours=4)), backup=hourly))[1] == "BackupOverdue"
    assert told(life(state(dump=good(minutes=90)), backup=hourly))[0] == "True"
    assert told(life(state(dump=good(days=40)), hibernate=True))[0] == "True"  # it is not to be made


def test_a_first_backup_that_does_not_come_is_late_in_the_end() -> None:
    one = life()
    assert told(one)[1] == "NoBackupYet"
    one.condition("BackupHealthy")["lastTransitionTime"] = ago(days=4)
    for _look in range(2):
        assert told(one)[1] == "BackupOverdue"
    assert [reason for _type, reason, _ in one.kube.events()] == ["BackupOverdue"]


def test_a_secret_that_cannot_serve_is_told() -> None:
    one = life(state(dump=good(hours=1)))
    del one.kube.objects["Secret", "prod", "s3-keys"]
    status, reason, _message = told(one)
    assert (status, reason) == ("False", "SecretNotFound")
    assert one.status["phase"] == "Running"


def test_another_kind_that_fails_is_told_while_one_runs() -> None:
    asked = BACKUP | {"continuous": CONTINUOUS}
    one = life(state(dump=good(hours=1), base=good(hours=1)), backup=asked)
    assert told(one)[0] == "True"
    one.kube.put(state(dump=running(last=good(hours=1)["last"]), base=failed("BaseBackupFailed")))
    one.kube.put(job())
    assert told(one)[1] == "BaseBackupFailed"


def test_base_backups_count_where_they_are_asked_for() -> None:
    reports = state(dump=good(hours=5), base=failed("BaseBackupFailed", "why"))
    assert told(life(reports))[0] == "True"
    assert told(life(reports, backup=BACKUP | {"continuous": CONTINUOUS}))[1] == "BaseBackupFailed"
    newest = life(state(dump=good(hours=5), base=good(hours=2)), backup=BACKUP | {"continuous": CONTINUOUS})
    told(newest)
    assert newest.status["lastBackup"] == ago(hours=2)


def test_what_one_kind_says_does_not_grow_while_the_other_runs() -> None:
    asked = BACKUP | {"continuous": CONTINUOUS}
    one = life(state(dump=failed(), base=running()), job("base"), backup=asked)
    before = told(one)
    assert before[1] == "AccessDenied"
    assert told(one) == before
    one.observed()
    assert one.observed()["changed"] is False
    # Each is tried again after a failure, in turn: that is one story, told once.
    one.kube.put(state(dump=running(), base=failed("BaseBackupFailed")))
    one.kube.put(job())
    assert told(one) == before
    one.kube.put(state(dump=good(minutes=1), base=running()))
    told(one)
    one.kube.put(state(dump=good(minutes=1), base=good(minutes=1)))
    one.kube.put(job("base", ended="Complete"))
    one.kube.put(job(ended="Complete"))
    assert told(one)[:2] == ("True", "BackupSucceeded")


def test_what_was_done_in_another_place_counts_no_more() -> None:
    here, there = {"place": "s3://shop/eu/orders"}, {"place": "s3://old/orders"}
    old = good(hours=1)["last"] | there
    assert told(life(state(dump=good(hours=1) | here)))[0] == "True"
    for report in (good(hours=1) | there | {"last": old}, failed(last=old) | there):
        one = life(state(dump=report))
        assert told(one)[1] == "NoBackupYet"
        assert "lastBackup" not in one.status
    assert told(life(state(dump=failed(last=old) | here)))[2].endswith("There is no good backup yet")


def test_a_lost_report_is_made_up_for_by_the_status() -> None:
    one = life(state(dump=good(hours=5)), state(recovery=good(hours=9)), **RECOVERY)
    before = told(one)
    recovered = one.condition("Recovered")
    fields = one.status["backup"]
    one.kube.put(state())
    assert told(one) == before
    assert (one.status["backup"], one.condition("Recovered")) == (fields, recovered)
    one.kube.put(state(dump=failed()))  # by a program that could not read its last success
    assert "The last good backup ended less than a day ago" in told(one)[2]


def test_what_is_older_than_its_volume_was_on_another() -> None:
    claim: dict[str, Any] = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    claim |= {"metadata": {"name": "orders-backup", "creationTimestamp": ago(hours=2)}}
    backup = {"enabled": True, "pvc": {}}
    assert told(life(claim, state(dump=good(hours=1)), backup=backup))[0] == "True"
    assert told(life(claim, state(dump=good(hours=3)), backup=backup))[1] == "NoBackupYet"


@pytest.mark.parametrize(("size", "reason"), [("1Gi", "VolumeCannotGrow"), ("2048Mi", "BackupSucceeded")])
def test_a_volume_that_could_not_grow_is_told(size: str, reason: str) -> None:
    claim: dict[str, Any] = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    claim |= {"metadata": {"name": "orders-backup"}, "spec": {"resources": {"requests": {"storage": size}}}}
    one = life(claim, state(dump=good(hours=1)), backup={"enabled": True, "pvc": {"size": "2Gi"}})
    assert told(one)[1] == reason


def test_a_clock_that_was_ahead_makes_no_backup_young_for_ever() -> None:
    ahead = good(days=-365)
    one = life(state(dump=ahead))
    assert "less than a day ago" in told(one)[2]
    one.status["backup"]["dump"]["finished"] = ago(days=9)  # so it was seen first
    assert told(one)[1] == "BackupOverdue"
    assert told(life(state(dump=ahead), job(ended="Failed")))[1] == "BackupInterrupted"


def test_switched_off_nothing_is_told_any_more() -> None:
    one = life(state(dump=good(hours=5)))
    one.finished()
    one.change_spec(backup={"enabled": False})
    one.finished()
    assert not {"backup", "lastBackup", "lastBackupSize"} & set(one.status)
    assert "BackupHealthy" not in types(one)


# Archiving

ARCHIVING = {
    "state": "archiving",
    "lastWal": "0" * 24,
    "lastTime": ago(minutes=1),
    "pending": 0,
    "failures": 0,
}
ROOM = {"freeBytes": 50 * 2**30, "totalBytes": 100 * 2**30}
FAILING = {"state": "failing", "reason": "BucketMissing", "message": "no bucket", "since": ago(minutes=9)}


@pytest.mark.parametrize(
    ("report", "status", "reason"),
    [
        ({}, "False", "ArchivingStarting"),
        (ARCHIVING | {"place": "s3://old/orders"}, "False", "ArchivingStarting"),
        (ARCHIVING | {"place": "s3://shop/eu/orders"}, "True", "Archiving"),
        (ARCHIVING | ROOM, "True", "Archiving"),
        (ARCHIVING | ROOM | FAILING | {"pending": 3}, "False", "BucketMissing"),
        (ARCHIVING | ROOM | {"pending": 16}, "False", "ArchivingLags"),
        (ARCHIVING | ROOM | {"pending": 1, "lastTime": ago(minutes=16)}, "False", "ArchivingLags"),
        (ARCHIVING | ROOM | {"lastTime": ago(days=1)}, "True", "Archiving"),  # nothing was written
        (
            ARCHIVING | FAILING | {"freeBytes": 24 * 2**30, "totalBytes": 100 * 2**30},
            "False",
            "WALVolumeFilling",
        ),
        (ARCHIVING | FAILING | {"freeBytes": 600 * 2**20, "totalBytes": 2**30}, "False", "BucketMissing"),
        (ARCHIVING | FAILING | {"freeBytes": 500 * 2**20, "totalBytes": 2**30}, "False", "WALVolumeFilling"),
        (ARCHIVING | {"freeBytes": 1, "totalBytes": 2**30}, "True", "Archiving"),  # not for want of archiving
    ],
)
def test_archiving(report: dict[str, Any], status: str, reason: str) -> None:
    one = life(
        state(dump=good(hours=1), base=good(hours=1)),
        state(archive=report),
        backup=BACKUP | {"continuous": CONTINUOUS},
    )
    found = told(one, "ContinuousArchiving")
    assert found[:2] == (status, reason)
    assert ("no bucket" in found[2]) is ("message" in report)
    if reason == "BucketMissing":
        assert one.status["backup"]["archive"]["pending"] == report.get("pending", 0)


def test_a_sleeping_database_archives_nothing() -> None:
    one = life(state(archive=ARCHIVING), backup=BACKUP | {"continuous": CONTINUOUS})
    before = told(one, "ContinuousArchiving")
    one.change_spec(hibernate=True)
    one.kube.put(state(archive=ARCHIVING | FAILING))
    assert told(one, "ContinuousArchiving") == before


# Verification

VERIFIED = {"checks": {"rows": {"tables": 12, "wrong": []}, "indexes": {"sound": 2}}}


def verified(**report: Any) -> Life:
    return life(state(dump=good(hours=1), verify=report), backup=BACKUP | {"verify": {}})


def test_verification() -> None:
    one = verified(**good(hours=3) | VERIFIED)
    assert told(one, "BackupVerified")[:2] == ("True", "VerificationSucceeded")
    assert one.status["backup"]["verification"] == {
        "id": GOOD["id"],
        "finished": ago(hours=3),
        "durationSeconds": 34,
        "result": "succeeded",
        "checks": {"rows": "12 tables, 0 wrong", "indexes": "2 sound"},
    }


def test_verification_that_found_something() -> None:
    wrong = {"checks": {"rows": {"tables": 12, "wrong": ["public.orders"]}}}
    one = verified(**failed("ChecksFailed", "rows differ", last=good(days=8)["last"]) | wrong)
    assert told(one, "BackupVerified")[:2] == ("False", "ChecksFailed")
    made = one.status["backup"]["verification"]
    assert (made["result"], made["checks"]) == ("failed", {"rows": "12 tables, 1 wrong (public.orders)"})
    assert one.condition("BackupHealthy")["status"] == "True"


def test_a_verification_that_runs_leaves_the_result_of_the_one_before() -> None:
    one = verified(**failed("ChecksFailed", "rows differ", last=good(days=8)["last"]))
    before, fields = told(one, "BackupVerified"), one.status["backup"]["verification"]
    one.kube.put(state(dump=good(hours=1), verify=running(last=good(days=8)["last"])))
    one.kube.put(job("verify"))
    events = len(one.kube.events())
    assert told(one, "BackupVerified") == before
    assert one.status["backup"]["verification"] == fields
    assert len(one.kube.events()) == events


def test_a_verification_that_was_killed_has_failed() -> None:
    one = life(state(dump=good(hours=1)), job("verify", ended="Failed"), backup=BACKUP | {"verify": {}})
    one.kube.objects["Job", "prod", "orders-verify-1"]["status"]["conditions"][0]["lastTransitionTime"] = ago(
        hours=1
    )
    assert told(one, "BackupVerified")[1] == "VerificationInterrupted"
    assert one.status["backup"]["verification"] == {"finished": ago(hours=1), "result": "failed"}


def test_verification_that_was_not_yet_is_no_event() -> None:
    one = verified()
    assert told(one, "BackupVerified")[1] == "NotVerifiedYet"
    assert not one.kube.events()
    assert told(verified(**good(days=30)), "BackupVerified")[1] == "VerificationOverdue"
    assert told(verified(**running()), "BackupVerified")[1] == "VerificationInterrupted"


# Recovery

RECOVERY = {"bootstrap": {"recovery": {"source": "shop"}}}


def recovered(**report: Any) -> Life:
    return life(state(recovery=report), backup={}, **RECOVERY)


def test_a_recovery_on_its_way() -> None:
    one = recovered(**running(method="dump", source="shop", target={"time": "t"}))
    assert told(one, "Recovered") == ("False", "Recovering", "dumping shop, 40 %")
    assert one.status["recovery"]["target"] == "time: t"
    assert "backup" not in one.status
    assert not one.kube.events()


def test_a_recovery_that_is_done() -> None:
    one = recovered(**good(hours=1) | {"backup": "b", "checks": {"extensions": {"sound": 3}}})
    status, reason, message = told(one, "Recovered")
    assert (status, reason) == ("True", "Recovered")
    assert "extensions: 3 sound" in message
    assert one.status["recovery"]["durationSeconds"] == 60
    assert [reason for _type, reason, _ in one.kube.events()] == ["RecoveryCompleted"]
    one.kube.objects["ParadeDB", "prod", "orders"]["spec"].pop("bootstrap")
    one.finished()
    assert "recovery" not in one.status
    assert "Recovered" not in types(one)


def test_a_recovery_whose_index_is_to_be_mended() -> None:
    one = recovered(**good(hours=1) | {"reason": "ChecksFailed", "message": "REINDEX INDEX a"})
    assert told(one, "Recovered") == ("False", "ChecksFailed", "REINDEX INDEX a")


def test_a_recovery_that_failed_and_is_tried_again_is_told_once() -> None:
    one = recovered(**failed("WALMissing", "a gap"))
    before = told(one, "Recovered")
    one.kube.put(state(recovery=running()))
    assert told(one, "Recovered") == before
    one.kube.put(state(recovery=failed("WALMissing", "a gap")))
    assert told(one, "Recovered") == before
    assert [reason for _type, reason, _ in one.kube.events()] == ["WALMissing"]
    one.kube.put(state(recovery=good(minutes=1)))
    assert told(one, "Recovered")[0] == "True"


def test_a_recovery_that_failed_is_told_by_the_pass_that_fails_for_it() -> None:
    one = recovered(**running())
    one.finished()
    one.kube.put(state(recovery=failed("WALMissing", "a gap")))
    one.failed("WALMissing", "spec.bootstrap.recovery: a gap")
    assert one.condition("Recovered")["reason"] == "WALMissing"
    assert one.status["recovery"]["state"] == "failed"
