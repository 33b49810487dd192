"""The manifest's numbers are those of the dump, whatever happens in the database meanwhile."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from program import Program
from servers import Postgres, eventually

DATABASE = "rows ' \" \\ =\nß"
BYTES = "bytes"
CONTENTS = """
CREATE TABLE public."it's ""odd""
é" AS SELECT i FROM generate_series(1, 300) i;
CREATE TABLE parted (i int) PARTITION BY RANGE (i);
CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM (10) TO (1000);
INSERT INTO parted SELECT generate_series(1, 99);
CREATE TABLE parent (i int);
CREATE TABLE child () INHERITS (parent);
INSERT INTO parent SELECT generate_series(1, 5);
INSERT INTO child SELECT generate_series(1, 7);
CREATE UNLOGGED TABLE unlogged AS SELECT i FROM generate_series(1, 4) i;
CREATE MATERIALIZED VIEW seen AS SELECT * FROM parent;
CREATE TABLE guarded AS SELECT i FROM generate_series(1, 6) i;
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
ALTER TABLE guarded FORCE ROW LEVEL SECURITY;
CREATE TABLE moving (i bigserial PRIMARY KEY, padding text DEFAULT repeat('x', 200));
INSERT INTO moving SELECT FROM generate_series(1, 150000);
CREATE TABLE emptied AS SELECT i FROM generate_series(1, 10) i;
"""
CHANGES = "INSERT INTO moving SELECT FROM generate_series(1, 50); DELETE FROM moving WHERE i % 1009 = 3;"


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.fixture
def changing(filled: Postgres) -> Iterator[str]:
    """A database that is written to, and whose table is emptied again and again."""
    filled.sql(f"CREATE DATABASE {quoted(DATABASE)}")
    # Limits for everybody else, which must not end a backup.
    filled.sql(f"ALTER DATABASE {quoted(DATABASE)} SET statement_timeout = '40ms'")
    filled.sql(f"ALTER DATABASE {quoted(DATABASE)} SET idle_in_transaction_session_timeout = '40ms'")
    filled.sql(f"SET statement_timeout = 0; {CONTENTS}", DATABASE)
    ended = threading.Event()

    def change() -> None:
        while not ended.is_set():
            filled.sql(f"SET statement_timeout = 0; {CHANGES}", DATABASE)
            filled.sql(
                "SET statement_timeout = 0; TRUNCATE emptied; INSERT INTO emptied VALUES (1)", DATABASE
            )

    writer = threading.Thread(target=change)
    writer.start()
    yield DATABASE
    ended.set()
    writer.join()
    filled.sql(f"DROP DATABASE {quoted(DATABASE)}")


@pytest.fixture
def unencoded(filled: Postgres) -> Iterator[str]:
    """A database whose names are bytes of any kind."""
    filled.sql(f"CREATE DATABASE {BYTES} TEMPLATE template0 ENCODING SQL_ASCII LOCALE 'C'")
    filled.sql(
        "SET client_encoding = 'SQL_ASCII'; DO $$BEGIN EXECUTE E'CREATE TABLE \"\\377\\376\" (i int)'; END$$",
        BYTES,
    )
    yield BYTES
    filled.sql(f"DROP DATABASE {BYTES}")


def manifest(place: Path, run: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((place / "orders/dumps" / run / "manifest.json").read_text())
    return found


def rows_dumped(program: Program, dump: Path) -> dict[str, int]:
    """What pg_restore says is in the dump: the lines of each COPY."""
    script = subprocess.run(
        [str(program.postgres.programs / "pg_restore"), "--data-only", "--file=-", str(dump)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    copies = re.finditer(r"^COPY (.+?) \([^()]*\) FROM stdin;\n(.*?)^\\\.$", script, re.MULTILINE | re.DOTALL)
    return {copy[1]: copy[2].count("\n") for copy in copies}


def test_rows_are_counted_in_the_snapshot_of_the_dump(
    program: Program, changing: str, tmp_path: Path
) -> None:
    place = tmp_path / "volume"
    program.configure({"volume": str(place)}, jobs=4)
    for _ in range(3):
        run = program.good("dump")["id"]
        (part,) = (part for part in manifest(place, run)["databases"] if part["name"] == changing)
        dumped = rows_dumped(program, place / "orders/dumps" / run / part["file"])
        # Emptied between the snapshot and pg_dump's lock, a table has no certain number.
        assert set(part["uncounted"]) <= {"public.emptied"}
        assert part["rows"] == {name: rows for name, rows in dumped.items() if name not in part["uncounted"]}
        assert dumped['public."it\'s ""odd""\né"'] == 300
        assert (dumped["public.parted_low"], dumped["public.parted_high"]) == (9, 90)
        assert (dumped["public.parent"], dumped["public.child"]) == (5, 7)
        assert (dumped["public.guarded"], dumped["public.unlogged"]) == (6, 4)
        assert "public.parted" not in dumped


LOCKED = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted"
TRAP = """
CREATE ROLE tenant;
GRANT CREATE ON DATABASE {name} TO tenant;
SET ROLE tenant;
CREATE SCHEMA evil;
CREATE TABLE evil.bait AS SELECT 1 AS i;
CREATE FUNCTION evil.quote_ident(name) RETURNS text LANGUAGE plpgsql AS
  $$BEGIN RAISE EXCEPTION 'run as %', current_user; END$$;
