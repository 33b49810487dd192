"""The Secrets of users, of the pooler and of the exporter: made, kept, mended, refused and taken away."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import credentials, secret_contents
from ansible_collections.paradedb.db.plugins.module_utils.kube import KubeError
from ansible_collections.paradedb.db.plugins.module_utils.labels import instance_labels
from ansible_collections.paradedb.db.plugins.module_utils.scram import verifier

from .fake_kube import FakeKube
from .private_postgres import PrivatePostgres
from .test_credentials import HOSTILE, run, secret, values

OWNER = {"apiVersion": "database.paradedb.io/v1alpha1", "kind": "ParadeDB", "name": "orders", "uid": "u"}
BROKEN: list[str | bytes] = ["", "two\nlines", "line\n", "a\rb", "a\0b", b"\xff\xfe"]
SPEC = {
    "auth": {"users": [{"name": "app"}, {"name": "report", "secretRef": {"name": "mine"}}]},
    "connectionPooling": {"enabled": True},
    "monitoring": {"enabled": True},
}


def ours(name: str, **held: str | bytes) -> dict[str, Any]:
    made = secret(name, **held)
    made["metadata"]["labels"] = instance_labels("orders") | {"app.kubernetes.io/component": "roles"}
    return made


def edit(kube: FakeKube, name: str, **changed: str | bytes) -> None:
    kube.objects["Secret", "prod", name]["data"] |= secret(name, **changed)["data"]


def names(kube: FakeKube) -> set[str]:
    return {name for kind, _namespace, name in kube.objects if kind == "Secret"}


def passwords(kube: FakeKube, spec: dict[str, Any]) -> dict[str, str]:
    return credentials.role_passwords(kube, "prod", "orders", spec)  # type: ignore[arg-type]


def everything(kube: FakeKube, **more: Any) -> dict[str, Any]:
    return run(kube, users=[{"name": "app"}], pooler=True, exporter=True, **more)


def test_nothing_is_made_unasked() -> None:
    kube = FakeKube()
    found = run(kube)
    assert names(kube) == {"orders-credentials", "orders-patroni"}
    assert (found["users"], found["pooler_checksum"], found["checks"]) == ([], "", [])


def test_a_user_is_given_all_that_an_application_needs() -> None:
    kube = FakeKube()
    found = run(kube, users=[{"name": "app", "databases": ["shop", "stock"]}, {"name": "b_$-c"}])
    held = values(kube, "orders-app")
    assert held.keys() == {
        *("username", "user", "password", "host", "port", "dbname", "uri", "jdbc-uri", "pgpass"),
    }
    assert (held["username"], held["user"], held["dbname"]) == ("app", "app", "shop")
    assert held["uri"] == f"postgresql://app:{held['password']}@orders.prod.svc:5432/shop"
    assert values(kube, "orders-b---c")["dbname"] == "app"  # auth.database
    assert found["users"] == [
        {"name": "app", "secretName": "orders-app"},
        {"name": "b_$-c", "secretName": "orders-b---c"},
    ]
    assert values(kube, "orders-credentials")["user"] == "postgres"


def test_with_tls_users_learn_whom_to_trust() -> None:
    kube = FakeKube()
    run(kube, users=[{"name": "app"}], tls={"enabled": True})
    held = values(kube, "orders-app")
    assert held["uri"].endswith("?sslmode=require")
    assert held["ca.crt"] == values(kube, "orders-credentials")["ca.crt"]


def test_the_pooler_and_the_exporter_have_roles_of_their_own() -> None:
    kube = FakeKube()
    everything(kube)
    pooler, exporter = values(kube, "orders-pooler"), values(kube, "orders-exporter")
    assert pooler["username"] == "paradedb_pooler"
    assert pooler["userlist.txt"] == f'"paradedb_pooler" "{pooler["password"]}"\n'
    assert exporter.keys() == {"username", "password"}
    assert exporter["username"] == "paradedb_exporter"
    assert pooler["password"] != exporter["password"]


def test_all_are_kept_and_nothing_is_written_twice() -> None:
    kube = FakeKube()
    assert everything(kube)["changed"] is True
    before, kube.writes = repr(kube.objects), []
    assert everything(kube)["changed"] is False
    assert kube.writes == []
    assert repr(kube.objects) == before


def test_no_password_is_in_the_result() -> None:
    kube = FakeKube()
    found = json.dumps(everything(kube))
    for name in ("orders-app", "orders-pooler", "orders-exporter"):
        password = values(kube, name)["password"]
        assert password not in found
        assert base64.b64encode(password.encode()).decode() not in found


def test_check_mode_writes_nothing() -> None:
    kube = FakeKube()
    assert everything(kube, check_mode=True)["changed"] is True
    assert kube.objects == {}
    everything(kube)
    before = repr(kube.objects)
    assert run(kube, check_mode=True)["changed"] is True  # would delete
    assert repr(kube.objects) == before


@pytest.mark.parametrize("password", [*HOSTILE, "x", "y" * 1000, "pa\u0308ss", "\u2168", "md5"])
def test_an_edited_password_is_the_new_one(password: str) -> None:
    kube = FakeKube()
    first = everything(kube)["pooler_checksum"]
    for name in ("orders-app", "orders-pooler", "orders-exporter", "orders-credentials"):
        edit(kube, name, password=password)
    assert everything(kube)["pooler_checksum"] != first
    expected = secret_contents.application_secret("orders", "prod", "app", password, "app")
    assert values(kube, "orders-app") == expected
    assert values(kube, "orders-pooler") == secret_contents.pooler_secret(password)
    roles = passwords(kube, SPEC)
    assert {roles[role] for role in ("app", "paradedb_pooler", "paradedb_exporter", "postgres")} == {password}


def test_what_else_is_edited_is_put_back() -> None:
    kube = FakeKube()
    everything(kube)
    before = values(kube, "orders-app")
    edit(kube, "orders-app", username="postgres", uri="postgresql://elsewhere/", host="elsewhere")
    assert everything(kube)["changed"] is True
    assert values(kube, "orders-app") == before


@pytest.mark.parametrize("broken", BROKEN)
def test_what_cannot_be_a_password_is_made_anew(broken: str | bytes) -> None:
    kube = FakeKube()
    everything(kube)
    for name in ("orders-app", "orders-pooler", "orders-exporter", "orders-credentials"):
        edit(kube, name, password=broken)
    roles = passwords(kube, SPEC)  # before it is mended, nobody is given a broken one
    assert not roles.keys() & {"app", "paradedb_pooler", "paradedb_exporter", "postgres"}
    assert everything(kube)["checks"] == []
    for name in ("orders-app", "orders-pooler", "orders-exporter", "orders-credentials"):
        assert re.fullmatch("[A-Za-z0-9_-]{32}", values(kube, name)["password"])


def test_a_deleted_secret_gets_a_new_password() -> None:
    kube = FakeKube()
    everything(kube)
    before = {
        name: values(kube, name)["password"] for name in ("orders-app", "orders-pooler", "orders-exporter")
    }
    for name in before:
        del kube.objects["Secret", "prod", name]
    everything(kube)
    assert all(values(kube, name)["password"] != password for name, password in before.items())


def test_secrets_go_with_the_user_and_the_feature() -> None:
    stranger = secret("orders-notes", text="keep")
    kube = FakeKube(stranger, secret("mine", password="p"))
    run(
        kube,
        users=[{"name": "app"}, {"name": "b"}, {"name": "c", "secretRef": {"name": "mine"}}],
        pooler=True,
        exporter=True,
    )
    run(kube, users=[{"name": "b"}], exporter=True)
    assert names(kube) == {
        *("orders-credentials", "orders-patroni", "orders-notes", "mine"),
        *("orders-b", "orders-exporter"),
    }
    run(kube)
    assert names(kube) == {"orders-credentials", "orders-patroni", "orders-notes", "mine"}


def test_secrets_of_another_database_stay() -> None:
    other = ours("orders-2-app", username="app", password="p")
    other["metadata"]["labels"] |= instance_labels("orders-2")
    kube = FakeKube(other)
    run(kube)
    assert "orders-2-app" in names(kube)


def test_the_users_own_secret_is_read_and_never_touched() -> None:
    kube = FakeKube(secret("mine", password="p", keystore=b"\xff"))
    before = json.dumps(kube.objects["Secret", "prod", "mine"])
    users = [{"name": "report", "secretRef": {"name": "mine"}}]
    found = run(kube, users=users, owner=OWNER)
    assert found["users"] == [{"name": "report", "secretName": "mine"}]
    assert found["checks"] == []
    assert json.dumps(kube.objects["Secret", "prod", "mine"]) == before
    assert not [write for write in kube.writes if "mine" in write]
    assert passwords(kube, {"auth": {"users": users}})["report"] == "p"
    edit(kube, "mine", password="q")
    assert passwords(kube, {"auth": {"users": users}})["report"] == "q"


def test_a_generated_secret_that_the_user_names_is_his_from_then_on() -> None:
    kube = FakeKube()
    run(kube, users=[{"name": "app"}], owner=OWNER)
    before, made = values(kube, "orders-app"), kube.objects["Secret", "prod", "orders-app"]["metadata"]
    made["labels"]["team"] = "web"
    other = {**OWNER, "kind": "Other", "uid": "v"}
    made["ownerReferences"].append(other)
    users = [{"name": "app", "secretRef": {"name": "orders-app"}}]
    assert run(kube, users=users, owner=OWNER, check_mode=True)["changed"] is True
    assert kube.objects["Secret", "prod", "orders-app"]["metadata"] == made
    found = run(kube, users=users, owner=OWNER)
    assert (found["checks"], found["changed"]) == ([], True)
    assert before["password"] not in json.dumps(found)
    assert values(kube, "orders-app") == before
    left = kube.objects["Secret", "prod", "orders-app"]["metadata"]
    assert (left["labels"], left["ownerReferences"]) == ({"team": "web"}, [other])
    assert passwords(kube, {"auth": {"users": users}})["app"] == before["password"]
    assert run(kube, users=users, owner=OWNER)["changed"] is False
    run(kube)  # the user is taken out
    assert values(kube, "orders-app") == before


def test_the_generated_secret_of_another_user_is_not_given_away() -> None:
    kube = FakeKube()
    users = [{"name": "app"}, {"name": "b", "secretRef": {"name": "orders-app"}}]
    run(kube, users=users)
    assert run(kube, users=users)["checks"][0]["reason"] == "InvalidSecret"  # its username is app
    assert kube.objects["Secret", "prod", "orders-app"]["metadata"]["labels"]


@pytest.mark.parametrize(
    ("found", "reason", "words"),
    [
        (None, "SecretNotFound", "no Secret 'mine' in namespace 'prod'"),
        (secret("mine"), "InvalidSecret", "has no password"),
        (secret("mine", password=""), "InvalidSecret", "has no password"),
        (secret("mine", username="app"), "InvalidSecret", "has no password"),
        (secret("mine", username="other", password="p"), "InvalidSecret", "is not 'report'"),
        (secret("mine", username="", password="p"), "InvalidSecret", "is not 'report'"),
        *((secret("mine", password=bad), "InvalidSecret", "") for bad in BROKEN),
    ],
)
def test_a_bad_secret_stops_nobody_else(found: dict[str, Any] | None, reason: str, words: str) -> None:
    kube = FakeKube(*([found] if found else []))
    users = [{"name": "report", "secretRef": {"name": "mine"}}, {"name": "app"}]
    result = run(kube, users=users)
    assert result["users"] == [{"name": "app", "secretName": "orders-app"}]
    [check] = result["checks"]
    assert (check["type"], check["ok"], check["reason"]) == ("UsersReady", False, reason)
    assert check["message"].startswith("spec.auth.users[0].secretRef: ")
    assert words in check["message"]
    assert passwords(kube, {"auth": {"users": users}}).keys() >= {"app", "postgres"}
    assert "report" not in passwords(kube, {"auth": {"users": users}})


@pytest.mark.parametrize("kind", ["credentials", "patroni", "pooler", "exporter", "tls", "ca"])
def test_no_user_has_the_operators_own_secrets(kind: str) -> None:
    kube = FakeKube(ours(f"orders-{kind}", password="p"))
    users = [{"name": "report", "secretRef": {"name": f"orders-{kind}"}}]
    [check] = run(kube, users=users)["checks"]
    assert check["reason"] == "InvalidSecret"
    assert "the operator's own" in check["message"]
    assert "report" not in passwords(kube, {"auth": {"users": users}})


def test_every_problem_is_told() -> None:
    users = [{"name": name, "secretRef": {"name": f"no-{name}"}} for name in ("a", "b")]
    [check] = run(FakeKube(), users=users)["checks"]
    assert "users[0]" in check["message"]
    assert "users[1]" in check["message"]


def test_a_namesake_is_never_taken_over() -> None:
    theirs = [secret(f"orders-{kind}", password="theirs") for kind in ("app", "pooler", "exporter")]
    kube = FakeKube(*theirs)
    found = run(kube, users=[{"name": "app"}, {"name": "b"}], pooler=True, exporter=True)
    checks = {check["type"]: check for check in found["checks"]}
    assert checks.keys() == {"UsersReady", "PoolerReady", "MonitoringReady"}
    assert {check["reason"] for check in checks.values()} == {"NameTaken"}
    assert "'orders-app' belongs to something else; delete it or name it" in checks["UsersReady"]["message"]
    assert found["users"] == [{"name": "b", "secretName": "orders-b"}]
    for item in theirs:
        assert values(kube, item["metadata"]["name"]) == {"password": "theirs"}
    assert "theirs" not in passwords(kube, SPEC).values()


def test_the_superuser_is_nobody_else() -> None:
    kube = FakeKube(secret("boss", username="boss", password="p"))
    users = [{"name": "boss"}]
    [check] = run(kube, superuser_secret="boss", users=users)["checks"]
    assert (check["reason"], "orders-boss" in names(kube)) == ("RoleTaken", False)
    spec = {"auth": {"superuserSecretRef": {"name": "boss"}, "users": users}}
    kube.put(ours("orders-boss", password="other"))
    assert passwords(kube, spec)["boss"] == "p"


def test_a_secret_that_cannot_be_changed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube()
    apply = kube.apply

    def refuse(definition: dict[str, Any], dry_run: bool = False) -> dict[str, Any]:
        if definition["metadata"]["name"] == "orders-app":
            raise KubeError(422, "data: Forbidden: field is immutable when `immutable` is set")
        return apply(definition, dry_run)

    monkeypatch.setattr(kube, "apply", refuse)
    found = run(kube, users=[{"name": "app"}, {"name": "b"}])
    [check] = found["checks"]
    assert (check["reason"], "immutable" in check["message"]) == ("InvalidSecret", True)
    assert [user["name"] for user in found["users"]] == ["b"]


def test_roles_that_are_not_asked_for_have_no_password() -> None:
    kube = FakeKube(secret("mine", password="p"))
    run(kube, users=SPEC["auth"]["users"], pooler=True, exporter=True)  # type: ignore[index]
    patroni = {"postgres", "paradedb_replication", "paradedb_rewind"}
    assert passwords(kube, SPEC).keys() == patroni | {"app", "report", "paradedb_pooler", "paradedb_exporter"}
    assert passwords(kube, {"auth": {}}).keys() == patroni


def test_the_longest_names_still_make_a_secret() -> None:
    name, user = "o" * 45, "u" * 63
    made = credentials.user_secret_name(name, user)
    assert len(made) <= 253
    kube = FakeKube()
    run(kube, users=[{"name": user}])
    labels = kube.objects["Secret", "prod", f"orders-{user}"]["metadata"]["labels"]
    assert all(len(value) <= 63 for value in labels.values())


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("app", "orders-app"),
        ("_app", "orders--app"),
        ("app_", "orders-app"),
        ("a$b_c", "orders-a-b-c"),
        ("a--", "orders-a"),
    ],
)
def test_a_users_secret_has_a_name_that_objects_may_have(user: str, expected: str) -> None:
    assert credentials.user_secret_name("orders", user) == expected
    assert re.fullmatch("[a-z0-9]([-a-z0-9]*[a-z0-9])?", expected)


def as_pgbouncer_reads(line: str) -> list[str]:
    """The quoted words of a line of userlist.txt, as copy_quoted of PgBouncer's loader.c takes them."""
    words, position = [], 0
    while (start := line.find('"', position)) >= 0:
        word, position = "", start + 1
        while True:
            if line[position : position + 2] == '""':
                word, position = word + '"', position + 2
            elif line[position] == '"':
                break
            else:
                word, position = word + line[position], position + 1
        words.append(word)
        position += 1
    return words


