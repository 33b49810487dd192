"""Whether the image sorts texts as the one that the data come from did."""

from __future__ import annotations

from paradedb_backup.checks import Result, databases, together
from paradedb_backup.scratch import Server

# The database's own collation. PostgreSQL 15 and later know its version.
_DATABASE = """
SELECT datcollversion, pg_database_collation_actual_version(oid) FROM pg_database
WHERE datname = current_database() AND datcollversion <> pg_database_collation_actual_version(oid)
"""
_OTHERS = """
SELECT DISTINCT c.collversion, pg_collation_actual_version(c.oid)
FROM pg_collation c JOIN pg_attribute a ON a.attcollation = c.oid JOIN pg_index i ON i.indexrelid = a.attrelid
WHERE c.collversion <> pg_collation_actual_version(c.oid)
"""


def look(server: Server) -> Result:
    """The databases whose indexes of texts may be out of order: their collations were of another version."""
    found: Result = {"databases": 0, "wrong": []}
    for database in databases(server):
        with server.session(database) as connection, connection.cursor() as cursor:
            cursor.execute(_DATABASE)
            others = cursor.fetchall()
            cursor.execute(_OTHERS)
            others += cursor.fetchall()
        words = ", ".join(f"{before} and now {now}" for before, now in sorted(set(others)))
        wrong = f"texts in {database!r} were sorted by collations of version {words}: REINDEX DATABASE"
        found = together(found, {"databases": 1, "wrong": [wrong] if others else []})
    return found
