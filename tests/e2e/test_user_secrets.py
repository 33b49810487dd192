"""The Secrets of users: made, mended and refused, each for itself."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

import pytest
from cluster import ParadeDB, apply, eventually, get, kubectl


def secret(database: ParadeDB, name: str, **values: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": database.namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}


def values(database: ParadeDB, name: str) -> dict[str, str]:
    found = get("secret", name, database.namespace) or {"data": {}}
    return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}


def who(database: ParadeDB, uri: str) -> str:
    """Whom the connection string signs in; what psql says when it does not."""
    return database.sql("SELECT current_user", uri=uri, check=False)


def trouble(database: ParadeDB, reason: str) -> str:
    """Wait until UsersReady is False for the reason; its message."""

    def found() -> str:
        told = database.condition("UsersReady")
        return told["message"] if (told.get("status"), told.get("reason")) == ("False", reason) else ""

    return str(eventually(f"UsersReady says {reason}", found))


def is_well(database: ParadeDB) -> bool:
    return database.condition("UsersReady").get("status") == "True"


PASSWORD = 'it\'s a \\ "pass:word" \u00fcn\u00efcode pa\u0308ss {{ 7*7 }} $HOME'
USERS: list[dict[str, Any]] = [{"name": "shop"}, {"name": "report", "secretRef": {"name": "reporting"}}]


@pytest.fixture
def staffed(running: ParadeDB) -> ParadeDB:
    """A database with one user of each kind: with a Secret that is made, and with one of his own."""
    apply(secret(running, "reporting", username="report", password=PASSWORD))
    running.patch({"auth": {"users": USERS}})
    running.wait_running()
    eventually("the users are there", lambda: is_well(running))
    return running


def uri_of(database: ParadeDB, user: str = "shop", password: str = "") -> str:
    """The generated Secret's connection string, or the same for another user."""
    held = values(database, f"{database.name}-shop")
    other = f"{user}:{quote(password, safe='')}@"
    return held["uri"].replace(f"shop:{held['password']}@", other) if password else held["uri"]


def test_each_user_signs_in_with_what_the_secret_says(staffed: ParadeDB) -> None:
    assert who(staffed, uri_of(staffed)) == "shop"
    assert who(staffed, uri_of(staffed, "report", PASSWORD)) == "report"
    told = {user["name"]: user["secretName"] for user in staffed.status()["users"]}
    assert told == {"shop": f"{staffed.name}-shop", "report": "reporting"}
    own = get("secret", "reporting", staffed.namespace)
    assert own
    assert "ownerReferences" not in own["metadata"]
    assert own["data"].keys() == {"username", "password"}


def test_a_user_whose_secret_is_missing_holds_nobody_up(staffed: ParadeDB) -> None:
    late = {"name": "late", "secretRef": {"name": "lateness"}}
    staffed.patch({"auth": {"users": [late, *USERS, {"name": "next"}]}})
    message = trouble(staffed, "SecretNotFound")
    assert "spec.auth.users[0].secretRef: there is no Secret 'lateness'" in message
    assert staffed.status()["phase"] == "Running"
    assert who(staffed, values(staffed, f"{staffed.name}-next")["uri"]) == "next"
    apply(secret(staffed, "lateness", password="x"))
    eventually("the Secret is found", lambda: is_well(staffed))
    assert who(staffed, uri_of(staffed, "late", "x")) == "late"


def test_a_secret_that_turns_bad_leaves_the_role_as_it_is(staffed: ParadeDB) -> None:
    apply(secret(staffed, "reporting", username="report", password="two\nlines"))
    assert "must be one line" in trouble(staffed, "InvalidSecret")
    assert who(staffed, uri_of(staffed, "report", PASSWORD)) == "report"
    apply(secret(staffed, "reporting", username="report", password="better"))
    eventually("the Secret is good again", lambda: is_well(staffed))
    assert who(staffed, uri_of(staffed, "report", "better")) == "report"


def test_a_deleted_secret_is_made_with_a_new_password(staffed: ParadeDB) -> None:
    before, name = uri_of(staffed), f"{staffed.name}-shop"
    kubectl("-n", staffed.namespace, "delete", "secret", name)
    eventually("the Secret is made anew", lambda: values(staffed, name).get("uri"))
    eventually("the new password is in effect", lambda: who(staffed, uri_of(staffed)) == "shop")
    assert "password authentication failed" in who(staffed, before)


def test_a_namesake_is_not_taken_over(staffed: ParadeDB) -> None:
    name = f"{staffed.name}-extra"
    apply(secret(staffed, name, password="theirs"))
    staffed.patch({"auth": {"users": [*USERS, {"name": "extra"}]}})
    assert f"the Secret '{name}' belongs to something else" in trouble(staffed, "NameTaken")
    assert values(staffed, name) == {"password": "theirs"}
    staffed.patch({"auth": {"users": [*USERS, {"name": "extra", "secretRef": {"name": name}}]}})
    eventually("the user has a Secret", lambda: is_well(staffed))
    assert who(staffed, uri_of(staffed, "extra", "theirs")) == "extra"


def test_a_generated_secret_that_is_named_stays(staffed: ParadeDB) -> None:
    name, uri = f"{staffed.name}-shop", uri_of(staffed)
    staffed.patch({"auth": {"users": [{"name": "shop", "secretRef": {"name": name}}]}})

    def is_given_away() -> bool:
        metadata = (get("secret", name, staffed.namespace) or {"metadata": {"labels": "gone"}})["metadata"]
        return not metadata.get("labels") and not metadata.get("ownerReferences")

    eventually("the Secret is given away", is_given_away)
    assert who(staffed, uri) == "shop"
    staffed.patch({"auth": {"users": []}})
    eventually("the user is out", lambda: "FATAL" in who(staffed, uri))
    assert is_given_away()
    assert values(staffed, name)["uri"] == uri
    kubectl(
        "-n", staffed.namespace, "delete", "secret", name
    )  # or the next test's user could have none of its own


def test_the_secret_goes_with_the_user(staffed: ParadeDB) -> None:
    uri = uri_of(staffed)
    staffed.patch({"auth": {"users": []}})
    staffed.wait_running()
    eventually("the Secret is gone", lambda: not get("secret", f"{staffed.name}-shop", staffed.namespace))
    eventually("the user is out", lambda: "FATAL" in who(staffed, uri))
    assert values(staffed, "reporting") == {"username": "report", "password": PASSWORD}
