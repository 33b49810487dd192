"""The module that makes a backup now, and waits for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import backup_now
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.modules.backup import run

from .backups import BACKUP, cron_job, database, failed, good, job, running, state
from .fake_kube import FakeKube

Step = Callable[[FakeKube, dict[str, Any]], Any]
ENDED = [{"type": "Complete", "status": "True"}]
LATER = "2100-01-01T00:00:00Z"


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_now.time, "sleep", lambda _seconds: None)


def cluster(*steps: Step, resource: bool = True) -> FakeKube:
    """A cluster in which each look at the Job finds the next step done."""
    objects = [database(backup=BACKUP | {"verify": {}})] if resource else []
    kube = FakeKube(*objects, cron_job(), cron_job("verify"))
    left, read = list(steps), kube.get

    def get(api_version: str, kind: str, namespace: str, name: str) -> Any:
        if kind == "Job" and left:
            found = kube.objects["Job", namespace, name]
            found["status"] = {"startTime": "2099-01-01T00:00:00Z"}
            left.pop(0)(kube, found)
        return read(api_version, kind, namespace, name)

    kube.get = get  # type: ignore[method-assign]
    return kube


def call(kube: FakeKube, check_mode: bool = False, **options: Any) -> tuple[dict[str, Any], list[str]]:
    shown: list[str] = []
    options = {"name": "orders", "namespace": "prod", "kind": "dump", "wait": True, "timeout": 60} | options
    result = run(options, kube, check_mode, shown.append)  # type: ignore[arg-type]
    return result, [line.partition(": ")[2] for line in shown]


def says(**documents: Any) -> Step:
    return lambda kube, _job: kube.put(state(**documents))


def ends(kind: str = "Complete", **documents: Any) -> Step:
    def step(kube: FakeKube, found: dict[str, Any]) -> None:
        kube.put(state(**documents))
        found["status"]["conditions"] = [{"type": kind, "status": "True", "message": "why"}]

    return step


def test_it_waits_and_shows_each_step_once() -> None:
    now = running(started=LATER, percent=None)
    done = good() | {"finished": LATER, "checks": {"rows": {"tables": 2}}}
    kube = cluster(
        says(),
        says(dump=now),
        says(dump=now),
        says(dump=now | {"percent": 7, "bytes": 2**21}),
        ends(dump=done),
    )
    result, shown = call(kube)
    assert shown == ["its pod is being started", "dumping shop", "dumping shop, 7 %, 2Mi"]
    assert result["changed"] is True
    assert result["job"].startswith("orders-backup-")
    assert (result["size"], result["duration"], result["checks"]) == ("1Mi", 34, {"rows": "2 tables"})


def test_a_failure_has_the_reason_of_the_program() -> None:
    with pytest.raises(Refused, match=r"spec.backup.s3: no") as caught:
        call(cluster(ends("Failed", dump=failed() | {"finished": LATER})))
    assert caught.value.reason == "AccessDenied"


@pytest.mark.parametrize("documents", [{}, {"dump": good(hours=1)}, {"dump": failed()}, {"dump": running()}])
def test_an_earlier_report_is_not_taken_for_this_ones(documents: dict[str, Any]) -> None:
    for kind in ("Failed", "Complete"):
        kube = cluster(ends(kind, **documents))
        kube.put(state(**documents))
        with pytest.raises(Refused) as caught:
            call(kube)
        assert caught.value.reason == "BackupInterrupted"


def test_a_job_that_is_deleted_has_failed() -> None:
    def delete(kube: FakeKube, found: dict[str, Any]) -> None:
        del kube.objects["Job", "prod", found["metadata"]["name"]]

    with pytest.raises(Refused) as caught:
        call(cluster(delete))
    assert caught.value.reason == "BackupInterrupted"


def test_the_patience_ends_and_the_job_goes_on() -> None:
    kube = cluster()
    with pytest.raises(Refused, match="goes on") as caught:
        call(kube, timeout=-1)
    assert caught.value.reason == "BackupTimeout"
    assert any(key[0] == "Job" for key in kube.objects)


def test_without_waiting_it_ends_at_once() -> None:
    result, shown = call(cluster(), wait=False)
    assert result["diff"]["after"]["metadata"]["name"] == result["job"]
    assert "backup" not in result
    assert shown == []


def test_check_mode_makes_nothing() -> None:
    kube = cluster()
    result, _shown = call(kube, check_mode=True)
    assert result["changed"] is True
    assert not kube.writes


@pytest.mark.parametrize(
    ("kind", "objects", "words"),
    [
        ("base", [], "no CronJob 'orders-base'"),
        ("dump", [job()], "runs already"),
        ("dump", [cron_job() | {"spec": {"suspend": True}}], "hibernated"),
    ],
)
def test_what_cannot_begin_is_refused(kind: str, objects: list[Any], words: str) -> None:
    for resource in (True, False):
        kube = cluster(resource=resource)
        for item in objects:
            kube.put(item)
        with pytest.raises(Refused, match=words) as caught:
            call(kube, kind=kind)
        assert caught.value.reason == "BackupRefused"


def test_without_an_operator_the_job_belongs_to_its_schedule() -> None:
    result, _shown = call(cluster(resource=False), wait=False)
    assert result["diff"]["after"]["metadata"]["ownerReferences"][0]["kind"] == "CronJob"
