from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import credentials, secret_contents
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.modules import credentials as module

from .fake_kube import FakeKube, pod
from .private_postgres import PrivatePostgres
from .test_certificates import selfmade
from .test_tls import stateful_set


def secret(name: str, **values: str | bytes) -> dict[str, Any]:
    data = {
        key: base64.b64encode(value if isinstance(value, bytes) else value.encode()).decode()
        for key, value in values.items()
    }
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


def superuser(kube: FakeKube, reference: dict[str, Any] | None) -> tuple[str, str | None]:
    return credentials.superuser(kube, "prod", "orders", reference)  # type: ignore[arg-type]


def run(kube: FakeKube, check_mode: bool = False, **more: Any) -> dict[str, Any]:
    parameters = {
        "name": "orders",
        "namespace": "prod",
        "database": "app",
        "superuser_secret": "",
        "tls": {},
        "users": [],
        "pooler": False,
        "exporter": False,
        "owner": {},
    }
    return module.run(parameters | more, kube, check_mode)  # type: ignore[arg-type]


def values(kube: FakeKube, name: str) -> dict[str, str]:
    return credentials.decode(kube.objects["Secret", "prod", name])


@pytest.mark.parametrize("reference", [None, {}, {"name": ""}])
def test_without_a_secret_there_is_a_name_and_no_password(reference: dict[str, Any] | None) -> None:
    assert superuser(FakeKube(), reference) == ("postgres", None)


def test_our_own_secret_is_read() -> None:
    kube = FakeKube(secret("orders-credentials", username="postgres", password="p"))
    assert superuser(kube, None) == ("postgres", "p")


def test_the_users_secret_wins() -> None:
    kube = FakeKube(
        secret("orders-credentials", username="postgres", password="p"),
        secret("mine", username="boss", password="q"),
    )
    assert superuser(kube, {"name": "mine"}) == ("boss", "q")


@pytest.mark.parametrize(
    ("found", "reason", "words"),
    [
        (None, "SecretNotFound", "'mine'"),
        (secret("mine"), "InvalidSecret", "username"),
        (secret("mine", username="a"), "InvalidSecret", "password"),
        (secret("mine", password="a"), "InvalidSecret", "username"),
        (secret("mine", username="", password=""), "InvalidSecret", "username and no password"),
        (secret("mine", username="a", password=b"\xff\xfe"), "InvalidSecret", "UTF-8"),
        (secret("mine", username=b"\xff", password="x"), "InvalidSecret", "UTF-8"),
        (secret("mine", username="pg_evil", password="x"), "InvalidSecret", "valid role name"),
        (secret("mine", username="x" * 64, password="x"), "InvalidSecret", "valid role name"),
        (secret("mine", username="\u00fc" * 32, password="x"), "InvalidSecret", "valid role name"),
        (secret("mine", username="a\nb", password="x"), "InvalidSecret", "valid role name"),
        (secret("mine", username="a\n", password="x"), "InvalidSecret", "valid role name"),
        (secret("mine", username="a\0b", password="x"), "InvalidSecret", "valid role name"),
        (secret("mine", username="a\x7f", password="x"), "InvalidSecret", "valid role name"),
        (secret("mine", username="paradedb_replication", password="x"), "InvalidSecret", "reserved"),
        (secret("mine", username="paradedb_rewind", password="x"), "InvalidSecret", "reserved"),
        (secret("mine", username="none", password="x"), "InvalidSecret", ""),
        (secret("mine", username="public", password="x"), "InvalidSecret", ""),
        (secret("mine", username="a", password="x\n"), "InvalidSecret", "line break"),
        (secret("mine", username="a", password="x\0"), "InvalidSecret", ""),
    ],
)
def test_a_secret_that_cannot_serve_is_refused(found: dict[str, Any] | None, reason: str, words: str) -> None:
    kube = FakeKube(*([found] if found else []))
    with pytest.raises(Refused) as caught:
        superuser(kube, {"name": "mine"})
    assert caught.value.reason == reason
    assert caught.value.field == "spec.auth.superuserSecretRef"
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["orders-credentials", "orders-patroni"])
def test_our_own_secrets_are_nobodys_to_name(name: str) -> None:
    kube = FakeKube(secret(name, username="a", password="b"))
    with pytest.raises(Refused):
        superuser(kube, {"name": name})


