"""Recoveries that cannot be: each is told with its reason, leaves nothing, and goes on when it can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from cluster import ParadeDB, eventually, remove
from s3 import S3, in_primary, wait_archived, wait_healthy

Make = Callable[[str], ParadeDB]


@pytest.fixture(scope="module")
def s3(namespace: str) -> S3:
    return S3(namespace).start()


@pytest.fixture(scope="module")
def source(namespace: str, client: None, s3: S3) -> Iterator[ParadeDB]:
    """A database with a base backup, and three segments of log after it with a row in each."""
    backup = {"enabled": True, "s3": s3.store("source"), "continuous": {"enabled": True}}
    database = ParadeDB("source", namespace).apply(backup=backup)
    database.wait_running()
    wait_healthy(database)
    in_primary(database, "CREATE TABLE rows (n int)")
    for number in range(3):
        in_primary(database, f"INSERT INTO rows VALUES ({number})")  # noqa: S608
        wait_archived(database)
    yield database
    remove(database)


def refused(database: ParadeDB, reason: str) -> str:
    """The recovery is said to have failed for this reason; the message."""
    found = eventually(
        f"Recovered says {reason}",
        lambda: (now := database.condition("Recovered")).get("reason") == reason and now,
    )
    assert found["status"] == "False"
    return str(found["message"])


def test_a_gap_in_the_log_is_told_and_closed(source: ParadeDB, s3: S3, make: Make) -> None:
    [*_others, before, last] = sorted(
        name for name in s3.files("source/source/wals") if ".backup" not in name
    )
    assert last > before
    s3.order("open")
    s3.move(before, "/data/kept")
    new = make("gap").apply(bootstrap={"recovery": {"source": "source", "method": "continuous"}})
    message = refused(new, "WALMissing")
    assert before.rsplit("/", 1)[-1][:24] in message
    s3.move("/data/kept", before)
    new.wait_running(240)
    assert new.condition("Recovered")["status"] == "True"
    assert in_primary(new, "SELECT count(*) FROM rows") == "3"


def test_a_target_that_is_not_in_the_log(source: ParadeDB, make: Make) -> None:
    target = {"name": "never made"}
    recovery = {"source": source.name, "method": "continuous", "target": target}
    new = make("nowhere").apply(bootstrap={"recovery": recovery})
    assert "spec.bootstrap.recovery.target" in refused(new, "TargetNotReached")


def test_there_is_no_backup(source: ParadeDB, s3: S3, make: Make) -> None:
    place = {"s3": s3.store("nothing-here"), "serverName": source.name}
    new = make("empty").apply(bootstrap={"recovery": place})
    assert "spec.bootstrap.recovery" in refused(new, "NoBackup")
