"""A change that breaks the first instance goes no further; and a switchover by the playbook."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from cluster import IMAGE, ParadeDB, eventually, play, remove


@pytest.fixture(scope="module")
def pair(namespace: str, client: None) -> Iterator[ParadeDB]:
    """Two instances that the tests share."""
    database = ParadeDB("pair", namespace).apply(replicas=2)
    database.wait_running(180)
    yield database
    remove(database)


def uids(database: ParadeDB) -> list[str]:
    """The pods' identities, by ordinal."""
    return [(database.pod(ordinal) or {"metadata": {"uid": ""}})["metadata"]["uid"] for ordinal in range(2)]


def test_a_broken_change_stops_at_the_first_replica_and_rolls_back(pair: ParadeDB) -> None:
    database = pair
    primary = database.status()["currentPrimary"]
    leader = int(primary.rpartition("-")[2])
    before = uids(database)
    database.sql("CREATE TABLE kept AS SELECT 1 AS id")

    database.patch({"image": "localhost/no-such-image:1"})
    status = database.wait_phase("Failed", 180)
    assert "localhost/no-such-image:1" in status["message"]
    assert uids(database)[leader] == before[leader]
    database.sql("INSERT INTO kept VALUES (2)")  # the primary serves on

    database.patch({"image": IMAGE})
    status = database.wait_running(180)
    assert status["currentPrimary"] == primary
    assert uids(database)[leader] == before[leader]
    assert uids(database)[1 - leader] != before[1 - leader]
    assert database.sql("SELECT count(*) FROM kept") == "2"
    assert database.sql("SELECT count(*) FROM pg_stat_replication") == "1"


def switch_over(database: ParadeDB, *more: str) -> subprocess.CompletedProcess[str]:
    return play(
        "switchover", f"paradedb_name={database.name}", f"paradedb_namespace={database.namespace}", *more
    )


def test_the_playbook_switches_over_and_is_idempotent(pair: ParadeDB) -> None:
    before = pair.status()["currentPrimary"]
    done = switch_over(pair)
    assert done.returncode == 0, done.stdout + done.stderr
    pair.sql("INSERT INTO kept VALUES (3)")
    eventually("the status follows", lambda: pair.status()["currentPrimary"] != before)
    again = switch_over(pair, f"paradedb_candidate={pair.status()['currentPrimary']}")
    assert again.returncode == 0
    assert "changed=0" in again.stdout
    refused = switch_over(pair, "paradedb_candidate=pair-7")
    assert refused.returncode != 0
    assert "there is no instance 'pair-7'" in refused.stdout
