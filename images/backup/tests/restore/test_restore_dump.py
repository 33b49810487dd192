"""A dump restored into a fresh database is the database that was dumped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from paradedb_backup import catalog, checks, config, dump, postgres, restore, scratch
from paradedb_backup.problems import Problem
from paradedb_backup.store import open_store
from restored import CONTENT, HOSTILE, ROLES, execute, image, roles, script

Start = Callable[..., scratch.Server]
Settings = Callable[..., config.Config]
BACKUP = "20261124T013000Z-0001"


@pytest.fixture(scope="module")
def source(serve: Start) -> scratch.Server:
    server = serve("source")
    script(server, ROLES)
    with server.session() as connection, connection.cursor() as cursor:
        cursor.execute('CREATE DATABASE "{}" OWNER reader'.format(HOSTILE.replace('"', '""')))
        cursor.execute(
            'ALTER DATABASE "{}" SET default_transaction_read_only = on'.format(HOSTILE.replace('"', '""'))
        )
    script(server, "SET default_transaction_read_only = off;" + CONTENT, HOSTILE)
    script(
        server,
        "CREATE TABLE kept (i int); INSERT INTO kept VALUES (1), (2); COMMENT ON DATABASE postgres IS 'a';",
    )
    script(
        server,
        "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC; ALTER DATABASE postgres SET work_mem = '5MB'",
    )
    script(server, "CREATE EXTENSION citext", "template1")
    return server


@pytest.fixture
def dumped(source: scratch.Server, settings: Settings) -> config.Config:
    made = settings(source)
    dump.run(made, BACKUP)
    return made


def restored_into(target: scratch.Server, made: config.Config) -> catalog.Backup:
    store = open_store(made)
    backup = catalog.find(store, None)
    restore.restore_dump(target, made, store, backup, lambda _phase, _size: None)
    return backup


def test_everything_is_there_again(source: scratch.Server, dumped: config.Config, folder: Path) -> None:
    postgres.initialise(folder / "data", "postgres")
    with scratch.running(folder / "data", "postgres", {}) as target:
        execute(target, "ALTER ROLE postgres PASSWORD 'new superuser'")
        execute(target, "CREATE ROLE paradedb_rewind LOGIN PASSWORD 'new rewind' CONNECTION LIMIT 3")
        before = roles(target)
        backup = restored_into(target, dumped)
        for database in (HOSTILE, "postgres", "template1"):
            assert image(target, database) == image(source, database)
        assert checks.rows(target, backup) == {"tables": 3, "wrong": []}
        there, here = roles(source), roles(target)
        own = ("postgres", "paradedb_rewind", "paradedb_replication")
        assert {name: role for name, role in here.items() if name not in own} == {
            name: role for name, role in there.items() if name not in own
        }
        assert {name: here[name][0] for name in own[:2]} == {name: before[name][0] for name in own[:2]}
        assert here["paradedb_replication"][0]["rolpassword"] is None


def test_a_file_that_was_changed(dumped: config.Config, folder: Path) -> None:
    file = next((folder / "backups/db/dumps" / BACKUP).glob("*.dump"))
    content = bytearray(file.read_bytes())
    content[-10] ^= 1
    file.write_bytes(content)
    postgres.initialise(folder / "data", "postgres")
    with scratch.running(folder / "data", "postgres", {}) as target:
        with pytest.raises(Problem) as caught:
            restored_into(target, dumped)
        assert caught.value.reason == "BackupDamaged"
