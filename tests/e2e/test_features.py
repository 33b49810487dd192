"""All optional parts at once: a second pass changes nothing; off means gone, on again means back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cluster import IMAGE, ParadeDB, eventually, make_pass, versions

USERS = {"users": [{"name": "app", "databases": ["shop"], "privileges": ["CONNECT", "TEMPORARY"]}]}
ON = {
    "connectionPooling": {"enabled": True, "replicas": 1},
    "monitoring": {"enabled": True, "image": IMAGE},
    "networkPolicy": {"enabled": True},
    "auth": USERS,
    "databases": [{"name": "shop", "extensions": ["pg_trgm"]}],
}
OFF = {
    "connectionPooling": {"enabled": False},
    "monitoring": {"enabled": False},
    "networkPolicy": {"enabled": False},
    "auth": {"users": None},
    "databases": None,
}
CONDITIONS = ("PoolerReady", "MonitoringReady", "UsersReady")


def wait_for_all(database: ParadeDB) -> None:
    database.wait_running()
    for kind in CONDITIONS:
        eventually(f"{kind} is True", lambda kind=kind: database.condition(kind).get("status") == "True")


def names(database: ParadeDB) -> set[str]:
    return set(versions(database))


def test_off_is_gone_and_on_is_back(make: Callable[[str], ParadeDB], tmp_path: Path) -> None:
    database = make("whole").apply()
    database.wait_running()
    bare = names(database)

    database.patch(ON)
    wait_for_all(database)
    before = versions(database)
    assert len(before) >= len(bare) + 8
    assert "changed=0" in make_pass(database, str(tmp_path))
    assert versions(database) == before
    assert database.status()["poolerEndpoint"] == f"whole-pooler.{database.namespace}.svc:5432"

    database.patch(OFF)
    database.wait_running()
    assert names(database) == bare
    assert not any(database.condition(kind) for kind in CONDITIONS)
    assert "poolerEndpoint" not in database.status()
    # What was made for a user who is gone stays.
    assert database.sql("SELECT datname FROM pg_database WHERE datname = 'shop'") == "shop"

    database.patch(ON)
    wait_for_all(database)
    assert names(database) == set(before)
