"""Feeds a dump from the store to pg_restore, and checks on the way that it is what was dumped."""

from __future__ import annotations

import hashlib
import subprocess
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, BinaryIO

from paradedb_backup.problems import Problem
from paradedb_backup.scratch import Server
from paradedb_backup.store import Store

_BLOCK = 1024 * 1024


class _Feeder(threading.Thread):
    """Writes the object ``name`` to a program. A thread of its own: the main one is where signals arrive."""

    def __init__(
        self, store: Store, name: str, process: subprocess.Popen[bytes], told: Callable[[int], None]
    ) -> None:
        super().__init__(daemon=True)
        assert process.stdin is not None
        self._input = process.stdin
        self._store, self._name, self._process, self._told = store, name, process, told
        self.digest = hashlib.sha256()
        self.problem: Exception | None = None

    def run(self) -> None:
        try:
            with self._store.open(self._name) as source:
                self._copy(source)
        except Exception as error:
            self.problem = error
            # What has come so far must not look like all of it.
            self._process.kill()
        finally:
            with suppress(BrokenPipeError):
                self._input.close()

    def _copy(self, source: BinaryIO) -> None:
        """All is read even when the program has ended: whether it is what was dumped decides the reason."""
        size, taken = 0, True
        while data := source.read(_BLOCK):
            self.digest.update(data)
            size += len(data)
            try:
                taken = taken and self._input.write(data) == len(data)
            except BrokenPipeError:
                taken = False
            self._told(size)


def restore(
    server: Server,
    store: Store,
    name: str,
    command: list[str],
    part: Mapping[str, Any],
    told: Callable[[int], None],
) -> None:
    """Runs pg_restore on a stream. Raises Problem BackupDamaged when it is not what was dumped, else
    RestoreFailed when pg_restore failed, or what the store raises."""
    words: dict[str, Any] = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=server.environment(), **words) as process:
        feeder = _Feeder(store, name, process, told)
        feeder.start()
        try:
            assert process.stderr is not None
            said = process.stderr.read()
            code = process.wait()
            feeder.join()
        except BaseException:
            process.kill()
            raise
    if feeder.problem is not None:
        raise feeder.problem
    if feeder.digest.hexdigest() != part["sha256"]:
        raise damaged(name)
    if code:
        raise failed(part["name"], said)


def damaged(name: str) -> Problem:
    """For a file whose checksum is not the manifest's."""
    return Problem(
        "BackupDamaged", f"{name} is not what was dumped: its checksum differs; restore another backup"
    )


def failed(database: str, said: bytes) -> Problem:
    """For what pg_restore wrote before it failed."""
    return Problem("RestoreFailed", f"the database {database!r} could not be restored: {_first(said)}")


def _first(said: bytes) -> str:
    """The first complaint, shortened: what follows may hold rows."""
    lines = [line for line in said.decode(errors="replace").splitlines() if "error:" in line]
    return lines[0].removeprefix("pg_restore: error: ")[:300] if lines else "no reason given"
