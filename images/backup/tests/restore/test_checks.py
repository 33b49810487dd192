"""What is found in a restored database that is not as it should be."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from paradedb_backup import checks, collations, postgres, restore_stream, scratch, subscriptions
from paradedb_backup.config import VolumePlace
from paradedb_backup.problems import Problem
from paradedb_backup.store_volume import VolumeStore
from restored import execute, script

Start = Callable[..., scratch.Server]
# A stand-in for pg_search: its indexes are hash tables, and one of them is said to be damaged.
SEARCH = """
CREATE SCHEMA paradedb; CREATE SCHEMA pdb;
CREATE FUNCTION paradedb.bm25_handler(internal) RETURNS index_am_handler LANGUAGE internal STRICT
  AS 'hashhandler';
CREATE ACCESS METHOD bm25 TYPE INDEX HANDLER paradedb.bm25_handler;
CREATE OPERATOR CLASS paradedb.integers DEFAULT FOR TYPE integer USING bm25 AS
  OPERATOR 1 =, FUNCTION 1 pg_catalog.hashint4(integer);
CREATE TABLE words (i int);
CREATE INDEX good ON words USING bm25 (i); CREATE INDEX bad ON words USING bm25 (i);
CREATE FUNCTION pdb.verify_index(index regclass, OUT check_name text, OUT passed bool, OUT details text)
  RETURNS SETOF record LANGUAGE sql AS
  $$ SELECT 'checksums', index::text NOT LIKE '%bad', 'segment 3' UNION ALL SELECT 'schema', true, NULL $$;
"""


@pytest.fixture(scope="module")
def server(serve: Start) -> scratch.Server:
    return serve("checked")


def test_search_indexes(server: scratch.Server) -> None:
    assert checks.search_indexes(server) == {"available": True, "indexes": 0, "wrong": []}
    execute(server, "CREATE DATABASE searched")
    script(server, SEARCH, "searched")
    found = checks.search_indexes(server)
    assert found["indexes"] == 2
    assert found["wrong"] == ["public.bad: checksums segment 3 in 'searched'"]


def test_a_damaged_index(server: scratch.Server) -> None:
    execute(server, "CREATE DATABASE damaged")
    execute(server, "CREATE TABLE t AS SELECT i FROM generate_series(1, 500) i", "damaged")
    execute(server, "CREATE INDEX broken ON t (i)", "damaged")
    assert checks.structure(server, True, lambda _name: None)["wrong"] == []
    # A row of which the index does not know.
    execute(server, "UPDATE pg_index SET indisready = false WHERE indexrelid = 'broken'::regclass", "damaged")
    execute(server, "INSERT INTO t VALUES (999)", "damaged")
    execute(server, "UPDATE pg_index SET indisready = true WHERE indexrelid = 'broken'::regclass", "damaged")
    found = checks.structure(server, True, lambda _name: None)
    assert len(found["wrong"]) == 1
    assert found["wrong"][0].startswith("public.broken: heap tuple")


def test_an_event_trigger_is_not_in_the_way(server: scratch.Server) -> None:
    execute(server, "CREATE DATABASE guarded")
    refusing = "CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''refused''; END'"
    execute(
        server, f"{refusing}; CREATE EVENT TRIGGER no ON ddl_command_start EXECUTE FUNCTION no()", "guarded"
    )
    assert checks.structure(server, False, lambda _name: None)["available"]


def test_an_index_whose_expression_needs_a_search_path(server: scratch.Server) -> None:
    execute(server, "CREATE DATABASE pathy")
    body = "RETURNS int LANGUAGE plpgsql IMMUTABLE AS"
    execute(server, f"CREATE FUNCTION inner_f(int) {body} 'BEGIN RETURN $1; END'", "pathy")
    execute(server, f"CREATE FUNCTION outer_f(int) {body} 'BEGIN RETURN inner_f($1); END'", "pathy")
    execute(server, "CREATE TABLE t AS SELECT 1 AS i; CREATE INDEX ON t (outer_f(i))", "pathy")
    found = checks.structure(server, True, lambda _name: None)["wrong"]
    assert not [words for words in found if "pathy" in words]


def test_subscriptions_are_disabled(server: scratch.Server) -> None:
    execute(server, "CREATE DATABASE subscriber")
    options = "CONNECTION 'host=/none' PUBLICATION p WITH (connect = false, slot_name = 's')"
    execute(server, f'CREATE SUBSCRIPTION "s;" {options}', "subscriber")
    execute(server, 'ALTER SUBSCRIPTION "s;" ENABLE', "subscriber")
    assert subscriptions.disable(server) == ["s;"]
    assert subscriptions.disable(server) == []


def test_collations_of_another_version(server: scratch.Server) -> None:
    assert collations.look(server)["wrong"] == []
    execute(server, "CREATE DATABASE sorted")
    execute(server, 'CREATE TABLE t (w text COLLATE "en-x-icu" UNIQUE)', "sorted")
    execute(server, "UPDATE pg_collation SET collversion = '1' WHERE collname = 'en-x-icu'", "sorted")
    assert "'sorted' were sorted by collations of version 1 and now" in collations.look(server)["wrong"][0]


def test_results_of_two_backups() -> None:
    one, other = ({"available": True, "relations": 2, "wrong": [name]} for name in "ab")
    assert checks.together(one, other) == {"available": True, "relations": 4, "wrong": ["a", "b"]}


def test_functions_of_an_owner_are_not_taken_for_the_servers(server: scratch.Server) -> None:
    execute(server, "CREATE DATABASE tenant")
    execute(server, "CREATE SCHEMA evil", "tenant")
    trap = "RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE ''trapped''; END'"
    execute(server, f"CREATE FUNCTION evil.quote_ident(name) {trap}", "tenant")
    execute(server, "ALTER DATABASE tenant SET search_path = evil, pg_catalog")
    assert checks.structure(server, False, lambda _name: None)["relations"] > 0


def test_a_stream(server: scratch.Server, folder: Path) -> None:
    execute(server, "CREATE DATABASE streamed")
    execute(server, "CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 20000) i", "streamed")
    command = ["pg_dump", "--format=custom", "--dbname=streamed"]
    dump = subprocess.run(command, env=server.environment(), capture_output=True, check=True).stdout
    store = VolumeStore(VolumePlace(root=folder, field="spec.backup.pvc"), "db")
    (folder / "db").mkdir()
    (folder / "db/0.dump").write_bytes(dump)
    part = {"name": "streamed", "sha256": hashlib.sha256(dump).hexdigest()}
    command = ["pg_restore", "--exit-on-error", "--create", "--dbname=postgres"]
    read: list[int] = []
    execute(server, "DROP DATABASE streamed")
    restore_stream.restore(server, store, "0.dump", command, part, read.append)
    assert read[-1] == len(dump)
    assert execute(server, "SELECT count(*) FROM t", "streamed") == [(20000,)]
    # It is there already, and that is said only because the dump is whole.
    with pytest.raises(Problem) as caught:
        restore_stream.restore(server, store, "0.dump", command, part, read.append)
    assert (caught.value.reason, "already exists" in caught.value.message) == ("RestoreFailed", True)
    execute(server, "DROP DATABASE streamed")
    (folder / "db/0.dump").write_bytes(dump[:-5000])
    with pytest.raises(Problem) as caught:
        restore_stream.restore(server, store, "0.dump", command, part, read.append)
    assert caught.value.reason == "BackupDamaged"


def test_the_libraries_of_the_image() -> None:
    assert postgres.preload("pg_search, auto_explain,") == "auto_explain"
