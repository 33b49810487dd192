"""Recovery from a base backup and the archived log: to ten moments, and where the log is not whole."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from program import Document, Program, s3_place
from servers import S3, Postgres, eventually, s3_server

Make = Callable[[str], Postgres]
KINDS = ("time", "lsn", "name")
MOMENTS = range(1, 11)
# One moment of each kind; the others, seconds each, are recovered to when PARADEDB_FAULTS is `all`.
QUICK = (2, 4, 6)
BY_HAND = pytest.mark.skipif(
    os.environ.get("PARADEDB_FAULTS") != "all",
    reason="recoveries take seconds each: PARADEDB_FAULTS=all runs all",
)
# The segment that is missing holds this moment.
LOST = 5


@dataclass
class Archived:
    """A server whose log is archived, what it wrote and the moments between."""

    program: Program
    s3: S3
    moments: dict[int, Document]
    lost: str  # name of a segment in the middle of the log

    @property
    def postgres(self) -> Postgres:
        return self.program.postgres

    def lost_segment(self) -> Path:
        [found] = (self.s3.buckets / "backups/orders/wals").glob(f"*/{self.lost}.*")
        return found


def base_backup(program: Program) -> Document:
    """The command `base` as its caller runs it: a line now and then says that one waits. Its last word."""
    (program.folder / "tmp").mkdir(exist_ok=True)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([*program.command, "base"], env=program.environment(), cwd="/", **pipes)

    def wait_for_it() -> None:
        with suppress(OSError, ValueError):
            while process.poll() is None:
                process.stdin.write("\n")
                process.stdin.flush()
                time.sleep(0.5)

    threading.Thread(target=wait_for_it, daemon=True).start()
    lines = process.stdout.read().splitlines()
    process.wait(120)
    found: Document = json.loads(lines[-1])
    return found


def start_archiving(program: Program) -> None:
    variables = ("PARADEDB_BACKUP_ROOT", "PYTHONPATH", "PATH")
    settings = [f"{name}={program.environment()[name]}" for name in variables]
    command = shlex.join(["env", *settings, sys.executable, "-m", "paradedb_backup", "archive"]) + ' "%p"'
    program.postgres.settings(archive_mode="on", archive_command=command, wal_level="replica")
    program.postgres.start()


def wait_archived(postgres: Postgres) -> None:
    """All of the log until now is in the archive."""
    segment = postgres.sql("SELECT pg_walfile_name(pg_switch_wal())")
    last = "SELECT last_archived_wal FROM pg_stat_archiver"
    eventually(f"{segment} is archived", lambda: postgres.sql(last) >= segment)


def a_moment(postgres: Postgres, number: int) -> Document:
    """A target between a row of before and a row of after."""
    kind = KINDS[number % 3]
    postgres.sql(f"INSERT INTO moments VALUES ({number}, 'before')")  # noqa: S608
    ask = {
        "time": "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
        "lsn": "SELECT pg_current_wal_flush_lsn()",
        "name": f"SELECT pg_create_restore_point('moment-{number}')",
    }
    found = postgres.sql(ask[kind])
    postgres.sql(f"INSERT INTO moments VALUES ({number}, 'after')")  # noqa: S608
    return {kind: f"moment-{number}" if kind == "name" else found}


@pytest.fixture(scope="module")
def archived(make_postgres: Make, versitygw: Path, folder: Path) -> Iterator[Archived]:
    """A base backup, then rows over several segments of the log."""
    with s3_server(versitygw, folder / "archive-s3") as s3:
        postgres = make_postgres("archived")
        postgres.initialise()
        program = Program(folder / "archived-pod", postgres, "orders")
        postgres.start()
        program.configure(s3_place(s3.gate.port))
        postgres.stop()
        start_archiving(program)
        postgres.sql("CREATE TABLE moments (number int, what text)")
        done = base_backup(program)
        assert "succeeded" in done, done
        moments = {}
        for number in MOMENTS:
            moments[number] = a_moment(postgres, number)
            if number == LOST:
                lost = postgres.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
            if number in (LOST - 1, LOST):
                postgres.sql("SELECT pg_switch_wal()")
        wait_archived(postgres)
        yield Archived(program, s3, moments, lost)
        postgres.stop("immediate")


@pytest.fixture
def recovery(make_postgres: Make, tmp_path: Path) -> Program:
    """The program for a server to be made."""
    postgres = make_postgres(tmp_path.name)
    postgres.data.parent.mkdir()
    postgres.data.parent.chmod(0o777)
    return Program(tmp_path / "new", postgres, "restored")


def rows_of(recovery: Program) -> set[tuple[int, str]]:
    """What is in the recovered server, which is started for it."""
    recovery.postgres.trust()
    recovery.postgres.start()
    try:
        assert recovery.postgres.sql("SELECT pg_is_in_recovery()") == "f"
        recovery.postgres.sql("CREATE TABLE written_since (n int)")
        found = recovery.postgres.sql("SELECT number || ' ' || what FROM moments").splitlines()
    finally:
        recovery.postgres.stop("immediate")
    return {(int(number), what) for number, what in (line.split() for line in found)}


def recover(recovery: Program, archived: Archived, **changes: object) -> Program:
    return recovery.recover(s3_place(archived.s3.gate.port), server="orders", **changes)


@pytest.mark.parametrize("number", [pytest.param(n, marks=[] if n in QUICK else [BY_HAND]) for n in MOMENTS])
def test_what_was_before_is_there_and_what_came_after_is_not(
    archived: Archived, recovery: Program, number: int
) -> None:
    recover(recovery, archived, target=archived.moments[number]).good("bootstrap", key="recovery")
    expected = {(n, what) for n in range(1, number) for what in ("before", "after")} | {(number, "before")}
    assert rows_of(recovery) == expected


def test_without_a_target_everything_is_there(archived: Archived, recovery: Program) -> None:
    recover(recovery, archived).good("bootstrap", key="recovery")
    assert rows_of(recovery) == {(n, what) for n in MOMENTS for what in ("before", "after")}


@pytest.fixture
def gap(archived: Archived, tmp_path: Path) -> Iterator[str]:
    """One segment in the middle of the log is gone; its name."""
    segment = archived.lost_segment()
    kept = segment.rename(tmp_path / segment.name)
    yield archived.lost
    kept.rename(segment)


def test_a_gap_in_the_log_is_told(archived: Archived, recovery: Program, gap: str) -> None:
    failed = recover(recovery, archived).bad("bootstrap", key="recovery")
    assert failed["reason"] == "WALMissing"
    assert gap in failed["message"]
    assert not recovery.postgres.data.exists()


def test_a_moment_after_the_gap_is_not_reached(archived: Archived, recovery: Program, gap: str) -> None:
    failed = recover(recovery, archived, target=archived.moments[10]).bad("bootstrap", key="recovery")
    assert failed["reason"] == "WALMissing"
    assert gap in failed["message"]


def test_a_moment_before_the_gap_is(archived: Archived, recovery: Program, gap: str) -> None:
    assert gap
    recover(recovery, archived, target=archived.moments[1]).good("bootstrap", key="recovery")
    assert rows_of(recovery) == {(1, "before")}


@pytest.mark.parametrize(
    "target",
    [
        {"name": "never made"},
        pytest.param({"time": "2099-01-01T00:00:00Z"}, marks=BY_HAND),
        pytest.param({"lsn": "FF/0"}, marks=BY_HAND),
    ],
    ids=str,
)
def test_a_target_that_was_never_reached(archived: Archived, recovery: Program, target: Document) -> None:
    failed = recover(recovery, archived, target=target).bad("bootstrap", key="recovery")
    assert failed["reason"] == "TargetNotReached"
    assert "spec.bootstrap.recovery.target" in failed["message"]
    assert not recovery.postgres.data.exists()


def test_a_time_before_the_first_base_backup(archived: Archived, recovery: Program) -> None:
    failed = recover(recovery, archived, target={"time": "2020-01-01T00:00:00Z"}).bad(
        "bootstrap", key="recovery"
    )
    assert failed["reason"] == "NoBackup"
    assert "spec.bootstrap.recovery.target.time" in failed["message"]


def test_the_server_hesitates_while_the_log_is_fetched(archived: Archived, recovery: Program) -> None:
    """What passes by itself must not be taken for the end of the log."""
    recover(recovery, archived)
    archived.s3.gate.order("cut 4000")
    process = recovery.start("bootstrap")
    try:
        archived.s3.gate.wait()
        time.sleep(1)
    finally:
        archived.s3.gate.order("open")
    code = process.wait(120)
    # What could not be copied is told; a log that could not be fetched was waited for. Never is a part there.
    if code == 0:
        assert rows_of(recovery) == {(n, what) for n in MOMENTS for what in ("before", "after")}
    else:
        assert recovery.state("recovery")["reason"] in (
            "EndpointUnreachable",
            "UploadFailed",
            "BackupDamaged",
        )
        assert not recovery.postgres.data.exists()


def test_a_database_does_not_archive_where_another_has(archived: Archived, recovery: Program) -> None:
    recover(recovery, archived)
    found = json.loads((archived.program.folder / "etc/backup/backup.json").read_text())
    recovery.write("etc/backup/backup.json", json.dumps({**found, "name": "restored"}))
    recovery.credentials("test-access", "test-secret-of-the-s3-server")
    failed = recovery.bad("bootstrap", key="recovery")
    assert failed["reason"] == "ArchiveNotEmpty"
    assert "spec.backup.s3.path" in failed["message"]
