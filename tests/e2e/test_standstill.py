"""A database that is paused is left as it is and still fails over; one that hibernates keeps its data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cluster import ParadeDB, eventually, find, get, kubectl, remove

Make = Callable[[str], ParadeDB]
INSERT = "INSERT INTO kept VALUES (1001)"
LONGEST = 180  # seconds for two instances to start, one as a copy of the other


@pytest.fixture(scope="module")
def pair(namespace: str, client: None) -> Iterator[ParadeDB]:
    """A primary and a replica with a table, which the tests share."""
    database = ParadeDB("pair", namespace).apply(replicas=2)
    database.wait_running(LONGEST)
    database.sql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS id")
    yield database
    remove(database)


def condition(database: ParadeDB, name: str, status: str, seconds: float = LONGEST) -> dict[str, Any]:
    """Wait for the condition of the present spec, as kubectl wait does."""
    kubectl(
        *("-n", database.namespace, "wait", f"paradedb/{database.name}"),
        *(f"--for=condition={name}={status}", f"--timeout={seconds}s"),
    )
    return database.condition(name)


def waits_for_ready(database: ParadeDB) -> bool:
    """Whether who waits for Ready of the present spec has to wait on."""
    words = ("wait", f"paradedb/{database.name}", "--for=condition=Ready", "--timeout=2s")
    return kubectl("-n", database.namespace, *words, check=False).returncode != 0


def reasons(database: ParadeDB) -> list[str]:
    return [item["reason"] for item in database.events()]


def pods(database: ParadeDB) -> list[dict[str, Any]]:
    labels = f"app.kubernetes.io/instance={database.name},app.kubernetes.io/component=database"
    return find("pod", database.namespace, labels)


def claims(database: ParadeDB) -> dict[str, str]:
    """The volumes' claims by name, each with what makes it this one and no namesake."""
    found = find("pvc", database.namespace, f"app.kubernetes.io/instance={database.name}")
    return {item["metadata"]["name"]: item["metadata"]["uid"] for item in found}


def kept(database: ParadeDB) -> str:
    return database.sql("SELECT count(*) FROM kept")


def test_hibernation_ends_all_instances_and_keeps_the_data(pair: ParadeDB) -> None:
    volumes, secret = claims(pair), pair.secret()
    rows = kept(pair)
    pair.patch({"hibernate": True})
    assert condition(pair, "Hibernated", "True")["reason"] == "HibernatedBySpec"
    assert pods(pair) == []
    status = pair.wait_running()
    assert status["message"].startswith("Hibernated: ")
    assert status["readyReplicas"] == 0
    assert status.get("instances", []) == []
    assert status["currentPrimary"] == "pair-0"
    assert (pair.condition("Ready")["status"], pair.condition("Ready")["reason"]) == ("False", "Hibernated")
    assert pair.condition("Degraded")["status"] == "False"
    assert claims(pair) == volumes

    pair.patch({"postgresConfig": {"work_mem": "31MB"}})  # takes effect with the instances
    pair.wait_running()
    assert pods(pair) == []
    assert pair.condition("Hibernated")["status"] == "True"

    pair.patch({"hibernate": False})
    pair.wait_running(LONGEST)
    assert condition(pair, "Ready", "True")["reason"] == "InstancesReady"
    assert pair.condition("Hibernated")["status"] == "False"
    assert len(pods(pair)) == 2
    assert pair.status()["currentPrimary"] == "pair-0"
    assert kept(pair) == rows
    assert pair.setting("work_mem") == "31MB"
    assert pair.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == "1"
    assert (claims(pair), pair.secret()) == (volumes, secret)
    assert {"HibernatedBySpec", "Waking"} <= set(reasons(pair))


def test_a_paused_database_is_left_alone_and_still_fails_over(pair: ParadeDB) -> None:
    rows = int(kept(pair))
    applied = pair.status()["observedGeneration"]
    pair.patch({"paused": True})
    assert condition(pair, "Paused", "True")["reason"] == "PausedBySpec"
    service = get("service", f"{pair.name}-ro", pair.namespace)
    assert service
    pair.patch({"postgresConfig": {"work_mem": "29MB"}})
    kubectl("-n", pair.namespace, "delete", "service", f"{pair.name}-ro")
    first = pair.status()["currentPrimary"]
    kubectl("-n", pair.namespace, "delete", "pod", first, "--wait=false")

    eventually("another leads", lambda: pair.status()["currentPrimary"] not in ("", first))
    assert "PrimaryChanged" in reasons(pair)
    eventually("it takes writes", lambda: pair.sql(INSERT, check=False) == "INSERT 0 1")
    eventually("both serve", lambda: pair.status()["readyReplicas"] == 2, LONGEST)
    time.sleep(5)  # longer than the operator takes to mend something
    assert get("service", f"{pair.name}-ro", pair.namespace) is None
    assert pair.setting("work_mem") != "29MB"
    status = pair.status()
    assert (status["phase"], status["observedGeneration"]) == ("Running", applied)
    assert pair.condition("Ready")["status"] == "True"
    assert waits_for_ready(pair)

    pair.patch({"paused": False})
    pair.wait_running(LONGEST)
    assert condition(pair, "Paused", "False")["reason"] == "NotPaused"
    assert not waits_for_ready(pair)
    assert pair.setting("work_mem") == "29MB"
    assert get("service", f"{pair.name}-ro", pair.namespace)
    assert {"PausedBySpec", "Resumed"} <= set(reasons(pair))
    assert reasons(pair).count("PausedBySpec") == 1
    assert int(kept(pair)) == rows + 1


def test_a_database_whose_primary_is_another_hibernates_too(pair: ParadeDB) -> None:
    pair.annotate("database.paradedb.io/switchover", "pair-1")
    eventually("pair-1 leads", lambda: pair.status()["currentPrimary"] == "pair-1")
    eventually("both serve", lambda: pair.condition("Ready")["status"] == "True")
    pair.sql(INSERT)
    rows = kept(pair)
    pair.patch({"hibernate": True})
    condition(pair, "Hibernated", "True")
    pair.patch({"hibernate": False})
    pair.wait_running(LONGEST)
    assert pair.status()["currentPrimary"] == "pair-0"
    assert kept(pair) == rows


def test_a_paused_database_can_be_deleted(make: Make) -> None:
    database = make("gone").apply(paused=True)
    condition(database, "Paused", "True", 30)
    assert database.status()["phase"] == "Pending"
    assert get("statefulset", "gone", database.namespace) is None
    database.delete()
