"""Users, databases and their privileges, brought about by the SQL program on a real server."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import access, database
from ansible_collections.paradedb.db.plugins.module_utils.scram import verifier

from .fake_kube import FakeKube
from .private_postgres import PrivatePostgres
from .test_database import HOSTILE_NAMES, kube, reconcile, secret  # noqa: F401  the fixture

Spec = dict[str, Any]

# As after initdb: only template1 differs from the default.
_AS_NEW = """
SELECT format('DROP SCHEMA %I CASCADE', nspname) FROM pg_namespace WHERE nspname LIKE 'paradedb\\_%'
\\gexec
SELECT format('ALTER DATABASE %I OWNER TO postgres', datname) FROM pg_database WHERE datdba <> 10
\\gexec
SELECT format('DROP DATABASE %I (FORCE)', datname) FROM pg_database
WHERE NOT datistemplate AND datname <> 'postgres'
\\gexec
SELECT format('DROP OWNED BY %I', rolname), format('DROP ROLE %I', rolname) FROM pg_roles
WHERE rolname NOT LIKE 'pg\\_%' AND rolname <> 'postgres' ORDER BY rolname
\\gexec
UPDATE pg_database SET datacl = NULL WHERE datname = 'postgres';
UPDATE pg_database SET datacl = '{=c/postgres,postgres=CTc/postgres}' WHERE datname = 'template1';
\\q
"""


@pytest.fixture
def server(kube: FakeKube, postgres: PrivatePostgres) -> Iterator[FakeKube]:  # noqa: F811
    """The private server as the one pod of a cluster, with Secrets of users; without roles afterwards."""
    for name in ("anna", "ben", "carl"):
        kube.put(secret(f"{name}-secret", password=f"{name}'s secret"))
    yield kube
    # A pass would otherwise try to end the sessions of a test that is over.
    code, _output, errors = postgres.execute(
        ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-"], _AS_NEW
    )
    assert code == 0, errors


def user(name: str, *databases: str, privileges: list[str] | None = None, of: str = "") -> Spec:
    return {
        "name": name,
        "secretRef": {"name": f"{of or name}-secret"},
        **({"databases": list(databases)} if databases else {}),
        **({"privileges": privileges} if privileges else {}),
    }


def spec(*users: Spec, databases: list[Spec] | None = None, **more: Any) -> Spec:
    return {
        "auth": {"database": "app", "users": list(users)},
        "databases": databases or [],
        "extensions": {"pgSearch": False},
        "storage": {"size": "1Gi"},
        **more,
    }


def allowed(postgres: PrivatePostgres, role: str) -> dict[str, str]:
    """What a role may do with each database where it may do anything: letters as in an ACL."""
    query = f"""
        SELECT json_object_agg(datname, may) FROM (
          SELECT datname, concat(CASE WHEN has_database_privilege('{role}', oid, 'CREATE') THEN 'C' END,
                                 CASE WHEN has_database_privilege('{role}', oid, 'TEMPORARY') THEN 'T' END,
                                 CASE WHEN has_database_privilege('{role}', oid, 'CONNECT') THEN 'c' END)
                 AS may
          FROM pg_database WHERE datname <> 'template0') AS found WHERE may <> ''"""  # noqa: S608
    return json.loads(postgres.query(query) or "null") or {}


def ready(result: dict[str, Any]) -> dict[str, Any]:
    return next(item for item in result["checks"] if item["type"] == "UsersReady")


def role(postgres: PrivatePostgres, name: str) -> dict[str, Any]:
    query = f"SELECT row_to_json(a) FROM pg_authid AS a WHERE rolname = '{name}'"  # noqa: S608
    return json.loads(postgres.query(query) or "{}")


def settle(server: FakeKube, wanted: Spec) -> dict[str, Any]:
    """A pass, and a second one that finds nothing to do."""
    first = reconcile(server, wanted)
    server.commands.clear()
    second = reconcile(server, wanted)
    assert second["changes"] == []
    assert ready(second) == ready(first)
    return first


TWO = spec(
    user("anna"),
    user("ben", "app", "reports", privileges=["CONNECT", "CREATE", "TEMP"]),
    databases=[{"name": "wiki", "owner": "anna"}],
)


def test_users_get_what_is_declared_and_nothing_more(server: FakeKube, postgres: PrivatePostgres) -> None:
    first = settle(server, TWO)
    assert ready(first) == {"type": "UsersReady", "ok": True, "reason": "AsDeclared", "message": ""}
    assert len(server.commands) == 1
    assert allowed(postgres, "anna") == {"app": "c", "wiki": "CTc"}
    assert allowed(postgres, "ben") == {"app": "CTc", "reports": "CTc"}
    assert role(postgres, "anna")["rolpassword"] == verifier("anna's secret", "uid-1/anna")
    assert {"create role anna", "create database wiki", "make role anna the owner of database wiki"} <= {
        *first["changes"]
    }
    settle(
        server,
        spec(
            user("anna", "reports", privileges=["ALL"]), user("ben", "postgres"), databases=TWO["databases"]
        ),
    )
    assert allowed(postgres, "anna") == {"reports": "CTc", "wiki": "CTc"}
    assert allowed(postgres, "ben") == {"postgres": "c"}


def owner_of(postgres: PrivatePostgres, name: str) -> str:
    return postgres.query(f"SELECT datdba::regrole FROM pg_database WHERE datname = '{name}'")  # noqa: S608


def test_without_an_owner_in_the_spec_a_database_keeps_its_own(
    server: FakeKube, postgres: PrivatePostgres
) -> None:
    reconcile(server, spec())
    postgres.query("CREATE ROLE elder LOGIN")
    postgres.query("CREATE DATABASE archive OWNER elder")
    settle(server, spec(user("anna", "archive"), databases=[{"name": "archive"}, {"name": "wiki"}]))
    assert (owner_of(postgres, "archive"), owner_of(postgres, "wiki")) == ("elder", "postgres")
    assert allowed(postgres, "elder")["archive"] == "CTc"
    assert allowed(postgres, "anna") == {"archive": "c"}
    settle(server, TWO)
    settle(server, spec(user("anna"), databases=[{"name": "wiki"}]))
    assert owner_of(postgres, "wiki") == "anna"


def test_without_users_and_databases_nothing_is_closed(server: FakeKube, postgres: PrivatePostgres) -> None:
    found = reconcile(server, spec())
    assert "UsersReady" not in {item["type"] for item in found["checks"]}
    assert (
        postgres.query("SELECT count(*) FROM pg_database WHERE datacl IS NOT NULL AND NOT datistemplate")
        == "0"
    )
    assert role(postgres, "paradedb_users") == {}


def test_roles_that_were_there_keep_what_they_had(server: FakeKube, postgres: PrivatePostgres) -> None:
    reconcile(server, spec())
    postgres.query(
        "CREATE ROLE elder LOGIN; CREATE ROLE elders; REVOKE TEMPORARY ON DATABASE app FROM PUBLIC"
    )
    settle(server, TWO)
    postgres.query("CREATE ROLE later LOGIN")
    settle(server, TWO)
    kept = {"app": "c", "postgres": "Tc", "template1": "c", "wiki": "Tc", "reports": "Tc"}
    assert allowed(postgres, "elder") == allowed(postgres, "elders") == kept
    assert allowed(postgres, "later") == {}


def test_every_pass_takes_what_is_too_much(server: FakeKube, postgres: PrivatePostgres) -> None:
    settle(server, TWO)
    postgres.query("CREATE ROLE alien LOGIN")
    postgres.query("GRANT ALL ON DATABASE wiki TO PUBLIC, ben, paradedb_users", "wiki", "anna")
    postgres.query("GRANT CONNECT ON DATABASE wiki TO alien WITH GRANT OPTION", "wiki", "anna")
    postgres.query("GRANT CONNECT ON DATABASE wiki TO ben, PUBLIC", "wiki", "alien")
    postgres.query(
        "GRANT CONNECT ON DATABASE app TO ben WITH GRANT OPTION; GRANT CONNECT ON DATABASE postgres TO anna"
    )
    postgres.query("GRANT CONNECT ON DATABASE app TO PUBLIC, anna, alien", "app", "ben")
    postgres.query("REVOKE CONNECT ON DATABASE app FROM anna")
    postgres.query("ALTER ROLE ben SUPERUSER CREATEDB CREATEROLE REPLICATION BYPASSRLS")
    postgres.query("ALTER ROLE anna PASSWORD 'her own'", "wiki", "anna")
    settle(server, TWO)
    assert allowed(postgres, "anna") == {"app": "c", "wiki": "CTc"}
    assert allowed(postgres, "ben") == {"app": "CTc", "reports": "CTc"}
    assert allowed(postgres, "paradedb_users") == {}
    assert allowed(postgres, "alien") == {"wiki": "CTc"}  # through PUBLIC, when that was taken away
    made = role(postgres, "ben")
    assert not any(
        made[f"rol{name}"] for name in ("super", "createdb", "createrole", "replication", "bypassrls")
    )
    assert role(postgres, "anna")["rolpassword"] == verifier("anna's secret", "uid-1/anna")


def test_the_owners_own_privileges_are_the_owners_affair(server: FakeKube, postgres: PrivatePostgres) -> None:
    settle(server, TWO)
    postgres.query("REVOKE TEMPORARY ON DATABASE wiki FROM anna", "wiki", "anna")
    settle(server, TWO)
    assert allowed(postgres, "anna") == {"app": "c", "wiki": "Cc"}


def test_an_owner_changes(server: FakeKube, postgres: PrivatePostgres) -> None:
    settle(server, TWO)
    users = (user("anna", "wiki"), user("ben"))
    settle(server, spec(*users, databases=[{"name": "wiki", "owner": "ben"}]))
    assert allowed(postgres, "anna") == {"wiki": "c"}
    assert allowed(postgres, "ben") == {"app": "c", "wiki": "CTc"}


def test_the_group_gives_nothing(server: FakeKube, postgres: PrivatePostgres) -> None:
    settle(server, TWO)
    memberships = "FROM pg_auth_members WHERE roleid = 'paradedb_users'::regrole"
    members = f"SELECT string_agg(member::regrole::text, ' ' ORDER BY 1) {memberships}"
    assert postgres.query(members) == "anna ben"
    if postgres.version >= 16:
        options = f"SELECT bool_or(admin_option OR inherit_option OR set_option) {memberships}"
        assert postgres.query(options) == "f"
    postgres.query("ALTER ROLE paradedb_users LOGIN CREATEROLE PASSWORD 'x'")
    settle(server, TWO)
    group = role(postgres, "paradedb_users")
    assert (group["rolcanlogin"], group["rolcreaterole"], group["rolpassword"]) == (False, False, None)


def open_session(postgres: PrivatePostgres, name: str, where: str) -> subprocess.Popen[str]:
    """A session that does nothing, once it is there."""
    process = subprocess.Popen(
        [postgres.binaries / "psql", "-X", "-A", "-t", "-q", "-U", name, "-d", where],
        env=postgres.environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    process.stdin.write("SELECT 'there';\n")
    process.stdin.flush()
    assert process.stdout.readline() == "there\n"
    return process


def hold(postgres: PrivatePostgres, name: str, where: str, statements: str) -> subprocess.Popen[str]:
    """A session that has done something in a transaction and does not end that."""
    session = open_session(postgres, name, where)
    assert session.stdin
    assert session.stdout
    session.stdin.write(f"BEGIN; {statements}; SELECT 'held';\n")
    session.stdin.flush()
    assert session.stdout.readline() == "held\n"
    return session


def ask(process: subprocess.Popen[str]) -> str:
    """What a session answers: nothing when it was ended."""
    assert process.stdin
    assert process.stdout
    try:
        process.stdin.write("SELECT 'still there';\n")
        process.stdin.flush()
    except BrokenPipeError:
        return ""
    return process.stdout.readline().strip()


def close(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        process.communicate()


def test_a_user_taken_out_is_locked_out_and_put_back(server: FakeKube, postgres: PrivatePostgres) -> None:
    settle(server, TWO)
    postgres.query("CREATE TABLE public.page (a int)", "wiki", "anna")
    sessions = [
        open_session(postgres, name, where)
        for name, where in (("anna", "wiki"), ("anna", "app"), ("ben", "app"))
    ]
    first = settle(server, spec(user("ben", "reports"), databases=[{"name": "wiki"}]))
    assert "take the login of role anna" in first["changes"]
    assert "end the sessions of role anna" in first["changes"]
    assert [ask(session) for session in sessions] == ["", "", ""]  # ben may not connect to app any more
    close(*sessions)
    made = role(postgres, "anna")
    assert (made["rolcanlogin"], made["rolpassword"]) == (False, None)
    assert allowed(postgres, "anna") == {"wiki": "CTc"}  # still the owner, and cannot sign in
    assert postgres.query("SELECT relowner::regrole FROM pg_class WHERE relname = 'page'", "wiki") == "anna"
    settle(server, TWO)
    assert allowed(postgres, "anna") == {"app": "c", "wiki": "CTc"}
    session = open_session(postgres, "anna", "wiki")
    settle(server, TWO)
    assert ask(session) == "still there"
    close(session)


def test_a_role_that_became_a_superuser_is_told_of_when_it_leaves(
    server: FakeKube, postgres: PrivatePostgres
) -> None:
    settle(server, TWO)
    postgres.query("ALTER ROLE anna SUPERUSER")
    left = spec(user("ben"))
    check = ready(settle(server, left))
    assert (check["ok"], check["reason"]) == (False, "RoleTaken")
    assert check["message"].startswith("role anna: it is in the spec no longer, but ")
    for way in ("ALTER ROLE anna NOSUPERUSER NOREPLICATION", "REVOKE paradedb_users FROM anna"):
        assert way in check["message"]
    postgres.query("ALTER ROLE anna NOSUPERUSER NOREPLICATION")
    assert ready(settle(server, left))["ok"]
    assert not role(postgres, "anna")["rolcanlogin"]


def test_the_last_user_is_taken_out_too(server: FakeKube, postgres: PrivatePostgres) -> None:
    settle(server, spec(user("anna", "wiki")))
    found = reconcile(server, spec())
    assert "take the login of role anna" in found["changes"]
    assert allowed(postgres, "anna") == {}
    assert reconcile(server, spec())["changes"] == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("CREATE ROLE anna SUPERUSER LOGIN", "superuser or a replication role"),
        ("CREATE ROLE anna REPLICATION", "superuser or a replication role"),
        ("CREATE ROLE paradedb_users", "a role paradedb_users that the operator did not make"),
        ("CREATE ROLE paradedb_users; CREATE ROLE victim LOGIN IN ROLE paradedb_users", "did not make"),
    ],
)
def test_a_role_of_somebody_else_is_not_taken(
    server: FakeKube, postgres: PrivatePostgres, given: str, words: str
) -> None:
    postgres.query(given)
    before = postgres.query("SELECT json_agg(a ORDER BY oid) FROM pg_authid AS a WHERE rolname <> 'postgres'")
    found = reconcile(server, spec(user("anna")))
    check = ready(found)
    assert (check["ok"], check["reason"]) == (False, "RoleTaken")
    assert check["message"].startswith("spec.auth.users[0]: there is a ")
    assert words in check["message"]
    after = postgres.query("SELECT json_agg(a ORDER BY oid) FROM pg_authid AS a WHERE rolname <> 'postgres'")
    if "paradedb_users" in given:
        assert after == before
    assert reconcile(server, spec(user("anna")))["changes"] == []


@pytest.mark.parametrize(
    "name", ["postgres", "paradedb_rewind", "paradedb_exporter", "paradedb_users", "public", "none", "pg_x"]
)
def test_names_that_are_nobodys_stop_no_other_user(
    server: FakeKube, postgres: PrivatePostgres, name: str
) -> None:
    found = settle(server, spec(user(name, of="anna"), user("ben")))
    assert not ready(found)["ok"]
    assert ready(found)["message"].startswith("spec.auth.users[0]: ")
    assert "spec.auth.users[1]" not in ready(found)["message"]
    assert allowed(postgres, "ben") == {"app": "c"}
    assert role(postgres, "postgres")["rolsuper"]
    assert (
        postgres.query(
            "SELECT count(*) FROM pg_database, aclexplode(datacl) WHERE grantee = 0 AND datname = 'app'"
        )
        == "0"
    )


LONG = ["a" * 63, "\u00fc" * 31 + "x"]  # 63 bytes


def test_any_name_is_only_a_name(server: FakeKube, postgres: PrivatePostgres) -> None:
    names = [*HOSTILE_NAMES, *LONG]
    users = [user(name, name, "app", of="ben") for name in names]
    databases = [{"name": name, "owner": name, "extensions": ["hstore"]} for name in names]
    settle(server, spec(user("anna"), *users, databases=databases))
    found = json.loads(postgres.query("SELECT json_agg(rolname) FROM pg_roles WHERE rolname !~ '^pg_'"))
    assert sorted(found) == sorted(["postgres", "paradedb_users", "anna", *names])
    owned = json.loads(
        postgres.query(
            "SELECT json_object_agg(datname, rolname) FROM pg_database JOIN pg_roles AS r ON r.oid = datdba"
            " WHERE NOT datistemplate"
        )
    )
    assert owned == {"postgres": "postgres", "app": "postgres", **{name: name for name in names}}
    settle(server, spec(user("anna")))
    logins = "SELECT json_agg(rolname ORDER BY rolname) FROM pg_roles WHERE rolcanlogin"
    assert json.loads(postgres.query(logins)) == ["anna", "postgres"]
    assert not (postgres.directory.parent / "paradedb-unit-escaped").exists()


def test_names_that_postgresql_would_cut_are_left_out(server: FakeKube, postgres: PrivatePostgres) -> None:
    long = "a" * 64
    found = settle(server, spec(user(long, of="anna"), user("ben"), databases=[{"name": long}]))
    assert ready(found)["message"] == (
        "spec.auth.users[0]: the name is longer than 63 bytes; shorten it; "
        "spec.databases[0]: the name is longer than 63 bytes; shorten it"
    )
    assert allowed(postgres, "ben") == {"app": "c"}


def test_a_user_without_a_usable_secret_is_left_alone(server: FakeKube, postgres: PrivatePostgres) -> None:
    settle(server, TWO)
    before = role(postgres, "ben")
    del server.objects["Secret", "prod", "ben-secret"]
    new = user("nora", "wiki")
    found = settle(
        server, spec(user("anna"), user("ben", "reports"), new, databases=[{"name": "more", "owner": "nora"}])
    )
    assert role(postgres, "ben") == before
    assert allowed(postgres, "ben") == {"app": "CTc", "reports": "CTc"}
    assert role(postgres, "nora") == {}
    assert ready(found)["message"] == "spec.databases[0].owner: there is no role nora yet"
    assert "more" not in allowed(postgres, "anna")


def test_an_existing_role_is_taken_over(server: FakeKube, postgres: PrivatePostgres) -> None:
    reconcile(server, spec())
    postgres.query("CREATE ROLE anna CREATEDB PASSWORD 'old'; GRANT CREATE ON DATABASE app TO anna")
    found = settle(server, spec(user("anna")))
    assert "take role anna over" in found["changes"]
    assert allowed(postgres, "anna") == {"app": "c"}
    assert role(postgres, "anna")["rolcanlogin"]
    assert not role(postgres, "anna")["rolcreatedb"]


def test_an_existing_role_is_not_given_another_password(server: FakeKube, postgres: PrivatePostgres) -> None:
    """Who signs in with the old one would be locked out: it is handed over with its password."""
    reconcile(server, spec())
    postgres.query("CREATE ROLE anna LOGIN PASSWORD 'old'")
    before = role(postgres, "anna")
    server.put({**own_secret("anna"), "metadata": {**own_secret("anna")["metadata"], "name": "orders-anna"}})
    unasked = spec({"name": "anna"}, user("ben"))
    told = reconcile(server, unasked, check_mode=True)
    found = settle(server, unasked)
    assert {*told["changes"]} == {*found["changes"]}
    assert (
        ready(told)
        == ready(found)
        == {
            "type": "UsersReady",
            "ok": False,
            "reason": "RoleExists",
            "message": "spec.auth.users[0]: role anna exists and was not made by the operator; name a Secret "
            "with its password in secretRef to hand it over",
        }
    )
    assert role(postgres, "anna") == before
    assert allowed(postgres, "anna")["app"] == "Tc"  # as before
    assert allowed(postgres, "ben") == {"app": "c"}
    assert ready(settle(server, spec(user("anna"), user("ben"))))["ok"]
    assert role(postgres, "anna")["rolpassword"] == verifier("anna's secret", "uid-1/anna")
    assert ready(settle(server, unasked))["ok"]  # the operator's by now
    assert role(postgres, "anna")["rolpassword"] == verifier("anna's secret", "uid-1/anna")


def test_closing_a_database_opens_it_to_no_user_through_a_group(
    server: FakeKube, postgres: PrivatePostgres
) -> None:
    settle(server, spec(user("anna")))
    postgres.query("CREATE ROLE devs; CREATE ROLE staff; CREATE ROLE others; GRANT staff TO devs")
    postgres.query("CREATE ROLE elder LOGIN IN ROLE devs; CREATE ROLE peer LOGIN; GRANT devs, peer TO anna")
    settle(server, TWO)
    kept = {"wiki": "Tc", "reports": "Tc"}
    for name in ("elder", "peer", "others"):
        assert kept.items() <= allowed(postgres, name).items()
    for name in ("devs", "staff"):
        assert not kept.keys() & allowed(postgres, name).keys()
    # What anna may as peer is the word of who granted that.
    postgres.query("REVOKE peer FROM anna")
    assert allowed(postgres, "anna") == {"app": "c", "wiki": "CTc"}


def test_check_mode_foretells_all_of_it(server: FakeKube, postgres: PrivatePostgres) -> None:
    wanted = {**TWO, "connectionPooling": {"enabled": True}, "monitoring": {"enabled": True}}
    wanted["databases"] = [{"name": "wiki", "owner": "anna", "extensions": ["hstore", "no_such"]}]
    for name in ("pooler", "exporter"):
        server.put(own_secret(name))
    before = postgres.query("SELECT json_agg(a) FROM pg_authid AS a")
    told = reconcile(server, wanted, check_mode=True)
    assert postgres.query("SELECT json_agg(a) FROM pg_authid AS a") == before
    assert (
        postgres.query("SELECT count(*) FROM pg_database WHERE datacl IS NOT NULL AND NOT datistemplate")
        == "0"
    )
    done = reconcile(server, wanted)
    assert {*told["changes"]} == {*done["changes"]}
    assert (
        ready(told)["message"]
        == ready(done)["message"]
        == ("spec.databases[0].extensions: no_such: the image does not have it")
    )


def own_secret(kind: str) -> dict[str, Any]:
    made = secret(f"orders-{kind}", password=f"{kind}'s secret")
    made["metadata"]["labels"] = {
        "app.kubernetes.io/name": "paradedb",
        "app.kubernetes.io/instance": "orders",
        "app.kubernetes.io/managed-by": "paradedb-operator",
    }
    return made


def test_a_superusers_lock_delays_one_database(server: FakeKube, postgres: PrivatePostgres) -> None:
    settle(server, TWO)
    postgres.query("GRANT CONNECT ON DATABASE wiki TO ben; GRANT CONNECT ON DATABASE reports TO anna")
    session = hold(postgres, "postgres", "wiki", "GRANT CONNECT ON DATABASE wiki TO ben")
    begun = time.monotonic()
    check = ready(reconcile(server, TWO))
    assert time.monotonic() - begun < 10
    assert check["reason"] == "DatabaseFailed"
    assert re.fullmatch(
        r"spec.databases\[0\]: canceling statement due to lock timeout; "
        r"session \d+ of role postgres holds it; end that",
        check["message"],
    )
    assert "reports" not in allowed(postgres, "anna")
    close(session)
    settle(server, TWO)
    assert "wiki" not in allowed(postgres, "ben")


def test_a_user_cannot_hold_back_what_concerns_him(server: FakeKube, postgres: PrivatePostgres) -> None:
    """With a change of his own that he does not commit: not a new password, a revocation, nor his leaving."""
    settle(server, TWO)
    without = spec(user("ben"), databases=[{"name": "wiki"}])
    for wanted, statement in (
        (TWO, "ALTER ROLE anna PASSWORD 'mine'"),
        (TWO, "GRANT CREATE ON DATABASE wiki TO ben"),
        (without, "ALTER ROLE anna PASSWORD 'mine'"),
    ):
        postgres.query("GRANT CONNECT ON DATABASE wiki TO ben")
        session = hold(postgres, "anna", "wiki", statement)
        server.put(secret("anna-secret", password=f"for {statement}"))
        found = reconcile(server, wanted)
        assert ready(found)["ok"], ready(found)
        assert ask(session) == ""
        close(session)
        assert "wiki" not in allowed(postgres, "ben")
    made = role(postgres, "anna")
    assert (made["rolcanlogin"], made["rolpassword"]) == (False, None)


def test_no_secret_of_a_user_is_written_anywhere(server: FakeKube, postgres: PrivatePostgres) -> None:
    """Not even where the statement fails that has it."""
    settle(server, TWO)
    statements = "ALTER ROLE anna SET work_mem = '1MB'; ALTER ROLE anna PASSWORD NULL"
    holder = hold(postgres, "postgres", "wiki", statements)
    server.put(secret("anna-secret", password="the next one"))
    found = reconcile(server, TWO)
    close(holder)
    assert ready(found)["reason"] == "UserFailed"
    settle(server, TWO)
    log = postgres.log.read_text(errors="replace")
    for name, password in (("anna", "anna's secret"), ("anna", "the next one"), ("ben", "ben's secret")):
        made = verifier(password, f"uid-1/{name}")
        for part in (made, made.split("$")[2].split(":")[0], made.split(":")[-1], password):
            assert part not in log
            assert part not in json.dumps(found)
    for _pod, command, _stdin in server.commands:
        assert not any("SCRAM" in part or "secret" in part for part in command)


# Extensions of databases besides the application's


def extensions(postgres: PrivatePostgres, name: str) -> set[str]:
    return {*postgres.query("SELECT extname FROM pg_extension", name).splitlines()}


def test_extensions_of_other_databases_are_created_once(server: FakeKube, postgres: PrivatePostgres) -> None:
    databases = [
        {"name": "wiki", "owner": "anna", "extensions": ["hstore", "earthdistance"]},
        {"name": "plain"},
    ]
    found = settle(server, spec(user("anna"), databases=databases))
    assert "create extension hstore in database wiki" in found["changes"]
    assert len(server.commands) == 1
    assert {"hstore", "earthdistance", "cube"} <= extensions(postgres, "wiki")
    assert "hstore" not in extensions(postgres, "app") | extensions(postgres, "plain")
    postgres.query("DROP DATABASE wiki")
    settle(server, spec(user("anna"), databases=databases))
    assert "hstore" in extensions(postgres, "wiki")
    databases[0]["extensions"] = ["hstore", "citext"]
    settle(server, spec(user("anna"), databases=databases))
    assert "citext" in extensions(postgres, "wiki")


def test_what_cannot_be_created_is_told_and_the_rest_created(
    server: FakeKube, postgres: PrivatePostgres
) -> None:
    databases = [
        {"name": "closed", "extensions": ["hstore"]},
        {"name": "wiki", "extensions": ["no_such", "hstore"]},
    ]
    reconcile(server, spec(databases=[{"name": "closed"}]))
    postgres.query("ALTER DATABASE closed ALLOW_CONNECTIONS false")
    found = settle(server, spec(databases=databases))
    assert ready(found) == {
        "type": "UsersReady",
        "ok": False,
        "reason": "ExtensionMissing",
        "message": "spec.databases[0].extensions: all: nobody can connect to the database; "
        "spec.databases[1].extensions: no_such: the image does not have it",
    }
    assert "hstore" in extensions(postgres, "wiki")
    postgres.query("ALTER DATABASE closed ALLOW_CONNECTIONS true")
    databases[1]["extensions"] = ["hstore"]
    assert ready(settle(server, spec(databases=databases)))["ok"]


def test_a_database_that_cannot_be_made_stops_no_other(server: FakeKube, postgres: PrivatePostgres) -> None:
    reconcile(server, spec())
    session = open_session(postgres, "postgres", "template1")
    since = time.monotonic()
    begun = reconcile(server, spec(user("anna", "app", "reports", "sales", "stock")))
    assert time.monotonic() - since < 9  # PostgreSQL waits 5 s for the template: once
    close(session)
    assert ready(begun)["reason"] == "DatabaseFailed"
    for name in ("reports", "sales", "stock"):
        assert f'database {name}: source database "template1" is being' in ready(begun)["message"]
    assert "of role postgres in template1" in ready(begun)["message"]
    assert allowed(postgres, "anna") == {"app": "c"}
    settle(server, spec(user("anna", "app", "reports")))
    assert allowed(postgres, "anna") == {"app": "c", "reports": "c"}


def test_nothing_of_the_programs_fails_in_passing(server: FakeKube, postgres: PrivatePostgres) -> None:
    """Each of several databases is tried once, and none that is there: psql says nothing of an error."""
    said = []

    def run(command: list[str], stdin: str) -> str:
        code, output, errors = postgres.execute(command, stdin)
        assert code == 0
        said.append(errors)
        return output

    server.run = run
    wanted = spec(user("anna", "reports", "sales"), databases=[{"name": "wiki", "extensions": ["hstore"]}])
    settle(server, spec(user("anna", "reports")))
    found = settle(server, wanted)
    assert {"create database sales", "create database wiki"} <= {*found["changes"]}
    assert {*said} == {""}


def test_each_database_has_its_own_problem(server: FakeKube, postgres: PrivatePostgres) -> None:
    reconcile(server, spec())
    refused = spec(user("anna", "app", "bad\x01", "fine"))
    run = server.run

    def refuse(command: list[str], stdin: str) -> str:
        return run(command, stdin.replace("'CREATE DATABASE %I'", "'CREATE DATABASE %I TABLESPACE none'", 1))

    server.run = refuse
    message = ready(reconcile(server, refused))["message"]
    server.run = run
    assert message == 'database bad\x01: tablespace "none" does not exist'
    assert allowed(postgres, "anna") == {"app": "c", "fine": "c"}


def test_an_invalid_database_is_named_as_such(server: FakeKube, postgres: PrivatePostgres) -> None:
    wanted = spec(databases=[{"name": "wiki", "extensions": ["hstore"]}])
    settle(server, wanted)
    postgres.query("UPDATE pg_database SET datconnlimit = -2 WHERE datname IN ('app', 'wiki')")
    found = reconcile(server, wanted)
    problem = "an interrupted DROP DATABASE left the database invalid; drop it, and it is made anew"
    assert ready(found)["message"] == f"spec.databases[0]: {problem}"
    assert found["missing_extensions"] == [{"name": "all", "problem": problem}]
    postgres.query("DROP DATABASE wiki")
    postgres.query("DROP DATABASE app")
    assert ready(settle(server, wanted))["ok"]
    assert "hstore" in extensions(postgres, "wiki")


# What the owner of a database can do to the superuser's program


OWNED = spec(
    user("anna"),
    user("ben"),
    databases=[
        {"name": "app", "owner": "anna"},
        {"name": "wiki", "owner": "anna", "extensions": ["hstore"]},
        {"name": "calm", "owner": "ben", "extensions": ["hstore"]},
    ],
)


TRAPS = [
    ["role = 'anna'", "statement_timeout = '1ms'", "plpgsql.extra_errors = 'all'", "datestyle = 'german'"],
    ["session_authorization = 'anna'", "idle_session_timeout = '1ms'", "exit_on_error = on"],
    ["search_path = 'public'", "default_transaction_read_only = on", "default_tablespace = 'no_such'"],
    ["default_table_access_method = 'no_such'", "client_encoding = 'latin1'", "lock_timeout = '1ms'"],
    ["local_preload_libraries = 'no_such'"],
    ["transaction_timeout = '20ms'"],
]


@pytest.mark.parametrize("settings", TRAPS, ids=lambda settings: settings[0])
def test_no_setting_of_an_owner_reaches_the_program(
    server: FakeKube, postgres: PrivatePostgres, settings: list[str]
) -> None:
    settle(server, {**OWNED, "databases": [{**item, "extensions": []} for item in OWNED["databases"]]})
    for name in ("app", "wiki"):  # in one session: the next one would fall into the trap
        statements = [word for text in settings for word in ("-c", f"ALTER DATABASE {name} SET {text}")]
        postgres.execute(["psql", "-X", "-q", "-U", "anna", "-d", name, *statements])
    found = settle(server, {**OWNED, "extensions": {"pgSearch": False, "additional": ["citext"]}})
    assert found["missing_extensions"] == []
    assert ready(found)["ok"]
    for name in ("app", "wiki"):
        postgres.query(f"ALTER DATABASE {name} RESET ALL")
    owner = "SELECT extowner::regrole FROM pg_extension WHERE extname = "
    assert (
        postgres.query(owner + "'hstore'", "wiki") == postgres.query(owner + "'citext'", "app") == "postgres"
    )


def test_an_owner_who_closes_a_database_harms_nobody_else(
    server: FakeKube, postgres: PrivatePostgres
) -> None:
    settle(server, OWNED)
    postgres.query("ALTER DATABASE app ALLOW_CONNECTIONS false", "wiki", "anna")
    postgres.query("ALTER DATABASE postgres RESET paradedb_operator.databases")
    found = reconcile(server, OWNED)
    (missing,) = found["missing_extensions"]
    assert missing["problem"] == "nobody can connect to the database"
    assert found["connected"]
    assert ready(found)["ok"]
    postgres.query("ALTER DATABASE app ALLOW_CONNECTIONS true")


def test_an_owner_who_locks_the_catalog_harms_nobody_else(
    server: FakeKube, postgres: PrivatePostgres
) -> None:
    """A lock that is waited for keeps out every new session, before a timeout is in effect there."""
    settle(server, OWNED)
    postgres.query("ALTER DATABASE postgres RESET ALL")
    first = hold(postgres, "anna", "app", "SELECT FROM pg_operator LIMIT 0; SELECT FROM pg_class LIMIT 0")
    queued = []
    for table in ("pg_operator", "pg_class"):
        session = open_session(postgres, "anna", "app")
        assert session.stdin
        session.stdin.write(f"VACUUM FULL {table};\n")
        session.stdin.flush()
        queued.append(session)
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
    while postgres.query(waiting) != "2":
        time.sleep(0.05)
    before = postgres.query("SELECT count(*) FROM pg_locks WHERE NOT granted")
    found = [reconcile(server, OWNED, check_mode) for check_mode in (False, True)]
    left = postgres.query("SELECT count(*) FROM pg_locks WHERE NOT granted")
    close(first, *queued)
    for result in found:
        (missing,) = result["missing_extensions"]
        assert "of role anna has locked the catalog of the database" in missing["problem"]
        assert ready(result)["ok"]
        current = next(item for item in result["checks"] if item["type"] == "ExtensionsCurrent")
        assert current["message"].startswith("database app: session ")
    assert left == before
    assert settle(server, OWNED)["missing_extensions"] == []


def test_a_program_ends_what_an_older_one_left(server: FakeKube, postgres: PrivatePostgres) -> None:
    settle(server, TWO)
    command = database.psql_command("postgres")
    with ThreadPoolExecutor() as pool:
        older = pool.submit(postgres.execute, command, "SELECT pg_sleep(15);\n\\q\n")
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        while postgres.query(waiting) != "1":
            time.sleep(0.05)
        reconcile(server, TWO, check_mode=True)
        assert postgres.query(waiting) == "1"
        reconcile(server, TWO)
        assert postgres.query(waiting) == "0"
        assert "terminating connection" in older.result()[2]


def test_a_program_that_takes_too_long_leaves_nothing(
    server: FakeKube, postgres: PrivatePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PSQL_TIME", 1)
    psql = database._Psql(server, "prod", "orders-0", "postgres")  # type: ignore[arg-type]
    with pytest.raises(database.ExecFailed, match="did not come to its end within 1 s"):
        psql.run("\\set ON_ERROR_STOP on\nSELECT pg_sleep(15);\n\\q\n")
    assert postgres.query("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "0"


def test_what_ends_every_session_in_a_database_ends_no_pass(
    server: FakeKube, postgres: PrivatePostgres
) -> None:
    settle(server, OWNED)
    run = server.run

    def break_off(command: list[str], stdin: str) -> str:
        if "reachable" in stdin:
            raise database.ExecFailed(2, "FATAL:  terminating connection due to transaction timeout")
        return run(command, stdin)

    server.run = break_off
    found = reconcile(server, spec(user("anna"), user("ben"), databases=[{"name": "app", "owner": "anna"}]))
    assert found["connected"]
    assert "transaction timeout" in found["missing_extensions"][0]["problem"]


def test_a_namesake_of_postgresqls_own_is_never_called_by_an_extension(
    server: FakeKube, postgres: PrivatePostgres
) -> None:
    """An extension that is not marked trusted, in the schema of the database's owner."""
    plain = {**OWNED, "databases": [{**item, "extensions": []} for item in OWNED["databases"]]}
    settle(server, plain)
    postgres.query(
        "CREATE FUNCTION public.concat(int) RETURNS text LANGUAGE sql AS 'SELECT 1';"
        "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "wiki",
        "anna",
    )
    wanted = json.loads(json.dumps(OWNED))
    wanted["databases"][1]["extensions"] = ["hstore", "pg_buffercache"]
    found = settle(server, wanted)
    assert ready(found)["message"].startswith(
        "spec.databases[1].extensions: pg_buffercache: schema public has a concat of role anna, which the"
    )
    assert "hstore" in extensions(postgres, "wiki")
    postgres.query("DROP FUNCTION public.concat(int)", "wiki", "anna")
    assert ready(settle(server, wanted))["ok"]
    assert "pg_buffercache" in extensions(postgres, "wiki")


