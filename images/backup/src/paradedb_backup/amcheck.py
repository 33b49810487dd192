"""PostgreSQL's own checks of heaps and B-tree indexes: https://www.postgresql.org/docs/17/amcheck.html"""

from __future__ import annotations

from typing import Any

import psycopg2
from psycopg2 import sql

_SCHEMA = "paradedb_verify"
_EXTENSION = """
SELECT n.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'amcheck'
"""
# Temporary tables are other sessions', and of indexes only those are kept up that are valid.
_RELATIONS = """
SELECT c.oid, c.relkind = 'i', quote_ident(n.nspname) || '.' || quote_ident(c.relname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_am a ON a.oid = c.relam
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
WHERE c.relpersistence <> 't'
  AND (c.relkind IN ('r', 'm', 't') AND a.amname = 'heap'
       OR c.relkind = 'i' AND a.amname = 'btree' AND i.indisvalid AND i.indisready)
ORDER BY c.oid
"""

# An expression of an index that means something else by a name, or nothing: that is its owner's fault, no
# damage.
_NOT_EVALUATED = (psycopg2.errors.UndefinedFunction, psycopg2.errors.UndefinedTable)


def damages(cursor: Any, thorough: bool) -> tuple[int, list[str]] | None:
    """Looks at all of a database that is thrown away, for it gets the extension: the number of relations, and
    what is wrong with which. None when the image does not have the extension.

    ``thorough``: whether an index has every row too.
    """
    schema = _schema(cursor)
    if schema is None:
        return None
    cursor.execute(_RELATIONS)
    relations = cursor.fetchall()
    found = [(name, _damage(cursor, schema, oid, index, thorough)) for oid, index, name in relations]
    return len(relations), [f"{name}: {problem}" for name, problem in found if problem]


def words(error: psycopg2.Error) -> str:
    """The error's message without what follows it, which may hold values."""
    return str(error.diag.message_primary or error)[:200]


def _schema(cursor: Any) -> str | None:
    """Where the extension is, which is made when need be; None when the image has none."""
    cursor.execute(_EXTENSION)
    found = cursor.fetchone()
    if found:
        return str(found[0])
    cursor.execute("SELECT FROM pg_catalog.pg_available_extensions WHERE name = 'amcheck'")
    if not cursor.rowcount:
        return None
    cursor.execute(f"CREATE SCHEMA {_SCHEMA}")
    cursor.execute(f"CREATE EXTENSION amcheck SCHEMA {_SCHEMA}")
    return _SCHEMA


def _damage(cursor: Any, schema: str, oid: int, index: bool, thorough: bool) -> str:
    """What is wrong with an index or a heap, in a few words."""
    where = sql.Identifier(schema)
    if index:
        query = sql.SQL("SELECT {}.bt_index_check(%s::oid::regclass, %s)").format(where)
        values: tuple[Any, ...] = (oid, thorough)
    else:
        query = sql.SQL("SELECT msg FROM {}.verify_heapam(%s::oid::regclass, true) LIMIT 1").format(where)
        values = (oid,)
    try:
        cursor.execute(query, values)
    except _NOT_EVALUATED:
        return _damage(cursor, schema, oid, index, False) if thorough and index else ""
    except psycopg2.Error as error:
        return words(error)
    found = cursor.fetchone()
    return "" if index or found is None else str(found[0])[:200]
