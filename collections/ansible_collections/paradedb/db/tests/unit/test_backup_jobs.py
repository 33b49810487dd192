"""Backups that begin at once: the first ones of a place, and those that an annotation asks for."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import backup_jobs
from ansible_collections.paradedb.db.plugins.module_utils.kube import KubeError

from .backups import BACKUP, CONTINUOUS, S3, ago, cron_job, database, failed, good, job, keys, running, state
from .fake_kube import FakeKube

ANNOTATION = "database.paradedb.io/backup"


def cluster(*objects: Any, **spec: Any) -> FakeKube:
    jobs = [cron_job(kind) for kind in ("dump", "base", "verify")]
    return FakeKube(database({"backup": {}}, **({"backup": BACKUP} | spec)), keys(), *jobs, *objects)


def resource(kube: FakeKube) -> dict[str, Any]:
    return kube.objects["ParadeDB", "prod", "orders"]


def tend(
    kube: FakeKube, settled: bool = True, check_mode: bool = False, generation: int = 1
) -> dict[str, Any]:
    where = kube, "prod", "orders"
    return backup_jobs.tend(*where, generation, resource(kube)["spec"], settled, check_mode)  # type: ignore[arg-type]


def jobs(kube: FakeKube) -> list[str]:
    """The Jobs that were made, by kind; they are gone now, as after their time."""
    made = [key for key in kube.objects if key[0] == "Job"]
    found = [kube.objects.pop(key)["metadata"]["labels"][ANNOTATION] for key in made]
    return sorted(found)


def test_a_pass_over_an_older_spec_makes_nothing() -> None:
    kube = cluster()
    resource(kube)["metadata"] |= {"generation": 2, "annotations": {ANNOTATION: "dump"}}
    assert tend(kube) == {"changed": False, "events": []}
    assert jobs(kube) == []
    assert tend(kube, generation=2)["changed"] is True


def report(kube: FakeKube, **documents: Any) -> None:
    kube.put(state(**documents))


# The first backup


def test_the_first_backup_is_made_at_once_and_once() -> None:
    kube = cluster()
    assert tend(kube) == {"changed": True, "events": []}
    assert jobs(kube) == ["dump"]
    for _pass in range(3):  # though the Job is gone, and nothing was reported
        assert tend(kube) == {"changed": False, "events": [], "requeue_after": 3600}
    assert jobs(kube) == []


def test_the_job_is_one_of_the_schedule_and_belongs_to_the_database() -> None:
    kube = cluster()
    tend(kube)
    (made,) = (item for key, item in kube.objects.items() if key[0] == "Job")
    assert made["spec"] == cron_job()["spec"]["jobTemplate"]["spec"]
    assert made["metadata"]["labels"] == cron_job()["metadata"]["labels"]
    assert made["metadata"]["name"].startswith("orders-backup-")
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("ParadeDB", "the-uid", True)


def test_a_pass_that_ended_before_its_note_makes_no_second_one() -> None:
    kube = cluster()
    tend(kube)
    resource(kube)["status"].pop("backup")
    for item in kube.objects.values():
        if item["kind"] == "Job":
            item["status"] = job(ended="Failed")["status"]
    assert tend(kube)["changed"] is True
    assert len(jobs(kube)) == 1


def test_both_kinds_where_both_are_asked_for_and_no_verification() -> None:
    assert_both = BACKUP | {"continuous": CONTINUOUS, "verify": {}}
    kube = cluster(backup=assert_both)
    tend(kube)
    assert jobs(kube) == ["base", "dump"]
    kube = cluster()
    tend(kube)
    jobs(kube)
    resource(kube)["spec"]["backup"] = assert_both
    tend(kube)
    assert jobs(kube) == ["base"]


@pytest.mark.parametrize("spec", [{"hibernate": True}, {"backup": {"enabled": False}}, {"backup": None}])
def test_none_while_there_is_nothing_to_back_up(spec: dict[str, Any]) -> None:
    kube = cluster(**spec)
    assert tend(kube)["changed"] is False
    assert jobs(kube) == []


def test_none_before_the_database_is_as_it_should_be() -> None:
    kube = cluster()
    tend(kube, settled=False)
    assert jobs(kube) == []
    tend(kube)
    assert jobs(kube) == ["dump"]


@pytest.mark.parametrize("missing", [("Secret", "prod", "s3-keys"), ("CronJob", "prod", "orders-backup")])
def test_what_is_missing_is_waited_for(missing: tuple[str, str, str]) -> None:
    kube = cluster()
    lacking = kube.objects.pop(missing)
    tend(kube)
    assert jobs(kube) == []
    kube.put(lacking)
    tend(kube)
    assert jobs(kube) == ["dump"]


def test_a_success_that_is_known_is_enough() -> None:
    kube = cluster(state(dump=good(hours=3)))
    tend(kube)
    assert jobs(kube) == []


def test_one_that_runs_is_not_joined_by_another() -> None:
    kube = cluster(job())
    tend(kube)
    assert len(jobs(kube)) == 1


def test_one_of_the_old_place_is_waited_for() -> None:
    kube = cluster(job(), state(dump=running()))
    assert tend(kube) == {"changed": False, "events": [], "requeue_after": 60}
    assert jobs(kube) == ["dump"]
    report(kube, dump=failed(place="s3://old/orders"))
    assert tend(kube)["changed"] is True
    assert jobs(kube) == ["dump"]


def test_a_new_volume_is_a_new_place() -> None:
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "orders-backup"}}
    kube = cluster(claim, backup={"enabled": True, "pvc": {}})
    tend(kube)
    assert jobs(kube) == ["dump"]
    report(kube, dump=good(minutes=1))
    tend(kube)
    assert jobs(kube) == []
    kube.put(claim)  # which has another uid
    tend(kube)
    assert jobs(kube) == ["dump"]


def test_another_place_gets_a_backup_of_its_own() -> None:
    kube = cluster(state(dump=good(hours=3)))
    tend(kube)
    resource(kube)["spec"]["backup"] = BACKUP | {"s3": S3 | {"bucket": "other"}}
    tend(kube)
    assert jobs(kube) == ["dump"]
    tend(kube)
    assert jobs(kube) == []


def test_a_place_that_is_come_back_to_gets_another() -> None:
    kube = cluster()
    for count, bucket in enumerate(("shop", "other", "shop"), start=1):
        resource(kube)["spec"]["backup"] = BACKUP | {"s3": S3 | {"bucket": bucket}}
        tend(kube)
        made = [item for item in kube.objects.values() if item["kind"] == "Job"]
        assert len(made) == count
        for item in made:
            item["status"] = job(ended="Complete")["status"]


def test_another_secret_is_tried_once_after_a_failure() -> None:
    kube = cluster()
    tend(kube)
    assert jobs(kube) == ["dump"]
    report(kube, dump=failed())
    tend(kube)
    assert jobs(kube) == []
    kube.objects["Secret", "prod", "s3-keys"]["metadata"] |= {
        "resourceVersion": "9",
        "labels": {"touched": "1"},
    }
    tend(kube)
    assert jobs(kube) == []
    kube.put(keys("2"))
    for _pass in range(3):
        tend(kube)
    assert jobs(kube) == ["dump"]
    report(kube, dump=good(minutes=1))
    kube.put(keys("3"))
    tend(kube)
    assert jobs(kube) == []


def test_what_a_person_asked_for_is_tried_again_with_what_was_there_before() -> None:
    kube = cluster(state(dump=good(hours=3)))
    resource(kube)["status"]["backup"] = {"dump": {"id": "known"}}
    tend(kube)
    assert jobs(kube) == []
    kube.put(keys("2"))
    resource(kube)["metadata"]["annotations"] = {ANNOTATION: "dump"}
    tend(kube)
    assert jobs(kube) == ["dump"]
    report(kube, dump=failed(last=good(hours=3)["last"]))
    kube.put(keys("1"))
    tend(kube)
    assert jobs(kube) == ["dump"]


def test_a_first_backup_that_failed_is_tried_again_after_an_hour() -> None:
    kube = cluster()
    tend(kube)
    assert jobs(kube) == ["dump"]
    report(kube, dump=failed())
    assert 3000 < tend(kube)["requeue_after"] < 3600
    assert jobs(kube) == []
    report(kube, dump=failed(started=ago(hours=2.1), finished=ago(hours=2)))
    assert tend(kube)["changed"] is True
    for item in kube.objects.values():
        if item["kind"] == "Job":
            item["status"] = job(ended="Failed")["status"]
    tend(kube)  # nothing is reported of that one yet
    assert jobs(kube) == ["dump"]
    report(kube, dump=good(minutes=1))
    tend(kube)
    assert jobs(kube) == []


def test_check_mode_makes_nothing() -> None:
    kube = cluster()
    assert tend(kube, check_mode=True)["changed"] is True
    assert not kube.writes


def test_without_a_resource_there_is_nothing_to_tend() -> None:
    where = FakeKube(), "prod", "orders"
    assert backup_jobs.tend(*where, 0, {"backup": BACKUP}, True, False) == backup_jobs.NOTHING  # type: ignore[arg-type]


# What is not asked for


@pytest.mark.parametrize("ended", ["", "Complete"])
def test_jobs_of_what_the_spec_does_not_ask_for_go(ended: str) -> None:
    kube = cluster(job("verify", ended=ended), job("base", ended=ended), state(dump=good(hours=3)))
    tend(kube)
    assert jobs(kube) == []
    kube = cluster(job(ended=ended), backup={"enabled": False})
    assert tend(kube, check_mode=True)["changed"] is False
    assert tend(kube)["changed"] is True
    assert jobs(kube) == []


def test_no_job_runs_on_while_the_database_sleeps() -> None:
    kube = cluster(job(), job(name="orders-backup-2", ended="Complete"), hibernate=True)
    tend(kube)
    assert [key[2] for key in kube.objects if key[0] == "Job"] == ["orders-backup-2"]


def test_jobs_of_others_stay() -> None:
    other = job()
    del other["metadata"]["labels"]["database.paradedb.io/backup"]
    kube = cluster(other, backup={"enabled": False})
    tend(kube)
    assert any(key[0] == "Job" for key in kube.objects)


# On demand


def asked(kind: str, *objects: Any, **spec: Any) -> FakeKube:
    kube = cluster(state(dump=good(hours=3)), *objects, **spec)
    resource(kube)["metadata"]["annotations"] = {ANNOTATION: kind}
    return kube


@pytest.mark.parametrize("kind", ["dump", "base", "verify"])
def test_the_annotation_is_done_and_taken_away(kind: str) -> None:
    kube = asked(kind, backup=BACKUP | {"continuous": CONTINUOUS, "verify": {}})
    tend(kube)
    for item in ("base", "dump"):
        kube.objects.pop(("Job", "prod", f"orders-{item}-first"), None)
    (event,) = tend(asked(kind, backup=BACKUP | {"verify": {}, "continuous": CONTINUOUS}))["events"]
    assert event["reason"] == "BackupRequested"
    assert ANNOTATION not in resource(kube)["metadata"]["annotations"]
    assert kind in jobs(kube)


@pytest.mark.parametrize(
    ("kind", "spec", "words"),
    [
        ("everything", {}, "none of dump, base, verify"),
        ("dump", {"backup": {"enabled": False}}, "spec.backup.enabled"),
        ("base", {}, "spec.backup.continuous.enabled"),
        ("verify", {}, "spec.backup.verify"),
        ("dump", {"hibernate": True}, "spec.hibernate"),
    ],
)
def test_what_cannot_be_done_is_refused(kind: str, spec: dict[str, Any], words: str) -> None:
    kube = asked(kind, **spec)
    (event,) = tend(kube)["events"]
    assert (event["type"], event["reason"]) == ("Warning", "BackupRefused")
    assert words in event["message"]
    assert ANNOTATION not in resource(kube)["metadata"]["annotations"]
    assert jobs(kube) == []


def test_a_second_one_at_the_same_time_is_refused() -> None:
    kube = asked("dump", job())
    (event,) = tend(kube)["events"]
    assert "runs already" in event["message"]
    assert len(jobs(kube)) == 1


def test_a_suspended_schedule_lets_nothing_begin() -> None:
    kube = asked("dump")
    kube.objects["CronJob", "prod", "orders-backup"]["spec"]["suspend"] = True
    assert tend(kube)["events"][0]["reason"] == "BackupRefused"
    assert jobs(kube) == []


def wish(time: str) -> list[dict[str, Any]]:
    fields = {"f:metadata": {"f:annotations": {f"f:{ANNOTATION}": {}}}}
    return [{"manager": "kubectl-annotate", "time": time, "fieldsV1": fields}]


def test_a_pass_that_is_repeated_makes_one_job_and_another_wish_makes_another() -> None:
    kube = asked("dump")
    for time, count in (("12:00", 1), ("12:00", 1), ("12:01", 2)):
        for item in kube.objects.values():
            if item["kind"] == "Job":  # it has ended, and is still there
                item["status"] = job(ended="Complete")["status"]
        resource(kube)["metadata"] |= {"annotations": {ANNOTATION: "dump"}, "managedFields": wish(time)}
        tend(kube)
        assert len([key for key in kube.objects if key[0] == "Job"]) == count


def test_an_annotation_that_changed_meanwhile_is_left_to_the_next_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kube = asked("dump")
    monkeypatch.setattr(kube, "merge_patch", _refuse(409))
    assert tend(kube, settled=False)["events"]
    monkeypatch.setattr(kube, "merge_patch", _refuse(500))
    with pytest.raises(KubeError):
        tend(kube, settled=False)


def _refuse(status: int) -> Any:
    def patch(*_given: Any) -> None:
        raise KubeError(status, "no")

    return patch
