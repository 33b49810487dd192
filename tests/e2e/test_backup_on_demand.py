"""Backups that somebody asks for, by annotation and by playbook, and what the status says of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cluster import ParadeDB, eventually, find, kubectl, play, remove

Make = Callable[[str], ParadeDB]
NEVER = "0 0 29 2 *"
BACKUP = {"enabled": True, "schedule": NEVER, "pvc": {"size": "256Mi"}, "verify": {"schedule": NEVER}}
ROWS = "SELECT count(*), sum(hashtext(word)) FROM words"


@pytest.fixture(scope="module")
def shop(namespace: str, client: None) -> Iterator[ParadeDB]:
    """A database with a table and its first backup, which the operator makes by itself."""
    database = ParadeDB("shop", namespace).apply(backup=BACKUP)
    database.wait_running()
    eventually("the first backup", lambda: healthy(database))
    database.sql("CREATE TABLE words AS SELECT md5(n::text) AS word FROM generate_series(1, 1000) n")
    yield database
    remove(database)
    kubectl("-n", namespace, "delete", "pvc", "shop-backup", "--ignore-not-found", "--wait=false")


def healthy(database: ParadeDB) -> bool:
    return database.condition("BackupHealthy").get("status") == "True"


def last(database: ParadeDB) -> dict[str, Any]:
    return dict((database.status().get("backup") or {}).get("dump") or {})


def jobs(database: ParadeDB) -> list[str]:
    return [item["metadata"]["name"] for item in find("jobs", database.namespace)]


def reasons(database: ParadeDB) -> list[str]:
    return [item["reason"] for item in database.events()]


def run(name: str, *variables: str) -> str:
    done = play(name, *variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_first_backup_is_made_once_and_told(shop: ParadeDB) -> None:
    status = shop.status()
    assert status["lastBackup"] == last(shop)["finished"]
    assert status["backup"]["place"] == "volume shop-backup"
    assert len(jobs(shop)) == 1
    assert reasons(shop).count("BackupCompleted") == 1
    assert status["phase"] == "Running"


def test_an_annotation_asks_for_one(shop: ParadeDB) -> None:
    before = last(shop)
    shop.annotate("database.paradedb.io/backup", "dump")
    eventually("another backup", lambda: last(shop) != before)
    assert "database.paradedb.io/backup" not in shop.resource()["metadata"].get("annotations", {})
    assert "BackupRequested" in reasons(shop)
    made = len(jobs(shop))
    shop.annotate("database.paradedb.io/backup", "base")  # which the spec does not ask for
    eventually("the refusal", lambda: "BackupRefused" in reasons(shop))
    assert len(jobs(shop)) == made


def test_a_playbook_makes_and_verifies_one(shop: ParadeDB) -> None:
    where = ("paradedb_name=shop", f"paradedb_namespace={shop.namespace}")
    before = last(shop)
    said = run("backup", *where)
    eventually("the status tells of it", lambda: last(shop) != before)
    assert last(shop)["id"] in said
    assert "its pod is being started" in said  # progress
    checked = run("backup", *where, "paradedb_kind=verify")
    assert f"Verified {last(shop)['id']}" in checked
    eventually("it is verified", lambda: shop.condition("BackupVerified").get("status") == "True")
    made = shop.status()["backup"]["verification"]
    assert (made["id"], made["result"]) == (last(shop)["id"], "succeeded")
    assert "0 wrong" in made["checks"]["rows"]
    refused = play("backup", *where, "paradedb_kind=base")
    assert refused.returncode != 0
    assert "shop-base" in refused.stdout


def test_a_playbook_makes_a_database_of_a_backup(shop: ParadeDB, make: Make) -> None:
    where = (f"paradedb_namespace={shop.namespace}", "paradedb_source=shop")
    run("backup", "paradedb_name=shop", f"paradedb_namespace={shop.namespace}")
    again = make("again")
    said = run("restore", *where, "paradedb_name=again")
    assert f"again.{shop.namespace}.svc:5432" in said
    assert again.sql(ROWS) == shop.sql(ROWS)
    assert again.condition("Recovered")["status"] == "True"
    assert again.status()["recovery"]["source"] == "shop"
    assert "BackupHealthy" not in {item["type"] for item in again.status()["conditions"]}
    taken = play("restore", *where, "paradedb_name=shop")
    assert taken.returncode != 0
    assert "already" in taken.stdout


def test_a_recovery_that_fails_says_so_once(shop: ParadeDB, make: Make) -> None:
    never = make("never")
    where = (f"paradedb_namespace={shop.namespace}", "paradedb_source=shop", "paradedb_name=never")
    failed = play("restore", *where, "paradedb_backup=20200101T000000Z-0000")
    assert failed.returncode != 0
    assert "spec.bootstrap.recovery" in failed.stdout
    restarts = "the recovery is tried again, twice"
    eventually(restarts, lambda: tried(never) >= 2)
    time.sleep(3)
    assert never.status()["phase"] == "Failed"
    assert never.condition("Recovered")["reason"] == "NoBackup"
    assert reasons(never).count("NoBackup") <= 2  # of the phase, and of the condition
    assert reasons(never).count("Creating") == 1


def tried(database: ParadeDB) -> int:
    statuses = ((database.pod() or {}).get("status") or {}).get("initContainerStatuses") or []
    return next((item["restartCount"] for item in statuses if item["name"] == "recover"), 0)