def test_a_namesake_is_found_wherever_a_script_looks(server: FakeKube, postgres: PrivatePostgres) -> None:
    """In the schema of what the extension requires, and in its own that was renamed since."""
    plain = {**OWNED, "databases": [{**item, "extensions": []} for item in OWNED["databases"]]}
    settle(server, plain)
    postgres.query(
        "CREATE SCHEMA s; CREATE EXTENSION cube SCHEMA s;"
        "CREATE FUNCTION s.length(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "wiki",
        "anna",
    )
    wanted = json.loads(json.dumps(OWNED))
    wanted["databases"][1]["extensions"] = ["earthdistance", "hstore"]
    assert ready(settle(server, wanted))["message"].startswith(
        "spec.databases[1].extensions: earthdistance: schema s has a length of role anna, which the"
    )
    assert "hstore" in extensions(postgres, "wiki")
    postgres.query("DROP FUNCTION s.length(int)", "wiki", "anna")
    assert ready(settle(server, wanted))["ok"]
    assert "earthdistance" in extensions(postgres, "wiki")

    wanted["databases"][2]["extensions"] = ["pg_buffercache"]
    settle(server, wanted)
    old = postgres.query(
        "SELECT min(version) FROM pg_available_extension_versions WHERE name = 'pg_buffercache'"
    )
    postgres.query(
        f"UPDATE pg_extension SET extversion = '{old}' WHERE extname = 'pg_buffercache'",  # noqa: S608
        "calm",
    )
    postgres.query(
        "ALTER SCHEMA public OWNER TO ben; ALTER SCHEMA public RENAME TO away; CREATE SCHEMA public;"
        "CREATE FUNCTION away.concat(int) RETURNS text LANGUAGE sql AS 'SELECT 1';"
        "ALTER FUNCTION away.concat(int) OWNER TO ben",
        "calm",
    )
    postgres.query("ALTER DATABASE postgres RESET paradedb_operator.extensions")
    (check,) = [item for item in reconcile(server, wanted)["checks"] if item["type"] == "ExtensionsCurrent"]
    assert "schema away has a concat of role ben" in check["message"]