def test_passwords_are_made_once_and_kept() -> None:
    kube = FakeKube()
    first = run(kube)
    made = values(kube, "orders-credentials"), values(kube, "orders-patroni")
    second = run(kube)
    assert first["changed"] is True
    assert second["changed"] is False
    assert (values(kube, "orders-credentials"), values(kube, "orders-patroni")) == made
    passwords = {
        made[0]["password"],
        *(made[1][f"{kind}-password"] for kind in ("replication", "rewind", "restapi")),
    }
    assert len(passwords) == 4
    assert all(len(password) >= 32 for password in passwords)
    other = FakeKube()
    run(other)
    assert values(other, "orders-credentials")["password"] != made[0]["password"]


def test_no_password_is_in_the_result() -> None:
    kube = FakeKube()
    found = run(kube)
    text = json.dumps(found)
    secrets = [*values(kube, "orders-credentials").values(), *values(kube, "orders-patroni").values()]
    for value in secrets:
        if len(value) > 10 and not value.startswith("orders."):
            assert value not in text
            assert base64.b64encode(value.encode()).decode() not in text
    assert found["secret"] == "orders-credentials"
    assert found["superuser"] == "postgres"


def test_check_mode_writes_nothing() -> None:
    kube = FakeKube()
    assert run(kube, check_mode=True)["changed"] is True
    assert kube.writes == []
    assert kube.objects == {}


def test_a_new_password_of_the_user_reaches_the_application_secret() -> None:
    kube = FakeKube(secret("mine", username="boss", password="one"))
    run(kube, superuser_secret="mine")
    kube.put(secret("mine", username="boss", password="two"))
    assert run(kube, superuser_secret="mine")["changed"] is True
    assert values(kube, "orders-credentials")["password"] == "two"
    assert values(kube, "orders-credentials")["username"] == "boss"


def test_patroni_gets_its_passwords_and_no_superusers() -> None:
    kube = FakeKube(secret("mine", username="boss", password="topsecret"))
    run(kube, superuser_secret="mine")
    held = values(kube, "orders-patroni")
    configuration = json.loads(held["patroni.yml"])
    authentication = configuration["postgresql"]["authentication"]
    assert authentication["superuser"] == {"username": "boss"}
    assert authentication["replication"]["password"] == held["replication-password"]
    assert authentication["rewind"]["password"] == held["rewind-password"]
    assert configuration["restapi"]["authentication"]["password"] == held["restapi-password"]
    assert "topsecret" not in held["patroni.yml"]
    passwords = credentials.patroni_passwords(kube, "prod", "orders")  # type: ignore[arg-type]
    assert passwords == {
        "paradedb_replication": held["replication-password"],
        "paradedb_rewind": held["rewind-password"],
    }


def test_the_checksum_moves_with_what_an_instance_reads_at_its_start() -> None:
    kube = FakeKube(secret("mine", username="boss", password="one"))
    first = run(kube, superuser_secret="mine")["checksum"]
    assert run(kube, superuser_secret="mine")["checksum"] == first
    kube.put(secret("mine", username="boss", password="two"))
    assert run(kube, superuser_secret="mine")["checksum"] == first  # set by SQL, without a restart
    held = kube.objects["Secret", "prod", "orders-patroni"]
    held["data"].pop("rewind-password")
    second = run(kube, superuser_secret="mine")["checksum"]
    assert second != first
    del kube.objects["ServiceAccount", "prod", "orders"]
    assert run(kube, superuser_secret="mine")["checksum"] != second


def test_patroni_passwords_of_nobody() -> None:
    assert credentials.patroni_passwords(FakeKube(), "prod", "orders") == {}  # type: ignore[arg-type]


def test_applications_are_given_what_tls_needs() -> None:
    kube = FakeKube()
    plain = run(kube)
    assert (plain["tls"], plain["checks"]) == ({}, [])
    assert "sslmode" not in values(kube, "orders-credentials")["uri"]
    assert "ca.crt" not in values(kube, "orders-credentials")
    password = values(kube, "orders-credentials")["password"]
    encrypted = run(kube, tls={"enabled": True})
    held = values(kube, "orders-credentials")
    assert held["uri"].endswith("/app?sslmode=require")
    assert held["jdbc-uri"].endswith("&sslmode=require")
    assert held["ca.crt"] == values(kube, "orders-tls")["ca.crt"]
    assert held["password"] == password
    assert encrypted["tls"]["secretName"] == "orders-tls"
    assert [check["type"] for check in encrypted["checks"]] == ["CertificateValid"]
    assert encrypted["checksum"] == plain["checksum"]  # a renewal restarts nothing
    assert "BEGIN" not in json.dumps(encrypted)
    assert run(kube, tls={"enabled": True})["changed"] is False
    assert run(kube)["changed"] is True
    assert ("Secret", "prod", "orders-tls") not in kube.objects


