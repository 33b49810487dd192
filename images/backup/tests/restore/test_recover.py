"""Base backup and log: the moment that was asked for, or the reason why it cannot be had."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from paradedb_backup import base_catalog, base_restore, bootstrap, config, scratch, verify
from paradedb_backup.problems import Problem
from restored import execute

Start = Callable[..., scratch.Server]
Settings = Callable[..., config.Config]
BASE = "20261124T010000"
SEGMENT = 16 * 2**20


@dataclasses.dataclass
class Archived:
    """An archive of a database that wrote 1, 2, 3 ... into a table, and the moments after each."""

    place: Path
    moments: list[dict[str, str]]
    segments: list[str]

    def wal(self, name: str) -> Path:
        return self.place / "wals" / name


@pytest.fixture(scope="module")
def archived(serve: Start, shared: Path) -> Archived:
    place = shared / "archive"
    (place / "wals").mkdir(parents=True)
    server = serve("writer", archive_mode="on", archive_command=f"cp %p {place}/wals/%f", wal_level="replica")
    execute(server, "CREATE TABLE numbers (n int)")
    execute(server, "CREATE ROLE paradedb_replication LOGIN REPLICATION PASSWORD 'old'")
    _base(server, place)
    moments = []
    for number in range(1, 6):
        execute(server, f"INSERT INTO numbers SELECT {number}")
        execute(server, f"SELECT pg_create_restore_point('after {number}')")
        row = execute(server, "SELECT clock_timestamp(), pg_current_wal_lsn()::text")[0]
        moments.append({"time": row[0].isoformat(), "lsn": row[1], "name": f"after {number}"})
        time.sleep(0.02)
        last = execute(server, "SELECT pg_walfile_name(pg_switch_wal())")[0][0]
    deadline = time.monotonic() + 60
    while execute(server, "SELECT last_archived_wal FROM pg_stat_archiver")[0][0] != last:
        assert time.monotonic() < deadline, last
        time.sleep(0.05)
    names = sorted(file.name for file in (place / "wals").iterdir() if len(file.name) == 24)
    return Archived(place, moments, names)


def _base(server: scratch.Server, place: Path) -> None:
    """A base backup as barman-cloud leaves it, but for the tar."""
    with server.session() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_backup_start('test', true), pg_walfile_name(pg_current_wal_lsn())")
        begin = cursor.fetchone()[1]
        ignored = shutil.ignore_patterns("pg_wal", "postmaster.*", "pg_replslot")
        shutil.copytree(server.data, place / "files", ignore=ignored, symlinks=True)
        (place / "files/pg_replslot").mkdir()
        cursor.execute("SELECT lsn::text, labelfile, now()::text FROM pg_backup_stop(false)")
        end, label, finished = cursor.fetchone()
    (place / "files/backup_label").write_text(label)
    (place / "base" / BASE).mkdir(parents=True)
    info = {"status": "DONE", "begin_wal": begin, "end_xlog": end, "end_time": finished, "size": "30000000"}
    info |= {"xlog_segment_size": str(SEGMENT), "tablespaces": "None", "timeline": "1"}
    (place / "base" / BASE / "backup.info").write_text(
        "".join(f"{key}={value}\n" for key, value in info.items())
    )


@pytest.fixture
def own(archived: Archived, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Archived:
    """The same archive, for a test that changes it; what PostgreSQL is recovered from."""
    place = folder / "backups" / "db"
    shutil.copytree(archived.place, place, copy_function=os.link, symlinks=True)
    monkeypatch.setattr(base_restore, "restore_command", lambda _source: f"cp {place}/wals/%f %p")

    def copy(_settings: config.Config, base: str, target: Path) -> None:
        assert base == BASE
        shutil.copytree(place / "files", target, dirs_exist_ok=True, symlinks=True)

    monkeypatch.setattr(base_restore, "copy", copy)
    return dataclasses.replace(archived, place=place)


@pytest.fixture
def recover(
    own: Archived, folder: Path, settings: Any, serve: Start, shared: Path
) -> Callable[..., list[int]]:
    """Makes a database from the archive and tells which numbers it has."""
    for name in ("dev", "data"):
        (folder / name).mkdir()
    data = folder / "data" / "pgdata"

    def run(**target: str) -> list[int]:
        server = scratch.Server(data, folder, "postgres")
        settings(server, method="continuous", target=target)
        bootstrap.run(config.for_recovery(), data)
        with scratch.running(data, "postgres", {}) as made:
            assert execute(
                made, "SELECT rolpassword FROM pg_authid WHERE rolname = 'paradedb_replication'"
            ) == [(None,)]
            return [number for (number,) in execute(made, "SELECT n FROM numbers ORDER BY n")]

    return run


def state(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "var/state/recovery.json").read_text()))


def test_to_the_end_of_the_log(recover: Callable[..., list[int]], folder: Path) -> None:
    assert recover() == [1, 2, 3, 4, 5]
    told = state(folder)
    assert (told["state"], told["backup"]) == ("succeeded", BASE)
    log = folder / "data/pgdata/pg_wal"
    assert {file.name[:8] for file in log.iterdir() if len(file.name) == 24} == {"00000002"}


@pytest.mark.parametrize("kind", ["time", "lsn"])
def test_to_a_moment(recover: Callable[..., list[int]], own: Archived, kind: str) -> None:
    assert recover(**{kind: own.moments[2][kind]}) == [1, 2, 3]


@pytest.mark.parametrize("target", [{"time": "2999-01-01T00:00:00Z"}, {"name": "never"}])
def test_a_moment_after_the_end(
    recover: Callable[..., list[int]], folder: Path, target: dict[str, str]
) -> None:
    with pytest.raises(Problem) as caught:
        recover(**target)
    assert caught.value.reason == state(folder)["reason"] == "TargetNotReached"
    assert caught.value.message.startswith(f"spec.bootstrap.recovery.target.{next(iter(target))}: ")
    assert not (folder / "data/pgdata").exists()


@pytest.mark.parametrize("kind", [None, "lsn", "name"])
def test_a_gap_in_the_log(
    recover: Callable[..., list[int]], own: Archived, folder: Path, kind: str | None
) -> None:
    gone = own.segments[-3]
    own.wal(gone).unlink()
    with pytest.raises(Problem) as caught:
        recover(**({kind: own.moments[4][kind]} if kind else {}))
    assert caught.value.reason == state(folder)["reason"] == "WALMissing"
    assert gone in caught.value.message


def test_a_moment_before_the_gap(recover: Callable[..., list[int]], own: Archived) -> None:
    own.wal(own.segments[-2]).unlink()
    assert recover(time=own.moments[0]["time"]) == [1]


@pytest.mark.parametrize("kind", [None, "name"])
def test_a_damaged_segment(recover: Callable[..., list[int]], own: Archived, kind: str | None) -> None:
    name = own.segments[-3]
    content = bytearray(own.wal(name).read_bytes())
    content[40:6000] = bytes(5960)
    own.wal(name).unlink()
    own.wal(name).write_bytes(content)
    with pytest.raises(Problem) as caught:
        recover(**({kind: own.moments[4][kind]} if kind else {}))
    assert caught.value.reason == "BackupDamaged"
    assert name in caught.value.message


def test_before_every_base_backup(recover: Callable[..., list[int]]) -> None:
    with pytest.raises(Problem) as caught:
        recover(time="2020-01-01T00:00:00Z")
    assert caught.value.reason == "NoBackup"


def test_tablespaces_are_refused(recover: Callable[..., list[int]], own: Archived) -> None:
    file = own.place / "base" / BASE / "backup.info"
    content = file.read_text()
    file.unlink()
    file.write_text(content.replace("tablespaces=None", "tablespaces=[('fast', 4711, '/mnt/fast')]"))
    with pytest.raises(Problem, match="has tablespaces \\(fast\\)"):
        recover()


def test_an_archive_that_cannot_be_read(
    recover: Callable[..., list[int]], own: Archived, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "echo '%f: AccessDenied: the access key may not read' >&2; exit 200"
    monkeypatch.setattr(base_restore, "restore_command", lambda _source: said)
    with pytest.raises(Problem, match="the access key may not read") as caught:
        recover()
    assert caught.value.reason == "AccessDenied"


def test_verify(own: Archived, folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    made = settings(scratch.Server(folder, folder, "postgres"))
    monkeypatch.setattr(verify, "_newest", base_catalog.bases)
    verify.run(made, folder / "scratch")
    told = json.loads((folder / "var/state/verify.json").read_text())
    assert (told["state"], told["last"]["id"]) == ("succeeded", BASE)
    assert told["checks"]["amcheck"]["relations"] > 100
    own.wal(own.segments[-3]).unlink()
    with pytest.raises(Problem, match=own.segments[-3]):
        verify.run(made, folder / "scratch")
    told = json.loads((folder / "var/state/verify.json").read_text())
    assert (told["reason"], told["last"]["id"]) == ("WALMissing", BASE)
    assert not (folder / "scratch").exists()


def test_another_major_version(recover: Callable[..., list[int]], own: Archived) -> None:
    file = own.place / "base" / BASE / "backup.info"
    content = file.read_text()
    file.unlink()
    file.write_text(f"{content}version=90603\n")
    with pytest.raises(Problem, match=r"spec.postgresVersion: .* is of PostgreSQL 9,"):
        recover()


def test_after_a_failover(
    recover: Callable[..., list[int]], own: Archived, folder: Path, serve: Start, shared: Path
) -> None:
    """The database that was recovered writes on a timeline of its own into the same archive."""
    assert recover(name="after 3") == [1, 2, 3]
    data = folder / "data" / "pgdata"
    archiving = {"archive_mode": "on", "archive_command": f"cp %p {own.place}/wals/%f"}
    with scratch.running(data, "postgres", archiving) as server:
        execute(server, "INSERT INTO numbers SELECT 44")
        execute(server, "SELECT pg_switch_wal()")
    assert own.wal("00000002.history").exists()
    shutil.rmtree(data)
    assert recover() == [1, 2, 3, 44]
