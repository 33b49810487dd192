"""A new image brings new versions of extensions into every database."""

from __future__ import annotations

from collections.abc import Callable

from cluster import IMAGE, OTHER_IMAGE, ParadeDB, eventually

Make = Callable[[str], ParadeDB]
VERSION = "SELECT probe_version() || ' ' || extversion FROM pg_extension WHERE extname = 'paradedb_probe'"


def ask(database: ParadeDB, statement: str, name: str) -> str:
    """A statement in another database."""
    server, _slash, _database = database.secret()["uri"].rpartition("/")
    return database.sql(statement, uri=f"{server}/{name}")


def versions(database: ParadeDB) -> set[str]:
    return {ask(database, VERSION, name) for name in ("postgres", "template1", "second")}


def current(database: ParadeDB) -> str:
    """Status and reason of the condition."""
    condition = database.condition("ExtensionsCurrent")
    return f"{condition.get('status')} {condition.get('reason')}"


def test_extensions_follow_the_image(make: Make) -> None:
    extensions = {"pgVector": True, "pgSearch": False, "additional": ["paradedb_probe"]}
    database = make("updates").apply(extensions=extensions)
    database.wait_running()
    assert current(database) == "True ExtensionsCurrent"
    database.sql("CREATE DATABASE second")
    for name in ("postgres", "template1", "second"):
        ask(database, "CREATE EXTENSION paradedb_probe", name)
    assert {*versions(database), database.sql(VERSION)} == {"1.0 1.0"}

    database.patch({"image": OTHER_IMAGE})
    database.wait_running()
    assert {*versions(database), database.sql(VERSION)} == {"1.1 1.1"}
    assert current(database) == "True ExtensionsCurrent"
    assert ask(database, "SELECT count(*) FROM pg_extension WHERE extname = 'citext'", "second") == "1"
    database.sql("CREATE DATABASE later")
    assert ask(database, VERSION, "later") == "1.1 1.1"

    # An image of before: what is newer than it stays, and is told.
    database.patch({"image": IMAGE})
    database.wait_running()
    eventually("the skew is told", lambda: current(database) == "False VersionSkew")
    message = database.condition("ExtensionsCurrent")["message"]
    assert "database second: extension paradedb_probe is 1.1, the image has 1.0" in message
    assert "VersionSkew" in [event["reason"] for event in database.events()]
    assert versions(database) == {"1.1 1.1"}

    database.patch({"image": OTHER_IMAGE})
    database.wait_running()
    eventually("the skew is over", lambda: current(database) == "True ExtensionsCurrent")


def test_replicas_and_primary_are_on_the_new_image_before_extensions_change(make: Make) -> None:
    extensions = {"pgVector": True, "pgSearch": False, "additional": ["paradedb_probe"]}
    database = make("pair").apply(replicas=2, extensions=extensions)
    database.wait_running(180)
    database.patch({"image": OTHER_IMAGE})

    def updated() -> bool:
        """Whether the update is done; at that moment both pods must run the new image."""
        if database.sql(VERSION, check=False) != "1.1 1.1":
            return False
        pods = [database.pod(ordinal) for ordinal in range(2)]
        images = {pod["spec"]["containers"][0]["image"] for pod in pods if pod}
        assert images == {OTHER_IMAGE}
        return True

    eventually("the extension is updated", updated, 180)
    database.wait_running()
    assert current(database) == "True ExtensionsCurrent"