# The roles of pooler and exporter


POOLED = {"connectionPooling": {"enabled": True}}


def lookup(postgres: PrivatePostgres, name: str) -> str:
    query = f"SELECT * FROM paradedb_pooler.lookup('{name}')"  # noqa: S608
    return postgres.query(query, user="paradedb_pooler")


def test_the_pooler_learns_of_users_and_of_nobody_else(server: FakeKube, postgres: PrivatePostgres) -> None:
    server.put(own_secret("pooler"))
    server.put(own_secret("exporter"))
    wanted = spec(user("anna"), user("ben"), monitoring={"enabled": True}, **POOLED)
    settle(server, wanted)
    assert len(server.commands) == 1
    assert lookup(postgres, "anna") == f"anna|{verifier("anna's secret", 'uid-1/anna')}"
    postgres.query(
        "CREATE ROLE gone LOGIN PASSWORD 'x' VALID UNTIL '2020-01-01'; CREATE ROLE idle PASSWORD 'x'"
    )
    postgres.query(
        "CREATE ROLE copier LOGIN REPLICATION PASSWORD 'x'; CREATE ROLE boss LOGIN SUPERUSER PASSWORD 'x'"
    )
    postgres.query("CREATE ROLE paradedb_rewind LOGIN PASSWORD 'x'; CREATE ROLE own LOGIN PASSWORD 'x'")
    for name in (
        "gone",
        "idle",
        "copier",
        "boss",
        "postgres",
        "paradedb_pooler",
        "paradedb_exporter",
        "paradedb_rewind",
    ):
        assert lookup(postgres, name) == ""
    assert lookup(postgres, "own").startswith("own|SCRAM")
    assert lookup(postgres, "anna" + "\u00a0" * 60) == ""
    assert allowed(postgres, "paradedb_pooler") == {"postgres": "c"}
    assert not role(postgres, "paradedb_pooler")["rolsuper"]
    assert (
        postgres.query("SELECT has_function_privilege('anna', 'paradedb_pooler.lookup(text)', 'EXECUTE')")
        == "f"
    )
    assert postgres.query("SELECT has_schema_privilege('anna', 'paradedb_pooler', 'USAGE')") == "f"
    settle(server, spec(user("anna")))
    assert postgres.query("SELECT count(*) FROM pg_namespace WHERE nspname = 'paradedb_pooler'") == "0"
    made = role(postgres, "paradedb_pooler")
    assert (made["rolcanlogin"], made["rolpassword"]) == (False, None)
    assert allowed(postgres, "paradedb_pooler") == {}
    settle(server, wanted)
    assert lookup(postgres, "anna").startswith("anna|")


