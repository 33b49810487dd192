"""What is to be dumped: the server, its databases and roles, and the rows of a database's tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_SERVER = "SELECT system_identifier::text, current_setting('server_version') FROM pg_control_system()"
# datconnlimit -2 marks a database whose removal was interrupted.
_DATABASES = """
SELECT datname, oid, coalesce(pg_database_size(oid), 0), datallowconn FROM pg_database
WHERE datconnlimit <> -2 AND datname <> 'template0' ORDER BY datname
"""
_EXISTS = "SELECT EXISTS (SELECT FROM pg_database WHERE oid = %s AND datconnlimit <> -2)"
_ROLES = "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY rolname"
# What pg_dump writes the rows of, and nothing whose rows come from elsewhere: no partitioned parents, foreign
# tables or materialized views, and no members of extensions.
_TABLES = r"""
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.oid, pg_relation_filenode(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY c.oid
"""
_EXTENSIONS = "SELECT extname FROM pg_extension ORDER BY extname"


@dataclass(frozen=True)
class Database:
    """`oid` stays when it is renamed; `bytes` is what it takes on the disk."""

    oid: int
    bytes: int


@dataclass(frozen=True)
class Server:
    """`closed` are databases that take no connections, so that nobody can dump them."""

    system: str
    version: str
    databases: dict[str, Database]
    closed: list[str]
    roles: list[str]


@dataclass(frozen=True)
class Table:
    """`name` is quoted as SQL wants it; `file` changes when the table is emptied or rewritten as a whole."""

    name: str
    oid: int
    file: int | None


def server(connection: Any) -> Server:
    """What the server holds."""
    with connection.cursor() as cursor:
        cursor.execute(_SERVER)
        system, version = cursor.fetchone()
        cursor.execute(_DATABASES)
        found = cursor.fetchall()
    databases = {name: Database(oid, size) for name, oid, size, open_ in found if open_}
    closed = [name for name, _, _, open_ in found if not open_]
    return Server(system, version, databases, closed, roles(connection))


def roles(connection: Any) -> list[str]:
    """Names of the server's roles without those that every server has."""
    with connection.cursor() as cursor:
        cursor.execute(_ROLES)
        return [role for (role,) in cursor.fetchall()]


def exists(connection: Any, oid: int) -> bool:
    """Whether the database is still there."""
    with connection.cursor() as cursor:
        cursor.execute(_EXISTS, (oid,))
        return bool(cursor.fetchone()[0])


def extensions(connection: Any) -> list[str]:
    """Names of the extensions that the database has."""
    with connection.cursor() as cursor:
        cursor.execute(_EXTENSIONS)
        return [name for (name,) in cursor.fetchall()]


def exported(connection: Any) -> tuple[str, list[Table]]:
    """A snapshot for others to use while this transaction lasts, and the tables in it. Nothing is locked
    here: a TRUNCATE would wait for such a lock, pg_dump for the TRUNCATE, and this program for pg_dump."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_export_snapshot()")
        (snapshot,) = cursor.fetchone()
        cursor.execute(_TABLES)
        return snapshot, [Table(*row) for row in cursor.fetchall()]
