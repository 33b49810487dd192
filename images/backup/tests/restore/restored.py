"""A database of hostile names, and what there is to compare of two databases."""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Any

from paradedb_backup import scratch

_READ_ANY = (1 << 1) | (1 << 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
HOSTILE = "Hostile \"db\"; 'x' $y \\ ä=%"
TABLE = '"Weird ""sch;ema"""."t\'a\\ble %d"'
CONTENT = f'''
CREATE EXTENSION hstore; CREATE EXTENSION pg_trgm;
CREATE SCHEMA "Weird ""sch;ema""" AUTHORIZATION "owner 'x""y";
CREATE TABLE {TABLE} (id int PRIMARY KEY, words text, tags public.hstore,
  made timestamptz DEFAULT '2026-01-01Z');
INSERT INTO {TABLE} SELECT i, repeat('wörd ' || i, 50), public.hstore('k', i::text)
  FROM generate_series(1, 3000) i;
CREATE INDEX "in""dex" ON {TABLE} USING gin (words public.gin_trgm_ops);
CREATE VIEW public.v AS SELECT id FROM {TABLE} WHERE id > 10;
CREATE MATERIALIZED VIEW public.m AS SELECT count(*) AS n FROM {TABLE};
CREATE TABLE public.parted (day date, n int) PARTITION BY RANGE (day);
CREATE TABLE public.parted_26 PARTITION OF public.parted FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO public.parted VALUES ('2026-05-05', 1), ('2026-06-06', 2);
CREATE FUNCTION public.f(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + 1';
GRANT SELECT ON {TABLE} TO reader WITH GRANT OPTION;
ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY;
CREATE POLICY "p;" ON {TABLE} TO reader USING (id < 5);
SELECT lo_from_bytea(4711, decode(repeat('00ff10', 9000), 'hex'));
GRANT SELECT ON LARGE OBJECT 4711 TO reader;
COMMENT ON TABLE {TABLE} IS 'it''s
a comment';
'''  # noqa: S608
ROLES = """
CREATE ROLE "owner 'x""y" LOGIN PASSWORD 'secret one' CONNECTION LIMIT 7 VALID UNTIL '2030-01-01Z';
CREATE ROLE reader NOLOGIN; GRANT reader TO "owner 'x""y";
CREATE ROLE "ERROR:  00000: new
line" LOGIN CREATEDB;
CREATE ROLE paradedb_replication REPLICATION LOGIN PASSWORD 'old replication';
CREATE ROLE paradedb_users NOLOGIN;
ALTER ROLE reader SET search_path = 'x', "Y z";
"""


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable")]


def become(user: str) -> None:
    """This process is the user's from now on, as are the programs it starts; it can be root's again, and it
    alone still reads what is root's, such as its Python."""
    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setresgid(entry.pw_gid, entry.pw_gid, 0)
    os.setresuid(entry.pw_uid, entry.pw_uid, 0)
    library = ctypes.CDLL(None, use_errno=True)
    header, data = _Header(0x20080522, 0), (_Data * 2)()
    if library.capget(ctypes.byref(header), data) == 0:
        data[0].effective |= data[0].permitted & _READ_ANY
        library.capset(ctypes.byref(header), data)


def programs() -> Path | None:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else installed[-1].parent if installed else None


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def execute(server: scratch.Server, statement: str, database: str = "postgres") -> list[Any]:
    with server.session(database) as connection, connection.cursor() as cursor:
        cursor.execute("SET search_path = public")
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def script(server: scratch.Server, text: str, database: str = "postgres") -> None:
    quoted = database.replace("\\", "\\\\").replace("'", "\\'")
    words = ["psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-d", f"dbname='{quoted}'", "-f", "-"]
    done = subprocess.run(
        words,
        env=server.environment(),
        input=f"SET search_path = public; {text}",
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr


def image(server: scratch.Server, database: str) -> str:
    """All that a database holds, rows and large objects too, as pg_dump writes it."""
    quoted = database.replace("\\", "\\\\").replace("'", "\\'")
    words = ["pg_dump", "--create", f"--dbname=dbname='{quoted}'"]
    done = subprocess.run(words, env=server.environment(), capture_output=True, text=True, check=True)
    return "\n".join(
        line for line in done.stdout.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))
    )


def roles(server: scratch.Server) -> dict[str, Any]:
    """All that is known of each role, its memberships and settings."""
    query = """SELECT rolname, to_jsonb(a) - 'oid', s.setconfig,
      ARRAY(SELECT m.roleid::regrole::text FROM pg_auth_members m WHERE m.member = a.oid ORDER BY 1)
      FROM pg_authid a LEFT JOIN pg_db_role_setting s ON s.setrole = a.oid
      WHERE rolname !~ '^pg_' ORDER BY 1"""
    return {name: rest for name, *rest in execute(server, query)}
