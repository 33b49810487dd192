"""Counts rows in the snapshot of a dump that is going on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from psycopg2 import errors

from paradedb_backup.contents import Table


def count(
    connection: Any, snapshot: str, tables: list[Table], wanted: Callable[[], bool]
) -> tuple[dict[str, int], list[Table]]:
    """The number of rows of each table in the snapshot, and the tables for which none is certain.

    TRUNCATE and what rewrites a table are not bound to snapshots. Called while or after pg_dump holds its
    locks, so that a table whose file is still the one from before the dump is for both the same. Each is
    counted in a transaction of its own, so that nobody waits for longer than one takes, and not where
    somebody waits already. Stops early, with less, when it is not `wanted`.
    """
    connection.rollback()
    connection.autocommit = True
    counted: dict[str, int] = {}
    left = [table for table in tables if wanted() and not _counted(connection, snapshot, table, counted)]
    return counted, left


def _counted(connection: Any, snapshot: str, table: Table, counted: dict[str, int]) -> bool:
    """Counts one table; whether that is its number. By one process: the database has others to serve."""
    with connection.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            cursor.execute("SET TRANSACTION SNAPSHOT %s", (snapshot,))
            cursor.execute("SET LOCAL max_parallel_workers_per_gather = 0")
            cursor.execute(f"LOCK TABLE ONLY {table.name} IN ACCESS SHARE MODE NOWAIT")
            cursor.execute(f"SELECT count(*) FROM ONLY {table.name}")  # noqa: S608 - quoted by the server itself
            (number,) = cursor.fetchone()
            cursor.execute(
                "SELECT %s::regclass::oid, pg_relation_filenode(%s::regclass)", (table.name, table.name)
            )
            if cursor.fetchone() != (table.oid, table.file):
                return False
        except (errors.LockNotAvailable, errors.UndefinedTable, errors.InvalidSchemaName):
            return False
        finally:
            cursor.execute("ROLLBACK")
    counted[table.name] = number
    return True