@pytest.mark.parametrize("password", [*HOSTILE, '"', '""', '" "x', "\\", '\\"', "x" * 1000, ";#"])
def test_pgbouncer_reads_the_password_back(password: str) -> None:
    line = secret_contents.pooler_secret(password)["userlist.txt"]
    assert as_pgbouncer_reads(line) == ["paradedb_pooler", password]
    assert line.count("\n") == 1


@pytest.mark.parametrize("password", [*HOSTILE, "pa\u0308ss", "\u2168", "x", "y" * 1000])
def test_libpq_signs_in_with_what_the_secret_says(postgres: PrivatePostgres, password: str) -> None:
    """By the URI and by the line of a password file, against the verifier that the database is given."""
    made = secret_contents.application_secret("orders", "prod", "app", password, "postgres")
    postgres.query(f"CREATE ROLE app LOGIN PASSWORD '{verifier(password, 'uid/app')}'")
    postgres.write_hba(["local all app scram-sha-256", "local all all trust"])
    postgres.query("SELECT pg_reload_conf()")
    select = ["psql", "-X", "-w", "-A", "-t", "-c", "SELECT current_user"]
    by_uri = postgres.execute([*select, made["uri"].replace("orders.prod.svc:5432", "")])
    script = 'umask 077; head -n 1 > "$PGHOST/pgpass"; PGPASSFILE="$PGHOST/pgpass" exec "$@"'
    line = made["pgpass"].replace("orders.prod.svc:5432", "*:*")
    by_file = postgres.execute(["sh", "-c", script, "sh", *select, "-U", "app"], line + "\n")
    wrong = postgres.execute(["env", f"PGPASSWORD={password}!", *select, "-U", "app"])
    postgres.write_hba(["local all all trust"])
    postgres.query("SELECT pg_reload_conf()")
    postgres.query("DROP ROLE app")
    assert by_uri[:2] == (0, "app\n"), by_uri
    assert by_file[:2] == (0, "app\n"), by_file
    assert "password authentication failed" in wrong[2]
