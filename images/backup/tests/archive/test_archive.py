"""archive_command and restore_command with a real PostgreSQL and a real S3 server."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from archiver import Archiver
from barman import xlog
from paradedb_backup.archive_put import key
from paradedb_backup.config import S3Place
from paradedb_backup.fetch import STOP
from servers import BUCKET, eventually


def test_every_file_of_the_log_arrives(archiver: Archiver) -> None:
    names = [archiver.segment() for _ in range(3)]
    stored = archiver.archived()
    for name in names:
        assert f"wals/{name[:16]}/{name}.gz" in stored
    state = archiver.state()
    assert (state["state"], state["reason"], state["failures"]) == ("archiving", "", 0)
    assert state["place"] == f"s3://{BUCKET}/orders"
    assert state["totalBytes"] >= state["freeBytes"] > 0
    assert "owner.json" in archiver.s3.files("orders")


@pytest.mark.parametrize(
    "name",
    [
        "00000001000000A000000005",
        "00000001000000A000000005.partial",
        "00000001000000A000000005.00000028.backup",
        "00000002.history",
    ],
)
def test_names_are_those_of_barman_cloud(name: str) -> None:
    place = S3Place("http://s3", "b", "a/path", "", True, Path(), None, "spec.backup.s3")
    folder = xlog.hash_dir(name)
    assert key(place, "db", name) == "/".join(filter(None, ["a/path/db/wals", folder, name]))


def test_the_same_again_is_well_and_another_content_is_refused(archiver: Archiver) -> None:
    name = archiver.segment()
    archiver.archived()
    file = archiver.postgres.data / "pg_wal" / name
    assert archiver.archive(file).returncode == 0
    changed = archiver.postgres.data.parent / "other/pg_wal"
    (changed.parent / "global").mkdir(parents=True)
    changed.mkdir()
    (changed.parent / "global/pg_control").write_bytes(
        (archiver.postgres.data / "global/pg_control").read_bytes()
    )
    (changed / name).write_bytes(file.read_bytes()[::-1])
    done = archiver.archive(changed / name)
    assert done.returncode == 1
    assert "PlaceTaken" in done.stderr
    (stored,) = archiver.s3.buckets.glob(f"{BUCKET}/orders/wals/*/{name}.gz")
    assert gzip.decompress(stored.read_bytes()) == file.read_bytes()


def test_nothing_is_lost_while_the_store_is_away(archiver: Archiver) -> None:
    archiver.s3.gate.order("cut 0")
    try:
        names = [archiver.segment() for _ in range(2)]
        eventually("it fails", lambda: archiver.state()["reason"] == "EndpointUnreachable")
        state = archiver.state()
        assert state["state"] == "failing"
        assert "spec.backup.s3.endpoint" in state["message"]
        assert state["since"]
        assert archiver.waiting()
    finally:
        archiver.s3.gate.order("open")
    names.append(archiver.segment())
    stored = archiver.archived()
    assert {f"wals/{name[:16]}/{name}.gz" for name in names} <= set(stored)
    eventually("it is told", lambda: archiver.state()["state"] == "archiving")
    assert archiver.state()["failures"] == 0


def test_the_place_of_another_database_is_left_alone(archiver: Archiver, tmp_path: Path) -> None:
    for part in ("global", "pg_wal"):
        (tmp_path / "data" / part).mkdir(parents=True)
    (tmp_path / "data/global/pg_control").write_bytes(b"another ")
    segment = tmp_path / "data/pg_wal/0000000100000000000000F1"
    segment.write_bytes(bytes(16))
    before = archiver.s3.files("orders")
    noted = archiver.program.folder / "run/paradedb/archive.json"
    kept = noted.read_text()
    noted.unlink()
    done = archiver.archive(segment)
    noted.write_text(kept)
    assert done.returncode == 1
    assert "PlaceTaken" in done.stderr
    assert archiver.s3.files("orders") == before


def test_a_refused_key_is_told_by_its_name(archiver: Archiver) -> None:
    name = archiver.segment()
    archiver.archived()
    archiver.program.credentials("test-access", "another")
    try:
        done = archiver.archive(archiver.postgres.data / "pg_wal" / name)
        fetched = archiver.program.run(
            "fetch", "--from", "backup", name, str(archiver.program.folder / "got")
        )
    finally:
        archiver.configure()
    assert done.returncode == 1
    assert "CredentialsRejected" in done.stderr
    assert fetched.returncode == STOP


def test_what_is_fetched_is_what_was_archived(archiver: Archiver) -> None:
    name = archiver.segment()
    archiver.archived()
    target = archiver.program.folder / "tmp" / "RECOVERYXLOG"
    done = archiver.program.run("fetch", "--from", "backup", name, str(target))
    assert done.returncode == 0, done.stderr
    assert target.read_bytes() == (archiver.postgres.data / "pg_wal" / name).read_bytes()


@pytest.mark.parametrize("name", ["00000009.history", "0000000100000000000000EE"])
def test_what_the_archive_does_not_have_ends_the_log(archiver: Archiver, name: str) -> None:
    done = archiver.program.run("fetch", "--from", "backup", name, str(archiver.program.folder / "got"))
    assert done.returncode == 1
    assert name in done.stderr


def test_a_damaged_file_stops_the_recovery(archiver: Archiver) -> None:
    name = archiver.segment()
    archiver.archived()
    (stored,) = archiver.s3.buckets.glob(f"{BUCKET}/orders/wals/*/{name}.gz")
    whole = stored.read_bytes()
    stored.write_bytes(whole[: len(whole) // 2])
    done = archiver.program.run("fetch", "--from", "backup", name, str(archiver.program.folder / "got"))
    stored.write_bytes(whole)
    assert done.returncode == STOP
    assert "BackupDamaged" in done.stderr


def test_a_missing_bucket_stops_the_recovery(archiver: Archiver) -> None:
    archiver.configure(bucket="elsewhere")
    try:
        done = archiver.program.run("fetch", "--from", "backup", "00000002.history", "/dev/null")
    finally:
        archiver.configure()
    assert done.returncode == STOP
    assert "BucketMissing" in done.stderr


def test_a_promotion_archives_what_the_lost_primary_had_not(archiver: Archiver) -> None:
    """As a standby has it: files of the timelines before, which PostgreSQL never archives."""
    folder = archiver.postgres.data / "pg_wal"
    (newest,) = archiver.postgres.sql("SELECT pg_walfile_name(pg_current_wal_lsn())").splitlines()
    number = int(newest[16:], 16)
    left = [f"00000007{newest[8:16]}{number + offset:08X}" for offset in (1, 2, 3)]
    files = [folder / name for name in left]
    for file in files:
        file.write_bytes(bytes(16 * 2**20))
    ended = f"0/{(number + 3) * 16 * 2**20 + 4096:X}"
    (folder / "00000007.history").write_text("6\t0/1000\tno recovery target specified\n")
    history = folder / "00000008.history"
    history.write_text(f"6\t0/1000\tno\n7\t{ended}\tno\n")
    try:
        done = archiver.archive(history)
    finally:
        for file in [*files, history, folder / "00000007.history"]:
            file.unlink(missing_ok=True)
    assert done.returncode == 0, done.stderr
    stored = set(archiver.s3.files("orders"))
    assert {"wals/00000007.history.gz", "wals/00000008.history.gz"} <= stored
    assert [f"wals/{name[:16]}/{name}.gz" in stored for name in left] == [True, True, False]


def test_that_nothing_waits_any_more_is_told_at_once(archiver: Archiver) -> None:
    name = archiver.segment()
    archiver.archived()
    noted = archiver.program.folder / "run/paradedb/archive.json"
    noted.write_text(json.dumps(json.loads(noted.read_text()) | {"told": 3}))
    assert archiver.archive(archiver.postgres.data / "pg_wal" / name).returncode == 0
    assert archiver.state()["pending"] == 0
    assert archiver.state()["lastWal"] == name
