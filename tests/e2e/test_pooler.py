"""The connection pooler: the scenario, and what it does not show."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from cluster import ParadeDB, eventually, find, get, scenario

Make = Callable[[str], ParadeDB]
POOLING = {"enabled": True, "replicas": 1}
USERS = [{"name": "app", "databases": ["paradedb"]}]


# 200 clients on a busy machine say more of the machine than of the pooler.
@pytest.mark.alone
def test_the_scenario() -> None:
    scenario("pooler")


def uri_of(database: ParadeDB, user: str) -> str:
    """The user's connection string, through the pooler."""
    secret = get("secret", f"{database.name}-{user}", database.namespace)
    assert secret
    uri = base64.b64decode(secret["data"]["uri"]).decode()
    assert f"@{database.name}." in uri
    return uri.replace(f"@{database.name}.", f"@{database.name}-pooler.")


def pods(database: ParadeDB) -> list[str]:
    selector = f"app.kubernetes.io/instance={database.name},app.kubernetes.io/component=pooler"
    return [item["metadata"]["name"] for item in find("pods", database.namespace, selector)]


def wait_for_reason(database: ParadeDB, reason: str) -> None:
    eventually(
        f"PoolerReady says {reason}", lambda: database.condition("PoolerReady").get("reason") == reason
    )


def test_without_encryption_asleep_and_with_an_image_that_is_not_there(make: Make) -> None:
    database = make("pooled").apply(connectionPooling=POOLING, auth={"users": USERS})
    database.wait_running()
    wait_for_reason(database, "PoolerRunning")
    assert database.status()["poolerEndpoint"] == f"pooled-pooler.{database.namespace}.svc:5432"
    uri = uri_of(database, "app")
    eventually("the user is let in", lambda: database.sql("SELECT current_user", uri, check=False) == "app")

    database.patch({"connectionPooling": {"image": "localhost/not-there:1"}})
    wait_for_reason(database, "PoolerImagePullFailed")
    assert "spec.connectionPooling.image" in database.condition("PoolerReady")["message"]
    assert database.sql("SELECT current_user", uri) == "app"  # the pod of before serves on
    database.patch({"connectionPooling": {"image": None}})
    wait_for_reason(database, "PoolerRunning")

    database.patch({"hibernate": True})
    wait_for_reason(database, "PoolerHibernated")
    eventually("no pooler runs", lambda: not pods(database))
    database.patch({"hibernate": False})
    wait_for_reason(database, "PoolerRunning")
    eventually("the user is let in", lambda: database.sql("SELECT current_user", uri, check=False) == "app")
