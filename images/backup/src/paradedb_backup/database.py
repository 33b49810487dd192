"""Connections to the database that is dumped, for this program and for PostgreSQL's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2

from paradedb_backup.config import Database
from paradedb_backup.problems import Problem
from paradedb_backup.problems_database import database_problem

# Nothing a backup does may write, and no limit that a role or the server has for others may end it. No name
# is looked up but in pg_catalog and no role is taken: the owner of a database can set both for whoever
# connects to it, and would have functions of their own run as the superuser. A client's options go before
# those of a database. Messages in English are what problems_database reads.
_OPTIONS = (
    "-c default_transaction_read_only=on -c statement_timeout=0 -c lock_timeout=0"
    " -c idle_in_transaction_session_timeout=0 -c lc_messages=C -c search_path= -c role=none"
)
# Sessions have these limits in newer versions only, so that they cannot be options of the connection.
_UNLIMITED = """
SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings
WHERE name IN ('transaction_timeout', 'idle_session_timeout')
"""
_CONNECT_SECONDS = 15
# A connection that broke without a word is noticed after about a minute.
_KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}


def conninfo(database: Database, name: str) -> str:
    """Connects to the database `name`, whatever characters it has; the password is not in it."""
    values: dict[str, str | int] = {
        "host": database.host,
        "port": database.port,
        "user": database.user,
        "dbname": name,
        "application_name": "paradedb-backup",
        "connect_timeout": _CONNECT_SECONDS,
        **_KEEPALIVE,
    }
    if database.tls and database.authority.exists():
        values |= {
            "sslmode": "verify-full" if database.named else "verify-ca",
            "sslrootcert": str(database.authority),
        }
    elif database.tls:
        values |= {"sslmode": "require"}
    return " ".join(f"{key}={_quoted(str(value))}" for key, value in values.items())


def environment(database: Database) -> dict[str, str]:
    """For a program of PostgreSQL: the password, which nobody else's process can read there, and the
    options."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_", "LANG"))}
    return {**inherited, "LC_ALL": "C", "PGOPTIONS": _OPTIONS, "PGPASSWORD": password(database)}


def password(database: Database) -> str:
    """The superuser's password; Problem LoginRejected when it is not mounted."""
    try:
        return database.password.read_text().rstrip("\n")
    except OSError as error:
        raise Problem(
            "LoginRejected", f"the password of {database.user} cannot be read: {error.strerror}"
        ) from error


@contextmanager
def connected(database: Database, name: str) -> Iterator[Any]:
    """A connection with one repeatable, read-only transaction; errors of the block that are psycopg2's become
    Problems."""
    try:
        connection = psycopg2.connect(conninfo(database, name), password=password(database), options=_OPTIONS)
        try:
            connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
            # Names of SQL_ASCII are bytes of any kind, which Latin-1 takes as they are.
            ascii_only = connection.get_parameter_status("server_encoding") == "SQL_ASCII"
            connection.set_client_encoding("LATIN1" if ascii_only else "UTF8")
            with connection.cursor() as cursor:
                cursor.execute(_UNLIMITED)
            connection.commit()
            yield connection
        finally:
            connection.close()
    except psycopg2.Error as error:
        raise database_problem(error, database) from error


def _quoted(value: str) -> str:
    """A value of a connection string, quoted as libpq wants it."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
