"""Looks into a restored database: its rows, its extensions, its heaps and B-trees, its search indexes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import psycopg2

from paradedb_backup import amcheck, contents
from paradedb_backup.catalog import Backup
from paradedb_backup.scratch import Server

Result = dict[str, Any]
_NAMED = 10  # of what is wrong, the rest is counted

_MISSING_FILES = """
SELECT e.extname || ' ' || e.extversion FROM pg_catalog.pg_extension e
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_available_extension_versions v
                  WHERE v.name = e.extname AND v.version = e.extversion)
ORDER BY 1
"""
_VERIFIERS = """
SELECT p.proname FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'pdb' AND p.proname IN ('verify_all_indexes', 'verify_index')
"""
_SEARCH_INDEXES = """
SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname), i.indisvalid
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid JOIN pg_catalog.pg_am a ON a.oid = c.relam
WHERE c.relkind = 'i' AND a.amhandler = to_regproc('paradedb.bm25_handler')
ORDER BY c.oid
"""


def databases(server: Server) -> list[str]:
    """All that can be connected to, but for template0."""
    with server.session("postgres") as connection:
        return list(contents.server(connection).databases)


def rows(server: Server, backup: Backup) -> Result:
    """Counts the rows of every table that the manifest has. ``wrong`` names those that differ."""
    tables, wrong = 0, []
    for part in backup.manifest["databases"]:
        with server.session(part["name"]) as connection, connection.cursor() as cursor:
            for table, expected in part["rows"].items():
                tables += 1
                found = _count(cursor, table)
                if found != expected:
                    wrong.append(f"{table} in {part['name']!r}: {found} rows, not {expected}")
    return _result(wrong, tables=tables)


def extensions(server: Server, backup: Backup | None = None) -> Result:
    """Whether every extension's files are in the image, and those of the dump are there again."""
    wanted = {part["name"]: part["extensions"] for part in backup.manifest["databases"]} if backup else {}
    wrong, number = [], 0
    for database in databases(server):
        with server.session(database) as connection, connection.cursor() as cursor:
            there = contents.extensions(connection)
            number += len(there)
            cursor.execute(_MISSING_FILES)
            wrong += [
                f"{name} in {database!r}: the image does not have this version"
                for (name,) in cursor.fetchall()
            ]
            wrong += [
                f"{name} in {database!r} is missing" for name in wanted.get(database, []) if name not in there
            ]
    return _result(wrong, extensions=number)


def structure(server: Server, thorough: bool, told: Callable[[str], None]) -> Result:
    """PostgreSQL's own checks of a server that is thrown away. ``told`` gets the name of each database.

    ``thorough``: that an index has every row too, as is not needed for one that was just built.
    """
    relations, wrong = 0, []
    for database in databases(server):
        told(database)
        with server.session(database) as connection, connection.cursor() as cursor:
            found = amcheck.damages(cursor, thorough)
        if found is None:
            return {"available": False, "relations": 0, "wrong": []}
        relations += found[0]
        wrong += [f"{problem} in {database!r}" for problem in found[1]]
    return _result(wrong, available=True, relations=relations)


def search_indexes(server: Server) -> Result:
    """What pg_search says of its indexes, where it has the functions for it (0.21 and later)."""
    number, wrong, available = 0, [], True
    for database in databases(server):
        with server.session(database) as connection, connection.cursor() as cursor:
            cursor.execute(_SEARCH_INDEXES)
            indexes = cursor.fetchall()
            number += len(indexes)
            wrong += [f"{name} in {database!r} is not valid" for _oid, name, valid in indexes if not valid]
            if not indexes:
                continue
            cursor.execute(_VERIFIERS)
            functions = {name for (name,) in cursor.fetchall()}
            available = available and bool(functions)
            wrong += [f"{problem} in {database!r}" for problem in _unsound(cursor, indexes, functions)]
    return _result(wrong, available=available, indexes=number)


def _unsound(cursor: Any, indexes: list[Any], functions: set[str]) -> list[str]:
    """The checks of search indexes that did not pass. One by one, so that an error of one hides no other."""
    if "verify_index" not in functions:
        return (
            _failed(cursor, "SELECT * FROM pdb.verify_all_indexes()", (), "search index") if functions else []
        )
    return [
        problem
        for oid, name, valid in indexes
        if valid
        for problem in _failed(cursor, "SELECT * FROM pdb.verify_index(%s::oid::regclass)", (oid,), name)
    ]


def _failed(cursor: Any, query: str, values: tuple[Any, ...], name: str) -> list[str]:
    try:
        cursor.execute(query, values)
    except psycopg2.Error as error:
        return [f"{name}: {amcheck.words(error)}"]
    columns = [column.name for column in cursor.description]
    found = []
    for row in cursor.fetchall():
        result = dict(zip(columns, row, strict=True))
        if not result["passed"]:
            index = f"{result['schemaname']}.{result['indexname']}" if "indexname" in result else name
            found.append(f"{index}: {result['check_name']} {result.get('details') or 'failed'}"[:300])
    return found


def _count(cursor: Any, table: str) -> int | None:
    """The table's rows; None when there is no such table."""
    try:
        cursor.execute(f"SELECT count(*) FROM ONLY {table}")  # noqa: S608 - quoted by the server that was dumped
    except psycopg2.errors.UndefinedTable:
        return None
    return int(cursor.fetchone()[0])


def _result(wrong: list[str], **fields: Any) -> Result:
    named = wrong[:_NAMED] + ([f"and {len(wrong) - _NAMED} more"] if len(wrong) > _NAMED else [])
    return {**fields, "wrong": named}


def together(one: Result, other: Result) -> Result:
    """Two results of a check as one."""
    counted = {
        key: one[key] and other[key] if isinstance(value, bool) else one[key] + other[key]
        for key, value in one.items()
        if key != "wrong"
    }
    return _result([*one["wrong"], *other["wrong"]], **counted)


def failing(results: Mapping[str, Result]) -> list[str]:
    """The names of the checks that found something."""
    return [name for name, result in results.items() if result["wrong"]]
