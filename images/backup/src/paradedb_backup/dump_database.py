"""Dumps one database, and the globals, into a draft of a backup."""

from __future__ import annotations

import io
import re
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg2

from paradedb_backup import contents, rows
from paradedb_backup.config import Config
from paradedb_backup.contents import Table
from paradedb_backup.database import connected, conninfo, environment
from paradedb_backup.parts import MIB
from paradedb_backup.problems import Problem
from paradedb_backup.problems_database import database_problem
from paradedb_backup.program import Program
from paradedb_backup.store import Store
from paradedb_backup.work import Work

Part = dict[str, Any]


def compression() -> str:
    """The option of the pg_dump on PATH: zstd, which came with 16, costs a fifth of gzip's time for the same
    size."""
    said = subprocess.run(["pg_dump", "--version"], check=True, capture_output=True, text=True).stdout
    version = re.search(r"\) (\d+)", said)
    return "--compress=zstd:1" if version and int(version[1]) >= 16 else "--compress=1"


def dump_globals(config: Config, store: Store, work: Work, folder: str, before: list[str]) -> Part:
    """Roles with their passwords' verifiers, memberships and settings; tablespaces are the old machine's
    folders.

    Called when the databases are dumped, for the roles that were made meanwhile. Those of the roles `before`
    that are gone meanwhile may own something in a dump: they are made again, by name only.
    """
    words = ["pg_dumpall", "--globals-only", "--no-tablespaces", "--no-sync", "--database=postgres"]
    words.append(f"--dbname={conninfo(config.database, 'postgres')}")
    with work.phase("dumping the roles"), _running(config, work, words) as program:
        script = b"".join(iter(lambda: program.read(MIB), b""))
    with connected(config.database, "postgres") as connection:
        roles = contents.roles(connection)
    for name in sorted(set(before) - set(roles)):
        quoted = '"' + name.replace('"', '""') + '"'
        script += f"CREATE ROLE {quoted} NOLOGIN;\n".encode()
    file = "globals.sql"
    written = store.upload(f"{folder}/{file}", io.BytesIO(script), len(script), work.counted)
    return {
        "file": file,
        "bytes": written.bytes,
        "sha256": written.sha256,
        "roles": sorted({*before, *roles}),
    }


def dump_if_there(
    config: Config, store: Store, work: Work, name: str, found: contents.Database, file: str, compress: str
) -> Part | None:
    """Dumps a database; None when that failed because it was dropped meanwhile."""
    try:
        return dump_database(config, store, work, name, file, found.bytes, compress)
    except Problem as problem:
        if problem.reason == "Interrupted":
            raise
        try:
            with connected(config.database, "postgres") as connection:
                there = contents.exists(connection, found.oid)
        except Problem:
            there = True
        if there:
            raise
        print(f"left out: the database {name!r} was dropped while the backup was made", flush=True)
        return None


def dump_database(
    config: Config, store: Store, work: Work, name: str, file: str, expected: int, compress: str
) -> Part:
    """Dumps the database `name` into `file`, about `expected` bytes, and counts the rows in the very snapshot
    of the dump."""
    database = config.database
    with (
        connected(database, name) as keeper,
        connected(database, name) as counter,
        ThreadPoolExecutor(1) as pool,
    ):
        extensions = contents.extensions(keeper)
        snapshot, tables = contents.exported(keeper)
        words = ["pg_dump", "--format=custom", "--no-tablespaces", compress, f"--snapshot={snapshot}"]
        words.append(f"--dbname={conninfo(database, name)}")
        with work.phase(f"dumping {name}"), _running(config, work, words) as program:
            ended = threading.Event()

            def count() -> tuple[dict[str, int], list[Table]]:
                # Its output begins when pg_dump has all its locks.
                program.began.wait()
                return rows.count(counter, snapshot, tables, lambda: not ended.is_set())

            counting = pool.submit(count)
            counting.add_done_callback(lambda done: program.stop() if done.exception() else None)
            try:
                with work.stopping(ended.set):
                    written = store.upload(file, program, expected, work.counted)
                    counted, left = counting.result()
                    # Somebody waited for pg_dump to let go of these.
                    more, left = rows.count(counter, snapshot, left, lambda: not ended.is_set())
            except BaseException:
                ended.set()
                if counting.done():
                    # What ended the counting is the cause of the dump's end, too.
                    counting.result()
                _cancel(counter)
                raise
    return {
        "name": name,
        "file": file.rsplit("/", 1)[-1],
        "bytes": written.bytes,
        "sha256": written.sha256,
        "rows": counted | more,
        "uncounted": [table.name for table in left],
        "extensions": extensions,
    }


def _cancel(connection: Any) -> None:
    """Ends what the connection does, if it does something."""
    with suppress(psycopg2.Error):
        connection.cancel()


@contextmanager
def _running(config: Config, work: Work, words: list[str]) -> Iterator[Program]:
    def problem(said: str) -> Problem:
        return database_problem(said, config.database)

    with (
        closing(Program(words, environment(config.database), problem)) as program,
        work.stopping(program.stop),
    ):
        yield program