def test_a_function_in_the_poolers_place_is_not_used(server: FakeKube, postgres: PrivatePostgres) -> None:
    server.put(own_secret("pooler"))
    settle(server, spec(user("anna", "postgres", privileges=["ALL"])))
    postgres.query(
        "CREATE SCHEMA paradedb_pooler; CREATE SCHEMA paradedb_pooler_of_anna;"
        "CREATE FUNCTION paradedb_pooler.lookup(text) RETURNS text LANGUAGE sql AS 'SELECT 1';"
        "GRANT ALL ON SCHEMA paradedb_pooler TO PUBLIC",
        user="anna",
    )
    oid = postgres.query("SELECT oid FROM pg_namespace WHERE nspname = 'paradedb_pooler'")
    settle(server, spec(user("anna", "postgres", privileges=["ALL"]), **POOLED))
    assert lookup(postgres, "anna").startswith("anna|SCRAM")
    owner = "SELECT nspowner::regrole FROM pg_namespace WHERE nspname = "
    assert postgres.query(owner + "'paradedb_pooler'") == "postgres"
    assert postgres.query(owner + f"'paradedb_pooler_{oid}_of_anna'") == "anna"
    assert postgres.query(owner + "'paradedb_pooler_of_anna'") == "anna"
    postgres.query("GRANT CREATE ON SCHEMA paradedb_pooler TO anna, PUBLIC")
    postgres.query(
        "CREATE OR REPLACE FUNCTION paradedb_pooler.lookup(wanted text, OUT name text, OUT verifier text)"
        " RETURNS SETOF record LANGUAGE sql AS 'SELECT 1, 2'"
    )
    settle(server, spec(user("anna", "postgres", privileges=["ALL"]), **POOLED))
    assert lookup(postgres, "anna").startswith("anna|SCRAM")
    assert postgres.query("SELECT has_schema_privilege('anna', 'paradedb_pooler', 'CREATE')") == "f"


