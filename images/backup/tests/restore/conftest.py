"""PostgreSQL of this machine for the tests of restoring, which runs as no root."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

sys.path[:0] = [str(Path(__file__).parents[2] / "src"), str(Path(__file__).parent)]

from paradedb_backup import config, postgres, scratch  # noqa: E402
from restored import become, programs  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def _unprivileged() -> Iterator[None]:
    found = programs()
    if found is None:
        pytest.skip("no PostgreSQL server is installed on this machine (Debian: postgresql)")
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{found}:{before}"
    root = os.geteuid() == 0
    if root:
        become("nobody")
    yield
    if root:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
    os.environ["PATH"] = before


@pytest.fixture(scope="module")
def shared(_unprivileged: None) -> Iterator[Path]:
    """A folder that PostgreSQL's user can reach; pytest's own are for one user only."""
    path = Path(tempfile.mkdtemp(prefix="restore-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def folder(shared: Path) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(dir=shared))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def serve(shared: Path) -> Iterator[Callable[..., scratch.Server]]:
    """Starts servers that end with the tests of the module."""
    with ExitStack() as stack:

        def start(name: str, **settings: str) -> scratch.Server:
            data = shared / name
            if not data.exists():
                postgres.initialise(data, "postgres")
            return stack.enter_context(scratch.running(data, "postgres", settings))

        yield start


@pytest.fixture
def settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., config.Config]:
    """Writes backup.json for a server and a volume below a folder, and reads it."""

    def write(server: scratch.Server, **changes: Any) -> config.Config:
        monkeypatch.setenv("PARADEDB_BACKUP_ROOT", str(folder))
        etc = folder / "etc"
        for name in ("backup", "backup-database", "recovery"):
            (etc / name).mkdir(parents=True, exist_ok=True)
        found = {
            "namespace": "tests",
            "name": "db",
            "server": "db",
            "store": {"volume": str(folder / "backups")},
            "retention": {"keepLast": 3, "keepDaily": 0, "keepWeekly": 0},
            "jobs": 2,
            "state": "state",
            "database": {"host": str(server.folder), "port": 5432, "user": "postgres", "tls": False},
            "preload": "",
            "version": "15",
            **changes,
        }
        (etc / "backup-database/password").write_text("none")
        (etc / "backup/backup.json").write_text(json.dumps(found))
        (etc / "recovery/recovery.json").write_text(
            json.dumps({"method": "dump", "backup": None, "target": {}, **found})
        )
        return config.for_backup()

    return write