CREATE FUNCTION evil.set_config(text, text, boolean) RETURNS text LANGUAGE plpgsql AS
  $$BEGIN RAISE EXCEPTION 'run as %', current_user; END$$;
"""


@pytest.fixture
def trapped(filled: Postgres) -> Iterator[str]:
    """A database whose owner has made what a superuser would run."""
    filled.sql("CREATE DATABASE trapped")
    filled.sql(TRAP.format(name="trapped"), "trapped")
    filled.sql("ALTER DATABASE trapped SET search_path = evil, pg_catalog, public")
    filled.sql("ALTER DATABASE trapped SET role = tenant")
    yield "trapped"
    filled.sql("DROP DATABASE trapped")
    filled.sql("DROP ROLE tenant")


def test_a_database_cannot_have_its_own_functions_run(program: Program, trapped: str, tmp_path: Path) -> None:
    program.configure({"volume": str(tmp_path / "volume")})
    run = program.good("dump")["id"]
    names = [part["name"] for part in manifest(tmp_path / "volume", run)["databases"]]
    assert trapped in names
    log = program.postgres.log()
    assert "run as" not in log, [line for line in log.splitlines() if "run as" in line]


def test_a_database_without_an_encoding(program: Program, unencoded: str, tmp_path: Path) -> None:
    program.configure({"volume": str(tmp_path / "volume")})
    run = program.good("dump")["id"]
    (part,) = (part for part in manifest(tmp_path / "volume", run)["databases"] if part["name"] == unencoded)
    assert list(part["rows"].values()) == [0]


def test_what_comes_and_goes_while_it_dumps(program: Program, filled: Postgres, tmp_path: Path) -> None:
    """A database that is dropped is left out; roles that were made or dropped meanwhile are in the
    globals."""
    filled.sql("CREATE ROLE leaver LOGIN")
    filled.sql("CREATE DATABASE dropped")
    filled.sql("CREATE DATABASE closed ALLOW_CONNECTIONS false")
    program.configure({"volume": str(tmp_path / "volume")}, jobs=1)
    # The first database, the largest, waits for this lock; the others wait for it.
    sleeping = ["psql", "-Xq", "-d", "postgres", "-c", "BEGIN; LOCK TABLE bulk; SELECT pg_sleep(600)"]
    blocker = subprocess.Popen(
        sleeping, env={**os.environ, **filled.environment()}, stderr=subprocess.DEVNULL
    )
    eventually("the table is locked", lambda: filled.sql(LOCKED) != "0")
    running = program.start("dump")
    try:
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        eventually("pg_dump waits", lambda: filled.sql(waiting) != "0")
        filled.sql("DROP DATABASE dropped")
        filled.sql('CREATE ROLE "late ""comer"')
        filled.sql("DROP ROLE leaver")
    finally:
        blocker.kill()
        blocker.wait()
        filled.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)'")
    assert running.wait(60) == 0
    found = program.state("dump")
    assert "closed" in found["message"]
    made = manifest(tmp_path / "volume", found["id"])
    assert "dropped" not in [part["name"] for part in made["databases"]]
    assert made["closed"] == ["closed"]
    assert {"leaver", 'late "comer'} <= set(made["globals"]["roles"])
    roles = (tmp_path / "volume/orders/dumps" / found["id"] / "globals.sql").read_text()
    assert 'CREATE ROLE "leaver" NOLOGIN;' in roles
    assert 'CREATE ROLE "late ""comer";' in roles
    filled.sql('DROP ROLE "late ""comer"')
    filled.sql("ALTER DATABASE closed ALLOW_CONNECTIONS true")
    filled.sql("DROP DATABASE closed")


def test_no_secret_is_on_a_command_line_or_in_a_report(program: Program, tmp_path: Path) -> None:
    program.configure({"volume": str(tmp_path / "volume")})
    (program.folder / "etc/backup-database/password").write_text("pa'ss\\word")
    seen: set[str] = set()
    running = program.start("dump")
    while running.poll() is None:
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = process.read_bytes()
            except OSError:
                continue
            if b"paradedb-backup" in words or b"paradedb_backup" in words:
                seen.add(words.decode(errors="replace"))
    assert running.returncode == 0
    assert any("pg_dump" in words for words in seen)
    everything = "".join(seen) + (program.folder / "said").read_text() + json.dumps(program.state("dump"))
    assert "pa'ss" not in everything
