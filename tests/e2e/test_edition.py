"""Standbys only where the edition has them. The image has a stand-in of pg_search's name and version."""

from __future__ import annotations

from collections.abc import Callable

from cluster import ParadeDB, eventually, find

Make = Callable[[str], ParadeDB]
SEARCH_IMAGE = "localhost/paradedb-test:17-search"


def instances(database: ParadeDB) -> list[str]:
    labels = f"app.kubernetes.io/instance={database.name},app.kubernetes.io/component=database"
    return sorted(item["metadata"]["name"] for item in find("pods", database.namespace, labels))


def limited(database: ParadeDB) -> str:
    condition = database.condition("ReplicasLimited")
    return f"{condition.get('status')} {condition.get('reason')}"


def test_community_stays_at_one_instance_until_told_otherwise(make: Make) -> None:
    extensions = {"pgVector": True, "pgSearch": True}
    database = make("search").apply(image=SEARCH_IMAGE, replicas=2, extensions=extensions)
    database.wait_running()
    assert database.sql("SELECT extversion FROM pg_extension WHERE extname = 'pg_search'") == "0.25.3"
    assert instances(database) == ["search-0"]
    assert limited(database) == "True CommunityStandbyUnsupported"
    message = database.condition("ReplicasLimited")["message"]
    assert "6007" in message
    assert "HeapOnly" in message
    (event,) = [item for item in database.events() if item["reason"] == "ReplicasLimited"]
    assert event["message"] == message
    assert event["type"] == "Warning"

    database.patch({"edition": "Enterprise"})
    database.wait_running(180)
    assert instances(database) == ["search-0", "search-1"]
    assert limited(database) == "False NotLimited"

    database.patch({"edition": "Community"})
    eventually("one instance is left", lambda: instances(database) == ["search-0"], 180)
    database.wait_running()
    assert limited(database) == "True CommunityStandbyUnsupported"

    database.patch({"replication": {"communityStandby": "HeapOnly"}})
    database.wait_running(180)
    assert instances(database) == ["search-0", "search-1"]
    assert limited(database) == "False NotLimited"


def test_an_image_without_pg_search_is_not_limited(make: Make) -> None:
    database = make("plain").apply(replicas=2, edition="Community")
    database.wait_running(180)
    assert instances(database) == ["plain-0", "plain-1"]
    assert limited(database) == "False NotLimited"
