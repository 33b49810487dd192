"""Restores the roles of a dump. The operator's own roles stay as they are in the new database."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Mapping
from typing import Any

import psycopg2.errorcodes
from psycopg2 import sql

from paradedb_backup.problems import Problem
from paradedb_backup.scratch import Server
from paradedb_backup.store import Store

# The operator's: see module_utils/credentials.py of the collection. Its superuser is the server's.
REPLICATION, REWIND = "paradedb_replication", "paradedb_rewind"
OWN = (REPLICATION, REWIND, "paradedb_pooler", "paradedb_exporter", "paradedb_users")
# What Patroni lets its role for pg_rewind do: patroni/postgresql/bootstrap.py, post_bootstrap.
_REWIND_FUNCTIONS = (
    "pg_ls_dir(text, boolean, boolean)",
    "pg_stat_file(text, boolean)",
    "pg_read_binary_file(text)",
    "pg_read_binary_file(text, bigint, bigint, boolean)",
)
# How psql tells of an error when only the SQLSTATE is asked for: a line cannot be forged by a role's name in
# it.
_ERROR = re.compile(r"^psql:<stdin>:(\d+): (?:ERROR|FATAL|PANIC):  ([0-9A-Z]{5})$", re.MULTILINE)

_ATTRIBUTES = (
    *(
        "rolsuper",
        "rolinherit",
        "rolcreaterole",
        "rolcreatedb",
        "rolcanlogin",
        "rolreplication",
        "rolbypassrls",
    ),
    *("rolconnlimit", "rolpassword", "rolvaliduntil"),
)
_SAVED = f"SELECT rolname, {', '.join(_ATTRIBUTES)} FROM pg_catalog.pg_authid WHERE rolname = ANY (%s)"  # noqa: S608
# Not ALTER ROLE, which cannot make a role valid without end again.
_PUT_BACK = f"UPDATE pg_catalog.pg_authid SET ({', '.join(_ATTRIBUTES)}) = %s WHERE rolname = %s"  # noqa: S608


def restore_globals(server: Server, store: Store, folder: str, part: Mapping[str, Any]) -> None:
    """Runs the globals of a dump. Only roles that are there already may be in the way.

    Raises Problem BackupDamaged when the file is not what the manifest says, RestoreFailed for any other
    error.
    """
    content = store.get(f"{folder}/{part['file']}")
    if content is None or hashlib.sha256(content).hexdigest() != part["sha256"]:
        raise Problem(
            "BackupDamaged", f"{folder}/{part['file']} is not what was dumped; restore another backup"
        )
    with server.session() as connection, connection.cursor() as cursor:
        cursor.execute(_SAVED, ([server.user, *OWN],))
        before = cursor.fetchall()
        _run(server, content)
        for name, *values in before:
            cursor.execute(_PUT_BACK, (tuple(values), name))
        _strip(cursor, [name for name in OWN if name not in {row[0] for row in before}])


def own_roles(server: Server) -> None:
    """Sees to it that the roles Patroni needs are there, and that no password of the old database opens the
    new one.

    The operator gives them their passwords as soon as the database runs.
    """
    with server.session() as connection, connection.cursor() as cursor:
        for name, options in ((REPLICATION, "REPLICATION LOGIN"), (REWIND, "LOGIN")):
            cursor.execute("SELECT FROM pg_catalog.pg_authid WHERE rolname = %s", (name,))
            verb = "ALTER" if cursor.rowcount else "CREATE"
            cursor.execute(sql.SQL(f"{verb} ROLE {{}} WITH {options}").format(sql.Identifier(name)))
        for function in _REWIND_FUNCTIONS:
            cursor.execute(f"GRANT EXECUTE ON FUNCTION pg_catalog.{function} TO {REWIND}")
        _strip(cursor, [server.user, *OWN])


def _run(server: Server, content: bytes) -> None:
    words = ["psql", "--no-psqlrc", "--quiet", "--set=VERBOSITY=sqlstate", "--file=-", "--dbname=postgres"]
    done = subprocess.run(words, env=server.environment(), input=content, capture_output=True)
    said = done.stderr.decode(errors="replace")
    wrong = [
        (line, code) for line, code in _ERROR.findall(said) if code != psycopg2.errorcodes.DUPLICATE_OBJECT
    ]
    if wrong:
        line, code = wrong[0]
        meaning = psycopg2.errorcodes.lookup(code).lower().replace("_", " ")
        raise Problem(
            "RestoreFailed",
            f"the roles could not be restored: line {line} of globals.sql, {code} ({meaning})",
        )
    if done.returncode:
        raise Problem("RestoreFailed", f"the roles could not be restored: psql ended with {done.returncode}")


def _strip(cursor: Any, names: list[str]) -> None:
    """Takes the roles' passwords away."""
    cursor.execute(
        "SELECT rolname FROM pg_catalog.pg_authid WHERE rolname = ANY (%s) AND rolpassword IS NOT NULL",
        (names,),
    )
    for (name,) in cursor.fetchall():
        cursor.execute(sql.SQL("ALTER ROLE {} PASSWORD NULL").format(sql.Identifier(name)))
