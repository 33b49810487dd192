"""Updates of extensions after a change of image, on a real server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import database, sql

from .fake_kube import FakeKube, pod
from .private_postgres import PrivatePostgres
from .test_database import HOSTILE_NAMES, kube, reconcile, spec  # noqa: F401  the fixture

OLD = "1.4"  # a version of hstore that every PostgreSQL still has, and updates from
NAMES = [HOSTILE_NAMES[0], HOSTILE_NAMES[-2]]
DATABASES = ["app", "template1", "postgres", *NAMES]


@pytest.fixture
def outdated(
    kube: FakeKube,  # noqa: F811
    postgres: PrivatePostgres,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[FakeKube]:
    """Every database has an old hstore; the passes so far brought them all to what there was."""
    monkeypatch.setattr(database, "BATCH", 3)
    for name in ("app", *NAMES):
        reconcile(kube, spec(name))
    postgres.query("ALTER DATABASE postgres RESET ALL")
    for name in DATABASES:
        run(postgres, name, f"CREATE EXTENSION hstore VERSION '{OLD}'")
    kube.commands.clear()
    yield kube
    for name in ("template1", "postgres"):
        postgres.query("DROP EXTENSION IF EXISTS hstore, citext", name)


def run(postgres: PrivatePostgres, name: str, statement: str) -> str:
    """A statement in a database of any name."""
    encoded = "".join(f"%{byte:02x}" for byte in name.encode())
    return postgres.query(statement, f"postgresql:///{encoded}")


def version(postgres: PrivatePostgres, name: str, extension: str = "hstore") -> str:
    return run(postgres, name, f"SELECT extversion FROM pg_extension WHERE extname = '{extension}'")  # noqa: S608


def newest(postgres: PrivatePostgres, extension: str = "hstore") -> str:
    wanted = f"SELECT default_version FROM pg_available_extensions WHERE name = '{extension}'"  # noqa: S608
    return postgres.query(wanted)


def current(result: dict[str, Any]) -> dict[str, Any]:
    return next(item for item in result["checks"] if item["type"] == "ExtensionsCurrent")


def test_extensions_are_updated_in_every_database_once(outdated: FakeKube, postgres: PrivatePostgres) -> None:
    first = reconcile(outdated, spec())
    assert {version(postgres, name) for name in DATABASES} == {newest(postgres)} != {OLD}
    assert {
        f"update extension hstore in database {name} from {OLD} to {newest(postgres)}" for name in DATABASES
    } <= {*first["changes"]}
    assert first["changed"]
    assert current(first)["ok"]
    assert len(outdated.commands) == 1 + 1 + 2 + 1  # the program, the list, two batches, the note
    outdated.commands.clear()
    second = reconcile(outdated, spec())
    assert (second["changes"], len(outdated.commands)) == ([], 1)
    assert current(second) == {
        "type": "ExtensionsCurrent",
        "ok": True,
        "reason": "ExtensionsCurrent",
        "message": "",
    }


def test_a_new_database_has_the_versions_of_the_template(
    outdated: FakeKube, postgres: PrivatePostgres
) -> None:
    reconcile(outdated, spec())
    reconcile(outdated, spec("later"))
    assert version(postgres, "later") == newest(postgres)


def test_nothing_is_updated_while_images_differ(outdated: FakeKube, postgres: PrivatePostgres) -> None:
    other = pod("orders-1")
    other["spec"]["containers"][0]["image"] = "paradedb/paradedb:17b"
    outdated.put(other)
    found = reconcile(outdated, spec())
    assert (current(found)["ok"], current(found)["reason"]) == (False, "RollingUpdate")
    assert len(outdated.commands) == 1
    assert version(postgres, "template1") == OLD
    outdated.objects["Pod", "prod", "orders-1"]["spec"]["containers"][0]["image"] = "paradedb/paradedb:17"
    assert current(reconcile(outdated, spec()))["ok"]
    assert version(postgres, "template1") == newest(postgres)


def test_check_mode_foretells_the_updates(outdated: FakeKube, postgres: PrivatePostgres) -> None:
    told = [reconcile(outdated, spec(), check_mode=True)["changes"] for _time in range(2)]
    assert told[0] == told[1]
    assert f"update extension hstore in database template1 from {OLD} to {newest(postgres)}" in told[0]
    assert version(postgres, "template1") == OLD


def test_what_cannot_be_updated_is_told_until_it_is_gone(
    outdated: FakeKube, postgres: PrivatePostgres
) -> None:
    """As after an image that went back: the catalog is newer than the library."""
    postgres.query("CREATE EXTENSION citext", "template1")
    postgres.query("UPDATE pg_extension SET extversion = '99' WHERE extname = 'citext'", "template1")
    for _time in range(2):
        check = current(reconcile(outdated, spec()))
        assert (check["ok"], check["reason"]) == (False, "VersionSkew")
        assert check["message"].startswith(
            f"database template1: extension citext is 99, the image has {newest(postgres, 'citext')}: "
        )
        assert "no update path" in check["message"]
    assert version(postgres, "template1") == newest(postgres)  # the others are updated all the same
    postgres.query("DROP EXTENSION citext", "template1")
    assert current(reconcile(outdated, spec()))["ok"]


def test_an_extension_that_the_image_no_longer_has(outdated: FakeKube, postgres: PrivatePostgres) -> None:
    postgres.query("CREATE EXTENSION citext", "template1")
    postgres.query("UPDATE pg_extension SET extname = 'gone' WHERE extname = 'citext'", "template1")
    try:
        message = current(reconcile(outdated, spec()))["message"]
    finally:
        postgres.query("UPDATE pg_extension SET extname = 'citext' WHERE extname = 'gone'", "template1")
    assert "extension gone is" in message
    assert "the image has none" in message


def test_a_database_that_cannot_be_reached_does_not_keep_the_others(
    outdated: FakeKube, postgres: PrivatePostgres
) -> None:
    psql = database._Psql(outdated, "prod", "orders-0", "postgres")  # type: ignore[arg-type]
    told = database._run_updates(psql, ["postgres", "no such", "template1"], apply=True)
    problems = {item["database"]: item["problem"] for item in told if "problem" in item}
    assert list(problems) == ["no such"]
    assert 'database "no such" does not exist' in problems["no such"]
    assert version(postgres, "template1") == newest(postgres)


def test_what_other_batches_told_is_kept(outdated: FakeKube, postgres: PrivatePostgres) -> None:
    """The one that cannot be reached is alone in the last batch, and the others are told of all the same."""
    psql = database._Psql(outdated, "prod", "orders-0", "postgres")  # type: ignore[arg-type]
    told = database._run_updates(psql, ["app", "postgres", "template1", "no such"], apply=True)
    assert [item["database"] for item in told] == ["app", "postgres", "template1", "no such"]
    assert [item["database"] for item in told if "problem" in item] == ["no such"]


def test_a_database_that_is_closed_is_left_alone(outdated: FakeKube, postgres: PrivatePostgres) -> None:
    postgres.query("ALTER DATABASE app ALLOW_CONNECTIONS false")
    try:
        assert current(reconcile(outdated, spec(HOSTILE_NAMES[0])))["ok"]
    finally:
        postgres.query("ALTER DATABASE app ALLOW_CONNECTIONS true")
    assert version(postgres, "app") == OLD


def test_a_lock_delays_an_update_and_not_the_pass(outdated: FakeKube, postgres: PrivatePostgres) -> None:
    hold = "BEGIN; LOCK pg_extension IN SHARE MODE; SELECT pg_sleep(60)"
    holder = Thread(target=postgres.execute, args=(["psql", "-X", "-q", "-d", "template1", "-c", hold],))
    holder.start()
    sleeping = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    while not (pid := postgres.query(sleeping)):
        time.sleep(0.05)
    check = current(reconcile(outdated, spec()))
    postgres.query(f"SELECT pg_terminate_backend({pid})")
    holder.join()
    assert "lock timeout" in check["message"]
    assert version(postgres, "template1") == OLD
    assert current(reconcile(outdated, spec()))["ok"]


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
def test_a_name_is_not_part_of_the_program(name: str) -> None:
    text = sql.update_program([name], apply=True)
    (line,) = [line for line in text.splitlines() if line.startswith("\\connect")]
    assert set(line.rpartition("///")[2]) <= set("%0123456789abcdef'")


def test_the_report_tells_where_the_log_begins(kube: FakeKube, postgres: PrivatePostgres) -> None:  # noqa: F811
    found = reconcile(kube, spec())
    now = int(postgres.query("SELECT pg_current_wal_lsn() - '0/0'"))
    first = postgres.query("SELECT min(name) FROM pg_ls_waldir()")
    assert found["oldest_wal"] == (int(first[8:16], 16) << 32) + int(first[16:], 16) * 16 * 2**20
    assert 0 < found["oldest_wal"] <= now
    assert found["search_version"] == ""
