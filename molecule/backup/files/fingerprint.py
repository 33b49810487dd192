"""What a PostgreSQL server holds, so that two of them can be compared:  fingerprint.py [WITHOUT...]

Connects as libpq's environment says (PGHOST, PGUSER, ...), as a superuser, and prints JSON: of every database
each definition as pg_dump sees it, of every table the number of rows and a sum over all of them that no order
changes, every sequence and large object; and of the server its roles, memberships, settings and databases.
Roles named by WITHOUT (regular expressions for the whole name) are left out, and so are who has granted a
membership: these are the server's own.

Numbers of objects, and the order in which anything was made, change nothing. Rows of unlogged tables are left
out: Patroni starts every database as a standby first, and that empties them.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from typing import Any

Fingerprint = dict[str, Any]

DATABASES = "SELECT datname FROM pg_database WHERE datname <> 'template0' AND datallowconn ORDER BY 1"
# A role's password is compared by the digest of its verifier, which a dump takes over as it is.
ROLES = """SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication,
  rolbypassrls, rolconnlimit, rolvaliduntil, md5(rolpassword),
  shobj_description(oid, 'pg_authid') FROM pg_authid"""
MEMBERS = """SELECT r.rolname AS rolname, m.rolname AS member, a.admin_option,
  to_jsonb(a) -> 'inherit_option', to_jsonb(a) -> 'set_option'
  FROM pg_auth_members a JOIN pg_authid r ON r.oid = roleid JOIN pg_authid m ON m.oid = member"""
SETTINGS = """SELECT coalesce(r.rolname, '') AS rolname, d.datname, array(SELECT unnest(setconfig) ORDER BY 1)
  FROM pg_db_role_setting s LEFT JOIN pg_authid r ON r.oid = setrole
  LEFT JOIN pg_database d ON d.oid = setdatabase"""
PLACES = """SELECT pg_get_userbyid(datdba) AS rolname, datname, pg_encoding_to_char(encoding), datcollate,
  datctype, datistemplate, datconnlimit, array(SELECT unnest(datacl)::text ORDER BY 1),
  shobj_description(oid, 'pg_database') FROM pg_database WHERE datname <> 'template0'"""
TABLES = """SELECT format('%I.%I', nspname, relname)
  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
  WHERE relkind IN ('r', 'm') AND relispopulated AND relpersistence = 'p'
  AND nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 1"""
ROWS = "SELECT count(*), coalesce(sum(hashtextextended(t::text, 1)), 0) FROM ONLY {table} t"
SEQUENCES = """SELECT format('%I.%I', schemaname, sequencename), last_value, start_value, increment_by, cycle
  FROM pg_sequences ORDER BY 1"""
LARGE_OBJECTS = """SELECT oid, md5(lo_get(oid)), pg_get_userbyid(lomowner),
  array(SELECT unnest(lomacl)::text ORDER BY 1), obj_description(oid, 'pg_largeobject')
  FROM pg_largeobject_metadata ORDER BY oid"""
BOUNDARY = re.compile(r"^--\n-- (?=(?:Name|Data for Name|Statistics for Name): )", re.MULTILINE)
# Newer minor versions of pg_dump write a key of their own into each dump.
CHANGING = re.compile(r"^(\\(un)?restrict .*|-- Dumped .*)\n", re.MULTILINE)


def run(command: list[str]) -> str:
    """What a client program prints. Raises CalledProcessError."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def conninfo(database: str) -> str:
    """A connection string, which no name of a database can add anything to."""
    escaped = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}' options='-c timezone=UTC -c search_path=pg_catalog'"


def ask(database: str, statement: str) -> list[list[Any]]:
    """The rows of a query, each a list of JSON values."""
    rows = "SELECT (SELECT json_agg(value) FROM json_each(row_to_json(i))) AS l"
    wrapped = f"SELECT coalesce(json_agg(q.l), '[]') FROM ({rows} FROM ({statement}) i) q"  # noqa: S608
    answer: list[list[Any]] = json.loads(run(["psql", "-XAtq", "-d", conninfo(database), "-c", wrapped]))
    return answer


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def definitions(dump: str) -> dict[str, str]:
    """Of each definition in a plain dump its heading and a digest of it."""
    blocks = BOUNDARY.split(CHANGING.sub("", dump))
    found: dict[str, str] = {}
    for block in blocks:
        heading, _, rest = block.partition("\n")
        found[f"{heading} {digest(rest)}"] = digest(rest)
    return dict(sorted(found.items()))


def of_database(name: str) -> Fingerprint:
    """Everything that belongs to one database."""
    dump = run(["pg_dump", "--schema-only", "-d", conninfo(name)])
    tables = [row[0] for row in ask(name, TABLES)]
    return {
        "definitions": definitions(dump),
        "rows": {table: ask(name, ROWS.format(table=table))[0] for table in tables},
        "sequences": ask(name, SEQUENCES),
        "large objects": ask(name, LARGE_OBJECTS),
    }


def is_own(role: str, without: list[str]) -> bool:
    """Whether the role belongs to the server and not to what it holds."""
    return role.startswith("pg_") or any(re.fullmatch(pattern, role) for pattern in without)


def of_server(without: list[str]) -> Fingerprint:
    """Everything that belongs to no database."""
    roles = [row for row in ask("postgres", ROLES) if not is_own(row[0], without)]
    members = [row for row in ask("postgres", MEMBERS) if not is_own(row[1], without)]
    settings = [row for row in ask("postgres", SETTINGS) if not is_own(row[0], without)]
    parts = {"roles": roles, "members": members, "settings": settings, "databases": ask("postgres", PLACES)}
    return {part: sorted(rows, key=json.dumps) for part, rows in parts.items()}


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two fingerprints differ, a line each."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted(one.keys() | other.keys())
        return [
            line for key in keys for line in differences(one.get(key), other.get(key), f"{path}/{key}")
        ]  # fmt: skip
    if isinstance(one, list) and isinstance(other, list):
        lost = [item for item in one if item not in other]
        added = [item for item in other if item not in one]
        return [
            f"{path}: {json.dumps(item)} is {what}"
            for what, items in (("gone", lost), ("new", added))
            for item in items
        ]
    return [] if one == other else [f"{path}: {json.dumps(one)} has become {json.dumps(other)}"]


def main() -> None:
    names = [row[0] for row in ask("postgres", DATABASES)]
    found = {"server": of_server(sys.argv[1:]), "contents": {name: of_database(name) for name in names}}
    json.dump(found, sys.stdout, ensure_ascii=False, sort_keys=True)


if __name__ == "__main__":
    main()
