"""Base backups of a real PostgreSQL in a real S3 server, and what interrupts them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from archiver import Archiver
from paradedb_backup import barman_cloud, config
from paradedb_backup.base_uploader import next_id
from servers import Postgres, free_port


@pytest.fixture(scope="module", autouse=True)
def _bulk(archiver: Archiver) -> None:
    """20 MB more than the first part of an upload."""
    archiver.postgres.sql(
        "CREATE TABLE bulk AS SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 60000) i"
    )


def information(archiver: Archiver, run: str) -> dict[str, str]:
    """What barman noted of a base backup."""
    file = archiver.s3.buckets / "backups/orders/base" / run / "backup.info"
    return dict(line.split("=", 1) for line in file.read_text().splitlines())


def statuses(archiver: Archiver) -> dict[str, str]:
    """Each base backup's state."""
    files = archiver.s3.buckets.glob("backups/orders/base/*/backup.info")
    return {file.parent.name: information(archiver, file.parent.name)["status"] for file in files}


def made(archiver: Archiver) -> str:
    """The id of a base backup that has to be made."""
    (*_, last) = archiver.based()
    assert last.get("message") == "", last
    assert statuses(archiver)[last["succeeded"]] == "DONE"
    assert last["bytes"] > 2**20
    return str(last["succeeded"])


@pytest.fixture
def held(archiver: Archiver) -> Iterator[subprocess.Popen[str]]:
    """A base backup in the midst of its upload: the store takes nothing more."""
    archiver.archived()
    archiver.s3.gate.order("hold 12000000")
    with archiver.base() as process:
        archiver.s3.gate.wait()
        yield process
        archiver.s3.gate.order("open")


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What the program said last."""
    assert process.stdout
    (*_, last) = (json.loads(line) for line in process.stdout)
    return dict(last)


def test_a_base_backup_and_the_log_make_the_database_again(
    archiver: Archiver, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(archiver)
    archiver.postgres.sql("CREATE TABLE later AS SELECT 4711 AS number")
    archiver.segment()
    archiver.archived()
    target = Postgres(folder / "restored/data", free_port(), archiver.postgres.programs)
    target.data.mkdir(parents=True, mode=0o700)
    target.data.parent.chmod(0o777)
    monkeypatch.setenv("PARADEDB_BACKUP_ROOT", str(archiver.program.folder))
    barman_cloud.restore(config.for_backup(), run, target.data)
    owner = archiver.postgres.data.stat()
    for path in [target.data, *target.data.rglob("*")]:
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
    archive = archiver.postgres.sql("SHOW archive_command")
    fetch = archive.replace("archive %p", "fetch --from backup %f %p")
    target.settings(
        restore_command=fetch, archive_mode="off", unix_socket_directories=str(target.data.parent)
    )
    (target.data / "recovery.signal").touch()
    try:
        target.start()
        assert target.sql("SELECT number FROM later") == "4711"
        assert target.sql("SELECT count(*) FROM bulk") == "60000"
    finally:
        target.stop("immediate")


def test_it_ends_when_nobody_listens(archiver: Archiver, held: subprocess.Popen[str]) -> None:
    assert held.stdin
    begun = time.monotonic()
    held.stdin.close()
    held.wait(60)
    assert time.monotonic() - begun < 60
    assert held.returncode != 0
    archiver.s3.gate.order("open")
    before = statuses(archiver)
    assert "DONE" not in [before[max(before)]]
    assert made(archiver) > max(before)


def test_a_restart_of_the_database_ends_it(archiver: Archiver, held: subprocess.Popen[str]) -> None:
    archiver.postgres.stop("immediate")
    archiver.postgres.start()
    archiver.s3.gate.order("open")
    last = told(held)
    assert last["failed"] in ("BaseBackupFailed", "DatabaseUnreachable"), last
    assert held.wait(30) == 1
    before = statuses(archiver)
    assert before[max(before)] == "FAILED"
    made(archiver)


def test_a_store_that_goes_away_is_told_by_its_name(archiver: Archiver) -> None:
    archiver.archived()
    archiver.s3.gate.order("cut 12000000")
    try:
        with archiver.base() as process:
            last = told(process)
    finally:
        archiver.s3.gate.order("open")
    assert last["failed"] == "EndpointUnreachable", last
    assert "DONE" not in statuses(archiver)[max(statuses(archiver))]
    # PostgreSQL's archiver, which rests for a minute after three failures, is woken by a segment.
    archiver.segment()
    made(archiver)


def test_one_at_a_time(archiver: Archiver, held: subprocess.Popen[str]) -> None:
    (*_, last) = archiver.based()
    assert (last["failed"], last["message"]) == (
        "BaseBackupFailed",
        "another base backup of this database is running",
    )
    archiver.s3.gate.order("open")
    assert "succeeded" in told(held)


def test_what_the_recovery_window_needs_is_kept(archiver: Archiver) -> None:
    first, second = made(archiver), made(archiver)
    for file in archiver.s3.buckets.glob("backups/orders/base/*/backup.info"):
        days = 10 if file.parent.name == second else 30
        age(file, timedelta(days=days))
    third = made(archiver)
    assert set(statuses(archiver)) - {second, third} == {
        run for run, status in statuses(archiver).items() if status != "DONE"
    }
    assert first not in statuses(archiver)
    begin = information(archiver, second)["begin_wal"]
    stored = [name.rpartition("/")[2] for name in archiver.archived() if not name.endswith(".history.gz")]
    assert min(stored)[:24] == begin


def age(file: Path, by: timedelta) -> None:
    """Make a base backup look older."""
    lines = file.read_text().splitlines()
    for number, line in enumerate(lines):
        key, _, value = line.partition("=")
        if key in ("begin_time", "end_time") and value != "None":
            lines[number] = f"{key}={(datetime.fromisoformat(value) - by).isoformat(sep=' ')}"
    file.write_text("\n".join(lines) + "\n")


def test_ids_follow_each_other_whatever_the_clock_says() -> None:
    now = datetime(2026, 11, 24, 1, 30, tzinfo=UTC)
    assert next_id([], now) == "20261124T013000"
    assert next_id(["base/20261124T013000/backup.info"], now) == "20261124T013001"
    assert next_id(["base/20270101T000000/data.tar", "base/other/x"], now) == "20270101T000001"
    assert next_id(["base/20250101T000000/data.tar"], now) == "20261124T013000"
