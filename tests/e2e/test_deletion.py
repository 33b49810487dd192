"""Deletion takes what the operator made and leaves the data, unless the user said otherwise."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cluster import OWNED_KINDS, ParadeDB, apply, eventually, find, get, kubectl

Make = Callable[[str], ParadeDB]


def volumes(database: ParadeDB) -> list[str]:
    claims = find("pvc", database.namespace, f"app.kubernetes.io/instance={database.name}")
    return [claim["metadata"]["name"] for claim in claims]


def left(database: ParadeDB) -> list[str]:
    """Objects of the database that are still there, Patroni's own among them."""
    owned = find(OWNED_KINDS + ",pods", database.namespace, f"app.kubernetes.io/instance={database.name}")
    patroni = find("configmap", database.namespace, f"database.paradedb.io/scope={database.name}-patroni")
    return [f"{item['kind']}/{item['metadata']['name']}" for item in owned + patroni]


def test_data_stay_and_come_back(make: Make) -> None:
    database = make("phoenix").apply()
    database.wait_running()
    database.sql("CREATE TABLE ash AS SELECT 42 AS id")
    uid = database.resource()["metadata"]["uid"]
    password = database.secret()["password"]
    database.delete()
    eventually("everything else is gone", lambda: left(database) == [])
    assert volumes(database) == ["data-phoenix-0"]
    events = [e for e in find("events", database.namespace) if e["involvedObject"].get("uid") == uid]
    assert "Deleting" in [event["reason"] for event in events]

    database.apply().wait_running()
    assert database.secret()["password"] != password
    assert database.sql("SELECT id FROM ash") == "42"


def test_data_go_when_the_user_says_so(make: Make) -> None:
    database = make("gone").apply(storage={"size": "400Mi", "reclaimPolicy": "Delete"})
    database.wait_running()
    assert volumes(database) == ["data-gone-0"]
    database.delete()
    eventually("everything is gone", lambda: left(database) == [] and volumes(database) == [])


def test_broken_database_is_deleted(make: Make) -> None:
    database = make("broken").apply(image="localhost/no-such-image:1")
    database.wait_phase("Failed")
    database.delete()
    eventually("everything is gone", lambda: left(database) == [])


def test_deletion_at_once_after_creation(make: Make) -> None:
    database = make("blink").apply()
    database.delete()
    eventually("everything is gone", lambda: left(database) == [])


@pytest.mark.alone
def test_deletion_while_the_operator_is_away(make: Make) -> None:
    database = make("orphan").apply()
    database.wait_running()
    deployment = "deployment/paradedb-operator-controller-manager"
    kubectl("-n", "paradedb-operator-system", "scale", deployment, "--replicas=0")
    try:
        database.delete(wait=False)
        assert "deletionTimestamp" in database.resource()["metadata"]
    finally:
        kubectl("-n", "paradedb-operator-system", "scale", deployment, "--replicas=1")
    eventually("the resource is gone", lambda: not get("paradedb", database.name, database.namespace))
    eventually("everything is gone", lambda: left(database) == [])


def test_namesakes_objects_of_others_stay(make: Make) -> None:
    database = make("mine").apply()
    database.wait_running()
    other = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "mine-notes", "namespace": database.namespace},
    }
    apply(other)
    database.delete()
    eventually("everything is gone", lambda: left(database) == [])
    assert get("configmap", "mine-notes", database.namespace)
