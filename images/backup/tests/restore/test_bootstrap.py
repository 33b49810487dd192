"""A new database made from a backup: whole in its place, or not there."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2.extensions
import pytest
from paradedb_backup import bootstrap, config, dump, postgres, refusals, restore, scratch, verify
from paradedb_backup.config import VolumePlace
from paradedb_backup.problems import Problem
from paradedb_backup.store_volume import VolumeStore
from restored import CONTENT, HOSTILE, ROLES, image, quoted, roles, script

Start = Callable[..., scratch.Server]
Settings = Callable[..., config.Config]
BACKUP = "20261124T013000Z-0001"


@pytest.fixture(scope="module")
def source(serve: Start) -> scratch.Server:
    server = serve("source")
    script(server, ROLES + f"CREATE DATABASE {quoted(HOSTILE)};")
    script(server, CONTENT, HOSTILE)
    return server


@pytest.fixture
def data(folder: Path) -> Path:
    """PGDATA, with a volume of its own for the log beside it."""
    (folder / "wal").mkdir()
    (folder / "data").mkdir()
    (folder / "dev").mkdir()
    return folder / "data" / "pgdata"


@pytest.fixture
def recovery(source: scratch.Server, settings: Settings, data: Path) -> config.Config:
    dump.run(settings(source), BACKUP)
    return config.for_recovery()


@pytest.fixture
def state(folder: Path) -> Callable[[str], dict[str, Any]]:
    return lambda key: json.loads((folder / f"var/state/{key}.json").read_text())


def test_from_a_dump(
    source: scratch.Server, recovery: config.Config, data: Path, state: Callable[[str], dict[str, Any]]
) -> None:
    left = data.with_name("pgdata.recovering")
    left.mkdir()
    (left / "of an earlier try").touch()
    bootstrap.run(recovery, data)
    told = state("recovery")
    assert (told["state"], told["backup"], told["percent"]) == ("succeeded", BACKUP, 100)
    assert told["checks"]["rows"] == {"tables": 2, "wrong": []}
    assert not left.exists()
    assert (data / "pg_wal").readlink() == data.parent.parent / "wal/pg_wal"
    with scratch.running(data, "postgres", {}) as server:
        assert image(server, HOSTILE) == image(source, HOSTILE)
        found = roles(server)
        assert {name: found[name][0]["rolpassword"] for name in ("postgres", "paradedb_replication")} == {
            "postgres": None,
            "paradedb_replication": None,
        }
        assert found["paradedb_rewind"][0]["rolcanlogin"]


def test_it_is_done_once(
    recovery: config.Config, data: Path, state: Callable[[str], dict[str, Any]], folder: Path
) -> None:
    bootstrap.run(recovery, data)
    told = state("recovery")
    bootstrap.run(recovery, data)
    assert state("recovery") == told
    # The pod was killed before it could tell of the end.
    (folder / "var/state/recovery.json").write_text(json.dumps({**told, "state": "running"}))
    bootstrap.run(recovery, data)
    assert state("recovery")["state"] == "succeeded"


def test_an_earlier_database_stays(recovery: config.Config, data: Path) -> None:
    postgres.initialise(data, "postgres")
    with pytest.raises(Problem, match="was not made by it"):
        bootstrap.run(recovery, data)
    assert (data / "PG_VERSION").exists()


def test_a_backup_that_is_not_there(
    recovery: config.Config,
    data: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    state: Callable[[str], dict[str, Any]],
) -> None:
    monkeypatch.setenv("PGDATA", str(data))
    file = folder / "etc/recovery/recovery.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "backup": "20200101T000000Z-0000"}))
    with pytest.raises(Problem):
        bootstrap.main([])
    assert (
        (folder / "dev/termination-log").read_text().startswith("NoBackup|spec.bootstrap.recovery.backup: ")
    )
    assert state("recovery")["reason"] == "NoBackup"
    assert not data.exists()


def test_another_superuser(source: scratch.Server, settings: Settings, data: Path) -> None:
    dump.run(settings(source), BACKUP)
    settings(source, database={"host": str(source.folder), "port": 5432, "user": "boss"})
    with pytest.raises(Problem, match=r"spec.auth.superuserSecretRef: .*'postgres'"):
        bootstrap.run(config.for_recovery(), data)


def test_verify(
    source: scratch.Server, recovery: config.Config, folder: Path, state: Callable[[str], dict[str, Any]]
) -> None:
    verify.run(config.for_backup(), folder / "scratch/data")
    told = state("verify")
    assert (told["state"], told["last"]["id"]) == ("succeeded", BACKUP)
    assert told["checks"]["rows"] == {"tables": 2, "wrong": []}
    assert told["checks"]["amcheck"]["available"]
    assert told["checks"]["amcheck"]["relations"] > 100
    assert not (folder / "scratch/data").exists()


def test_verify_finds_what_is_missing(
    recovery: config.Config, folder: Path, state: Callable[[str], dict[str, Any]]
) -> None:
    file = folder / "backups/db/dumps" / BACKUP / "manifest.json"
    manifest = json.loads(file.read_text())
    part = next(item for item in manifest["databases"] if item["name"] == HOSTILE)
    part["rows"]["public.parted_26"] = 3
    part["rows"]["public.gone"] = 1
    file.write_text(json.dumps(manifest))
    with pytest.raises(Problem) as caught:
        verify.run(config.for_backup(), folder / "scratch/data")
    assert caught.value.reason == "ChecksFailed"
    assert "public.parted_26" in state("verify")["message"]
    assert not (folder / "scratch/data").exists()


def test_the_own_archive_is_not_empty(
    recovery: config.Config, data: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder / "etc/backup/backup.json"
    bucket = {"endpoint": "http://127.0.0.1:1", "bucket": "b", "path": "/p/"}
    found = {**json.loads(file.read_text()), "store": {"s3": bucket}, "recoveryWindowDays": 7}
    file.write_text(json.dumps(found))
    own = VolumeStore(VolumePlace(root=folder / "own", field="spec.backup"), "db")
    monkeypatch.setattr(refusals, "open_store", lambda _settings: own)
    own.put("wals/0000000100000000/000000010000000000000001", b"log")
    with pytest.raises(Problem, match=r"spec.backup.s3.path: s3://b/p/db, ") as caught:
        bootstrap.run(recovery, data)
    assert caught.value.reason == "ArchiveNotEmpty"
    assert not data.with_name("pgdata.recovering").exists()


def test_a_pod_that_is_told_to_end(
    recovery: config.Config,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    state: Callable[[str], dict[str, Any]],
) -> None:
    monkeypatch.setenv("PGDATA", str(data))
    monkeypatch.setattr(restore, "restore_globals", lambda *_given: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Problem), _signals():
        bootstrap.main([])
    assert state("recovery")["reason"] == "Interrupted"
    assert not data.exists()


@contextmanager
def _signals() -> Iterator[None]:
    """What the block changes is as it was afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        psycopg2.extensions.set_wait_callback(None)
        for number, handler in before.items():
            signal.signal(number, handler)
