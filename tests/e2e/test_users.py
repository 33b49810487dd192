"""Users, databases and their privileges: the molecule scenario, and what stands in the way of some."""

from __future__ import annotations

import base64
from typing import Any

from cluster import ParadeDB, apply, eventually, get, kubectl, scenario


def test_the_scenario() -> None:
    scenario("users")


def as_superuser(database: ParadeDB, statement: str, where: str = "postgres") -> str:
    """Over the pod's own socket."""
    command = ("exec", f"{database.name}-0", "-c", "paradedb", "--", "psql", "-X", "-A", "-t", "-d", where)
    return kubectl("-n", database.namespace, *command, "-c", statement).stdout.strip()


def uri(database: ParadeDB, user: str) -> str:
    found = get("secret", f"{database.name}-{user}", database.namespace)
    assert found
    return base64.b64decode(found["data"]["uri"]).decode()


def test_what_stands_in_the_way_of_one_user_stops_no_other(running: ParadeDB) -> None:
    """A role that is taken, an extension that is not there, an owner who sets traps for the superuser."""
    as_superuser(running, "CREATE ROLE boss SUPERUSER; CREATE ROLE guest LOGIN PASSWORD 'as before'")
    wanted: dict[str, Any] = {
        "auth": {"users": [{"name": "boss"}, {"name": "web"}]},
        "databases": [{"name": "wiki", "owner": "web", "extensions": ["no_such", "hstore"]}],
    }
    running.patch(wanted)
    eventually("it is told", lambda: running.condition("UsersReady").get("status") == "False")
    told = running.condition("UsersReady")
    assert told["reason"] == "RoleTaken"
    assert "spec.auth.users[0]: there is a superuser" in told["message"]
    assert "spec.databases[0].extensions: no_such: the image does not have it" in told["message"]
    assert (
        as_superuser(running, "SELECT extname FROM pg_extension WHERE extname = 'hstore'", "wiki") == "hstore"
    )
    assert running.sql("SELECT current_user", uri=uri(running, "web")) == "web"
    # Whom there was before the first user is not locked out.
    assert running.sql("SELECT current_user", uri=of_before(running, "guest")) == "guest"

    for setting in ("role = web", "search_path = public", "statement_timeout = 1", "exit_on_error = on"):
        running.sql(f"ALTER DATABASE wiki SET {setting}", uri=wiki(running))
    as_superuser(running, "DROP ROLE boss")
    wanted["databases"][0]["extensions"] = ["hstore", "citext"]
    running.patch(wanted)
    running.wait_running()
    eventually("all is as declared", lambda: running.condition("UsersReady").get("status") == "True")
    owned = "SELECT extowner::regrole FROM pg_extension WHERE extname = 'citext'"
    options = "-c statement_timeout=0 -c role=none -c exit_on_error=off"
    command = ("exec", f"{running.name}-0", "-c", "paradedb", "--", "env", f"PGOPTIONS={options}")
    done = kubectl("-n", running.namespace, *command, "psql", "-X", "-A", "-t", "-d", "wiki", "-c", owned)
    assert done.stdout.strip() == "postgres"


def test_what_was_there_is_not_taken_from_its_owner(running: ParadeDB) -> None:
    """A role with its password and a database of it, both made in SQL and then named in the spec."""
    as_superuser(running, "CREATE ROLE elder LOGIN PASSWORD 'as before'")
    as_superuser(running, "CREATE DATABASE archive OWNER elder")
    wanted: dict[str, Any] = {
        "auth": {"users": [{"name": "web"}, {"name": "elder"}]},
        "databases": [{"name": "archive"}],
    }
    running.patch(wanted)
    eventually("it is told", lambda: running.condition("UsersReady").get("reason") == "RoleExists")
    assert "spec.auth.users[1]: role elder exists" in running.condition("UsersReady")["message"]
    archive = of_before(running, "elder").rpartition("/")[0] + "/archive"
    assert running.sql("CREATE TABLE page (a int); SELECT current_user", uri=archive).endswith("elder")

    metadata = {"name": "elders", "namespace": running.namespace}
    apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"password": "as before"}}
    )
    wanted["auth"]["users"][1]["secretRef"] = {"name": "elders"}
    running.patch(wanted)
    eventually("it is handed over", lambda: running.condition("UsersReady").get("status") == "True")
    assert running.sql("SELECT current_user", uri=archive) == "elder"
    owner = "SELECT datdba::regrole FROM pg_database WHERE datname = 'archive'"
    assert as_superuser(running, owner) == "elder"


def of_before(database: ParadeDB, role: str) -> str:
    """The address of a role that a test made in SQL."""
    host, _slash, path = uri(database, "web").rpartition("@")[2].partition("/")
    return f"postgresql://{role}:as%20before@{host}/{path}"


def wiki(database: ParadeDB) -> str:
    return uri(database, "web").rpartition("/")[0] + "/wiki"
