"""A dump of a hostile database, restored into a new one: everything is the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from program import Document, Program, dumps, s3_place
from servers import PROGRAMS, S3, Postgres, kill_group

# What the restore makes for Patroni.
OWN_ROLES = ("paradedb_replication", "paradedb_rewind")

UNLOGGED_ROW = 'INSERT INTO "sch""ema".fleeting VALUES (4711)'
HOSTILE = "Hostile \"db\"; 'x' $y"

Make = Callable[[str], Postgres]


def fingerprint_of(postgres: Postgres) -> Document:
    environment = {
        **os.environ,
        **postgres.environment(),
        "PATH": f"{postgres.programs}:{os.environ['PATH']}",
    }
    command = [sys.executable, str(PROGRAMS / "fingerprint.py"), *OWN_ROLES]
    found: Document = json.loads(
        subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout
    )
    return found


@pytest.fixture
def empty(make_postgres: Make, tmp_path: Path) -> Postgres:
    """The place of a server that is not there yet."""
    postgres = make_postgres(tmp_path.name)
    postgres.data.parent.mkdir()
    postgres.data.parent.chmod(0o777)
    return postgres


@pytest.fixture
def recovery(empty: Postgres, tmp_path: Path) -> Program:
    """The program for a server to be made."""
    return Program(tmp_path / "new", empty, "restored")


@pytest.mark.parametrize("where", ["s3", "volume"])
def test_everything_is_the_same(
    program: Program, recovery: Program, s3: S3, fingerprint: Any, where: str, tmp_path: Path
) -> None:
    store = s3_place(s3.port) if where == "s3" else {"volume": str(tmp_path / "volume")}
    (tmp_path / "volume").mkdir()
    program.postgres.sql(UNLOGGED_ROW, HOSTILE)
    program.configure(store).good("dump")
    before = fingerprint_of(program.postgres)
    recovery.recover(store, server="orders", method="dump").good("bootstrap", key="recovery")
    recovery.postgres.trust()
    recovery.postgres.start()
    recovery.postgres.sql("DROP OWNED BY paradedb_rewind")  # what Patroni's role may do
    assert fingerprint.differences(before, fingerprint_of(recovery.postgres)) == []
    assert recovery.postgres.sql("SHOW transaction_read_only") == "off"
    for postgres in (program.postgres, recovery.postgres):
        assert "4711" in postgres.sql('SELECT n FROM "sch""ema".fleeting', HOSTILE).split()
    recovery.postgres.stop()


def test_killed_while_it_restores(program: Program, recovery: Program, s3: S3) -> None:
    """The next start begins anew and leaves nothing of the first."""
    program.configure(s3_place(s3.port)).good("dump")
    recovery.recover(s3_place(s3.gate.port), server="orders", method="dump")
    s3.gate.order("hold 3000")
    process = recovery.start("bootstrap")
    s3.gate.wait()
    kill_group(process)
    assert not (recovery.postgres.data / "PG_VERSION").exists()
    s3.gate.order("open")
    recovery.good("bootstrap", key="recovery")
    assert sorted(path.name for path in recovery.postgres.data.parent.iterdir()) == ["data"]


def test_a_dump_that_was_changed(program: Program, recovery: Program, s3: S3) -> None:
    program.configure(s3_place(s3.port)).good("dump")
    [run] = dumps(s3.files("orders"))
    largest = max(
        (s3.buckets / "backups/orders/dumps" / run).glob("*.dump"), key=lambda file: file.stat().st_size
    )
    with largest.open("r+b") as file:
        file.seek(largest.stat().st_size // 2)
        file.write(b"\0\0\0")
    failed = recovery.recover(s3_place(s3.port), server="orders", method="dump").bad(
        "bootstrap", key="recovery"
    )
    assert failed["reason"] == "BackupDamaged"
    assert not recovery.postgres.data.exists()


def test_there_is_no_backup(recovery: Program, s3: S3) -> None:
    failed = recovery.recover(s3_place(s3.port), server="orders", method="dump").bad(
        "bootstrap", key="recovery"
    )
    assert failed["reason"] == "NoBackup"
    assert "spec.bootstrap.recovery" in failed["message"]