def test_the_exporter_may_watch_and_no_more(server: FakeKube, postgres: PrivatePostgres) -> None:
    server.put(own_secret("exporter"))
    wanted = {**TWO, "monitoring": {"enabled": True}}
    settle(server, wanted)
    assert len(server.commands) == 1
    assert {*allowed(postgres, "paradedb_exporter").values()} == {"c"}
    assert {"app", "wiki", "postgres"} <= {*allowed(postgres, "paradedb_exporter")}
    memberships = (
        "SELECT string_agg(roleid::regrole::text, ' ') FROM pg_auth_members"
        " WHERE member = 'paradedb_exporter'::regrole"
    )
    assert postgres.query(memberships) == "pg_monitor"
    assert postgres.query("SHOW search_path", "wiki", "paradedb_exporter") == "pg_catalog"
    postgres.query(
        "ALTER ROLE paradedb_exporter SET work_mem = '1GB'; REVOKE pg_monitor FROM paradedb_exporter"
    )
    settle(server, wanted)
    assert postgres.query(memberships) == "pg_monitor"
    settle(server, TWO)
    assert not role(postgres, "paradedb_exporter")["rolcanlogin"]
    assert allowed(postgres, "paradedb_exporter") == {}


def test_a_superuser_called_as_a_part_of_the_operator_stays(
    server: FakeKube, postgres: PrivatePostgres
) -> None:
    server.put(own_secret("pooler"))
    postgres.query("CREATE ROLE paradedb_pooler SUPERUSER LOGIN PASSWORD 'x'")
    for wanted in (spec(**POOLED), spec()):
        found = reconcile(server, wanted)
        assert role(postgres, "paradedb_pooler")["rolcanlogin"]
        checks = {item["type"]: item for item in found["checks"]}
        if wanted.get("connectionPooling"):
            assert checks["PoolerReady"]["reason"] == "RoleTaken"
            assert "rename it" in checks["PoolerReady"]["message"]
            assert not checks["PoolerReady"]["ok"]


def test_privileges_are_spelled_as_postgresql_tells_them() -> None:
    given = [user("a", privileges=["TEMP", "TEMPORARY"]), user("b", privileges=["CONNECT", "ALL"]), user("c")]
    assert [item["privileges"] for item in access.users(spec(*given))] == [
        ["TEMPORARY"],
        ["CONNECT", "CREATE", "TEMPORARY"],
        ["CONNECT"],
    ]
