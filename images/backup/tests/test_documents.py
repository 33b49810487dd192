"""What the program reads and writes: its configuration, reports, the owner of a place, the list of
backups."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from paradedb_backup import catalog, cli, config, owner, report, times
from paradedb_backup.config import Config, Retention, S3Place, VolumePlace
from paradedb_backup.problems import Problem
from paradedb_backup.report import Report
from paradedb_backup.store import open_store
from paradedb_backup.work import Work

BACKUP: dict[str, Any] = {
    "namespace": "shop",
    "name": "orders",
    "server": "orders",
    "store": {
        "s3": {"endpoint": "https://s3", "bucket": "b", "path": "a/b", "region": "", "pathStyle": False}
    },
    "retention": {"keepLast": 7, "keepDaily": 6, "keepWeekly": 5},
    "jobs": 3,
    "recoveryWindowDays": 9,
    "state": "orders-backup-state",
    "deadlineSeconds": 60,
    "database": {"host": "orders.shop.svc", "port": 5432, "user": "admin", "tls": True, "named": False},
    "preload": "pg_search",
    "version": "17",
}


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PARADEDB_BACKUP_ROOT", str(tmp_path))
    for folder in ("backup", "recovery", "backup-credentials", "backup-ca"):
        (tmp_path / "etc" / folder).mkdir(parents=True)
    return tmp_path / "etc"


def test_backup_json(etc: Path) -> None:
    (etc / "backup/backup.json").write_text(json.dumps(BACKUP))
    (etc / "backup-ca/ca.crt").write_text("pem")
    found = config.for_backup()
    place = found.place
    assert isinstance(place, S3Place)
    assert (place.endpoint, place.path, place.path_style, place.field) == (
        "https://s3",
        "a/b",
        False,
        "spec.backup.s3",
    )
    assert place.authority == etc / "backup-ca/ca.crt"
    assert found.retention == Retention(7, 6, 5)
    assert (found.jobs, found.window_days, found.deadline) == (3, 9, 60)
    assert (found.database.user, found.database.tls, found.database.named) == ("admin", True, False)


def test_recovery_json(etc: Path) -> None:
    recovery = {"namespace": "shop", "name": "new", "server": "orders", "store": {"volume": "/recovery"}}
    recovery |= {"method": "dump", "backup": None, "target": {}, "state": "new-backup-state"}
    (etc / "recovery/recovery.json").write_text(json.dumps(recovery))
    found = config.for_recovery()
    assert found.place == VolumePlace(Path("/recovery"), "spec.bootstrap.recovery.pvc")
    assert (found.method, found.backup, found.target) == ("dump", None, {})


def reports(settings: Config) -> dict[str, Any]:
    return report.read(settings)["dump"]


def test_a_report_through_its_life(settings: Config) -> None:
    told = Report("dump", "one", report.writer(settings), report.last(settings, "dump"))
    assert (reports(settings)["state"], reports(settings)["percent"]) == ("running", None)
    told.succeeded("one", 42)
    found = reports(settings)
    assert (found["state"], found["reason"], found["bytes"]) == ("succeeded", "", 42)
    assert found["last"].keys() == {"id", "finished", "bytes", "durationSeconds"}

    told = Report("dump", "two", report.writer(settings), report.last(settings, "dump"))
    assert reports(settings)["last"]["id"] == "one"
    with pytest.raises(Problem), report.reported(told, "DumpFailed"):
        raise Problem("BucketMissing", "no bucket")
    found = reports(settings)
    assert (found["state"], found["reason"], found["message"]) == ("failed", "BucketMissing", "no bucket")
    assert found["last"]["id"] == "one"


def test_an_unexpected_error_is_reported(settings: Config) -> None:
    told = Report("dump", "one", report.writer(settings), None)
    with pytest.raises(Problem), report.reported(told, "DumpFailed"):
        raise KeyError("surprise")
    assert reports(settings)["reason"] == "DumpFailed"


def test_progress_is_written_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[dict[str, Any]] = []
    moment = [100.0]
    monkeypatch.setattr(report.time, "monotonic", lambda: moment[0])
    told = Report("dump", "one", lambda _key, document: written.append(dict(document)), None)
    for second in range(60):
        moment[0] = 100.0 + second
        told.progress("dumping orders", second, second)
    assert [document["bytes"] for document in written] == [0, 10, 20, 30, 40, 50]


def test_a_report_that_cannot_be_written_ends_nothing(
    settings: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise ConnectionRefusedError("no API server")

    monkeypatch.setattr(report, "_store", refuse)
    monkeypatch.setattr(report.time, "sleep", lambda _seconds: None)
    told = Report("dump", "one", report.writer(settings), None)
    told.succeeded("one", 1)
    assert "no API server" in capsys.readouterr().err


def test_a_place_is_claimed_once(settings: Config) -> None:
    store = open_store(settings)
    owner.claim(store, settings, "7001")
    owner.claim(store, settings, "7001")
    renamed = dataclasses.replace(settings.database, user="boss")
    owner.claim(store, dataclasses.replace(settings, database=renamed), "7001")
    found = json.loads(store.get(owner.OWNER) or b"")
    assert found == {"namespace": "tests", "name": "orders", "systemIdentifier": "7001", "superuser": "boss"}


@pytest.mark.parametrize(
    ("data", "system", "said"),
    [
        ({"namespace": "other", "name": "orders", "systemIdentifier": "7001"}, "7001", "other/orders"),
        ({"namespace": "tests", "name": "orders", "systemIdentifier": "7000"}, "7001", "earlier database"),
        ({}, "7001", "belongs to"),
        ([], "7001", "cannot be read"),
        (None, "7001", "cannot be read"),
    ],
)
def test_a_place_of_another_is_left_alone(settings: Config, data: Any, system: str, said: str) -> None:
    store = open_store(settings)
    before = b"" if data is None else json.dumps(data).encode()
    store.put(owner.OWNER, before)
    with pytest.raises(Problem, match=said) as raised:
        owner.claim(store, settings, system)
    assert raised.value.reason == "PlaceTaken"
    assert settings.place.field in raised.value.message
    assert store.get(owner.OWNER) == before


def manifest(sequence: int, started: str) -> bytes:
    document = {"version": 1, "sequence": sequence, "started": started, "finished": started, "bytes": 5}
    return json.dumps({**document, "databases": [{"name": 'a\n"b'}]}).encode()


def test_the_catalog(settings: Config, capsys: pytest.CaptureFixture[str]) -> None:
    store = open_store(settings)
    with pytest.raises(Problem, match="no complete backup") as raised:
        catalog.find(store, None)
    assert settings.place.field in raised.value.message
    runs = ["20270101T000000Z-0001", "20260101T000000Z-0001"]
    store.put(f"dumps/{runs[0]}/manifest.json", manifest(1, "2027-01-01T00:00:00Z"))
    store.put(f"dumps/{runs[1]}/manifest.json", manifest(2, "2026-01-01T00:00:00Z"))
    store.put("dumps/20260301T000000Z-0001/0.dump", b"half")
    store.put("dumps/notes/manifest.json", b"{}")
    store.put("dumps/20260401T000000Z-0001/manifest.json", b"[]")
    store.put("dumps/20260402T000000Z-0001/manifest.json", b'{"version": 99}')
    assert [backup.id for backup in catalog.backups(store)] == runs
    assert "20260401T000000Z-0001" in capsys.readouterr().err
    assert catalog.find(store, None).id == runs[1]
    assert catalog.find(store, runs[0]).started == datetime(2027, 1, 1, tzinfo=UTC)
    for run, reason in (("20260301T000000Z-0001", "NoBackup"), ("20260402T000000Z-0001", "BackupDamaged")):
        with pytest.raises(Problem) as raised:
            catalog.find(store, run)
        assert raised.value.reason == reason


def test_the_list(
    settings: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = "20270101T000000Z-0001"
    open_store(settings).put(f"dumps/{run}/manifest.json", manifest(1, "2027-01-01T00:00:00Z"))
    monkeypatch.setattr(config, "for_backup", lambda: settings)
    assert cli.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == [run, "2027-01-01T00:00:00Z", "5", '"a\\n\\"b"']


def test_a_wrong_call_and_a_problem_have_exit_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([]) == 2
    assert cli.main(["make-coffee"]) == 2

    def fail() -> None:
        raise Problem("NoBackup", "nothing there")

    monkeypatch.setattr(config, "for_backup", fail)
    assert cli.main(["list"]) == 1
    assert "NoBackup: nothing there" in capsys.readouterr().err


def test_times() -> None:
    moment = times.parse("2026-11-24T03:30:00+02:00")
    assert times.text(moment) == "2026-11-24T01:30:00Z"
    assert times.is_id(times.new_id(moment))
    assert times.new_id(moment).startswith("20261124T013000Z-")
    assert not times.is_id("20261124T013000")
    with pytest.raises(ValueError, match="zone"):
        times.parse("2026-11-24T03:30:00")


def test_work_is_stopped_once_and_for_all() -> None:
    work, stopped = Work(), threading.Event()
    work.counted(3)
    with work.phase("dumping a"), work.phase("dumping b"), work.stopping(stopped.set):
        assert work.progress() == ("dumping a, dumping b", 3)
        work.stop()
        assert stopped.wait(5)
    late = threading.Event()
    with pytest.raises(Problem, match="another part"), work.stopping(late.set):
        time.sleep(0)
    assert work.progress() == ("starting", 3)
