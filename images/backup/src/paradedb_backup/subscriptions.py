"""Subscriptions of logical replication in a copy of a database."""

from __future__ import annotations

from psycopg2 import sql

from paradedb_backup.checks import databases
from paradedb_backup.scratch import Server

_ENABLED = """
SELECT s.subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
WHERE d.datname = current_database() AND s.subenabled
"""


def disable(server: Server) -> list[str]:
    """Disables all of them, as they are in what is restored from a dump, and tells their names: a copy would
    take the changes from the slot of the database that it was made of."""
    found = []
    for database in databases(server):
        with server.session(database) as connection, connection.cursor() as cursor:
            cursor.execute(_ENABLED)
            for (name,) in cursor.fetchall():
                cursor.execute(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(sql.Identifier(name)))
                found.append(name)
    return found