def test_clients_trust_what_any_instance_may_serve() -> None:
    mine = {**selfmade(), "ca.crt": selfmade()["tls.crt"]}
    kube = FakeKube(secret("mine", **mine))
    given = run(kube, tls={"enabled": True})["tls"]
    kube.put(stateful_set("orders-tls"))
    own = values(kube, "orders-credentials")["ca.crt"]
    instance = pod("orders-0")
    instance["spec"]["volumes"] = [{"name": "tls", "secret": {"secretName": "orders-tls"}}]
    instance["metadata"]["annotations"] = {"database.paradedb.io/certificate": given["checksum"]}
    kube.put(instance)
    spec = {"enabled": True, "secretRef": {"name": "mine"}}
    for _again in range(2):
        given = run(kube, tls=spec)["tls"]
        assert values(kube, "orders-credentials")["ca.crt"] == mine["ca.crt"] + own
        kube.put(stateful_set("mine"))
    instance["spec"]["volumes"] = [{"name": "tls", "secret": {"secretName": "mine"}}]
    instance["metadata"]["annotations"] = {"database.paradedb.io/certificate": given["checksum"]}
    kube.put(instance)
    assert run(kube, tls=spec)["changed"] is True
    assert values(kube, "orders-credentials")["ca.crt"] == mine["ca.crt"]
    assert run(kube, tls=spec)["changed"] is False
    run(kube, tls={})
    assert values(kube, "orders-credentials")["ca.crt"] == mine["ca.crt"]  # the instance still serves it


def test_a_certificate_that_is_refused_leaves_nothing_behind() -> None:
    kube = FakeKube()
    with pytest.raises(Refused):
        run(kube, tls={"enabled": True, "secretRef": {"name": "nowhere"}})
    assert kube.objects == {}


HOSTILE = ["p@ss:w/o?r#d%&=+ ", "back\\slash", "colon:colon", "'\"$`", "\u00fc\U0001f418", "{{ 7*7 }}"]


@pytest.mark.parametrize("text", HOSTILE)
def test_connection_strings_read_back(text: str) -> None:
    made = secret_contents.application_secret("orders", "prod", f"u{text}", f"p{text}", f"d{text}")
    uri = urlsplit(made["uri"])
    assert uri.hostname == "orders.prod.svc"
    assert uri.port == 5432
    assert uri.username is not None
    assert uri.password is not None
    assert [unquote(uri.username), unquote(uri.password), unquote(uri.path[1:])] == [
        f"u{text}",
        f"p{text}",
        f"d{text}",
    ]
    jdbc = urlsplit(made["jdbc-uri"].removeprefix("jdbc:"))
    assert parse_qs(jdbc.query) == {"user": [f"u{text}"], "password": [f"p{text}"]}
    assert made["port"] == "5432"
    assert made["dbname"] == f"d{text}"
    secure = secret_contents.application_secret(
        "orders", "prod", f"u{text}", f"p{text}", f"d{text}", tls=True
    )
    assert secure["uri"] == made["uri"] + "?sslmode=require"
    assert parse_qs(urlsplit(secure["jdbc-uri"].removeprefix("jdbc:")).query)["sslmode"] == ["require"]


def test_libpq_reads_the_same_from_the_uri(postgres: PrivatePostgres) -> None:
    """psql connects by the URI, but for the host, which exists in a cluster only."""
    text = "".join(HOSTILE)
    made = secret_contents.application_secret("orders", "prod", "postgres", f"p{text}", f"d{text}")
    quoted = f"d{text}".replace('"', '""')
    postgres.query(f'CREATE DATABASE "{quoted}"')
    uri = made["uri"].replace("orders.prod.svc:5432", "")
    code, output, errors = postgres.execute(
        ["psql", "-X", "-A", "-t", "-c", "SELECT current_database()", uri]
    )
    postgres.query(f'DROP DATABASE "{quoted}"')
    assert (code, output) == (0, f"d{text}\n"), errors


@pytest.mark.parametrize("text", HOSTILE)
def test_a_pgpass_line_has_five_fields(text: str) -> None:
    line = secret_contents.application_secret("o", "n", f"u{text}", f"p{text}", "d")["pgpass"]
    fields, current, escaped = [], "", False
    for char in line:
        if escaped or char not in "\\:":
            current, escaped = current + char, False
        elif char == "\\":
            escaped = True
        else:
            fields.append(current)
            current = ""
    assert [*fields, current] == ["o.n.svc", "5432", "*", f"u{text}", f"p{text}"]
