"""Bad input gets a clear word at the earliest place, and nothing of it is applied."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from cluster import OWNED_KINDS, ParadeDB, PhaseWatch, apply, eventually, find, kubectl

Make = Callable[[str], ParadeDB]

# At admission: what is asked for, and words that the answer must have.
AT_ADMISSION: list[tuple[dict[str, Any], str, str]] = [
    ({"replicas": 0}, "spec.replicas", "greater than or equal to 1"),
    ({"replicas": 11}, "spec.replicas", "less than or equal to 10"),
    ({"replication": {"mode": "sync", "strict": True}}, "replication.strict", "standby"),
    ({"replicas": 2, "replication": {"mode": "sync", "syncNodeCount": 2}}, "syncNodeCount", ""),
    ({"backup": {"enabled": True}}, "spec.backup", "set backup.s3 or backup.pvc"),
    ({"bootstrap": {"recovery": {"source": "refused"}}}, "bootstrap.recovery.source", "another ParadeDB"),
    ({"bootstrap": {"recovery": {"source": "a", "target": {"lsn": "0/1"}}}}, "recovery.target", "continuous"),
    ({"connectionPooling": {"parameters": {"auth_type": "any"}}}, "connectionPooling.parameters", "only"),
    ({"monitoring": {"port": 5432}}, "spec.monitoring.port", "taken by PostgreSQL"),
    ({"networkPolicy": {"clients": [{}]}}, "spec.networkPolicy.clients", "podSelector"),
    ({"databases": [{"name": "shop", "owner": "nobody"}]}, "spec.databases", "auth.users"),
    ({"auth": {"users": [{"name": "x; DROP ROLE postgres; --"}]}}, "spec.auth.users", ""),
    ({"auth": {"users": [{"name": "paradedb_pooler"}]}}, "spec.auth.users", "reserved"),
    ({"auth": {"users": [{"name": "credentials"}]}}, "spec.auth.users", "secretRef"),
    ({"auth": {"users": [{"name": "a_b"}, {"name": "a-b"}]}}, "spec.auth.users", "secretRef"),
    ({"auth": {"users": [{"name": "a", "privileges": ["SELECT"]}]}}, "privileges", "supported values"),
    ({"auth": {"database": "x; DROP DATABASE postgres; --"}}, "spec.auth.database", ""),
    ({"auth": {"pgHBA": ["let everybody in"]}}, "spec.auth.pgHBA", ""),
    ({"postgresConfig": {"listen_addresses": "*"}}, "listen_addresses", ""),
    ({"postgresConfig": {"fsync": "off"}}, "fsync", "data"),
    ({"extensions": {"additional": ["a b; DROP TABLE x"]}}, "spec.extensions.additional", ""),
    ({"postgresVersion": "9.6"}, "spec.postgresVersion", "supported values"),
]


@pytest.mark.parametrize(("spec", "field", "words"), AT_ADMISSION)
def test_refused_at_admission(namespace: str, spec: dict[str, Any], field: str, words: str) -> None:
    database = ParadeDB("refused", namespace)
    done = kubectl("create", "-f", "-", stdin=json.dumps(database.manifest(**spec)), check=False)
    assert done.returncode != 0
    assert field in done.stderr
    assert words.lower() in done.stderr.lower()


def test_name_too_long_is_refused(namespace: str) -> None:
    done = kubectl(
        "create", "-f", "-", stdin=json.dumps(ParadeDB("n" * 46, namespace).manifest()), check=False
    )
    assert done.returncode != 0
    assert "45" in done.stderr


def test_storage_cannot_shrink(running: ParadeDB) -> None:
    done = kubectl(
        "-n", running.namespace, "patch", "paradedb", running.name, "--type=merge",
        "-p", '{"spec":{"storage":{"size":"300Mi"}}}', check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "storage.size" in done.stderr
    assert "shrink" in done.stderr


def test_missing_superuser_secret(make: Make) -> None:
    database = make("nosecret").apply(auth={"superuserSecretRef": {"name": "nowhere"}})
    status = database.wait_phase("Failed")
    assert "spec.auth.superuserSecretRef" in status["message"]
    assert "nowhere" in status["message"]
    assert database.condition("Degraded")["reason"] == "SecretNotFound"
    assert [event["reason"] for event in database.events()].count("SecretNotFound") == 1
    assert find(OWNED_KINDS, database.namespace, f"app.kubernetes.io/instance={database.name}") == []

    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "nowhere", "namespace": database.namespace},
    }
    apply({**secret, "stringData": {"username": "postgres", "password": "found at last"}})
    database.wait_running()
    assert database.secret()["password"] == "found at last"


def test_recovery_from_nowhere(make: Make) -> None:
    database = make("nosource").apply(bootstrap={"recovery": {"source": "nowhere"}})
    status = database.wait_phase("Failed")
    assert "spec.bootstrap.recovery.source" in status["message"]
    assert "nowhere" in status["message"]
    assert database.condition("Degraded")["reason"] == "RecoverySourceNotFound"
    assert find(OWNED_KINDS, database.namespace, f"app.kubernetes.io/instance={database.name}") == []


def test_missing_backup_secret_stops_no_database(make: Make) -> None:
    s3 = {"endpoint": "http://s3.invalid", "bucket": "nowhere", "secretRef": {"name": "absent"}}
    continuous = {"enabled": True}
    database = make("nokeys").apply(backup={"enabled": True, "s3": s3, "continuous": continuous})
    database.wait_running()
    condition = database.condition("BackupHealthy")
    assert (condition["status"], condition["reason"]) == ("False", "SecretNotFound")
    assert "spec.backup.s3.secretRef" in condition["message"]
    assert "absent" in condition["message"]
    assert database.sql("SELECT 1") == "1"


def test_unknown_extension_is_reported_and_not_fatal(make: Make) -> None:
    database = make("noext").apply(extensions={"pgSearch": True, "pgVector": True, "additional": ["nosuch"]})
    database.wait_running()
    condition = database.condition("ExtensionsReady")
    assert condition["status"] == "False"
    assert "nosuch" in condition["message"]
    assert "pg_search" in condition["message"]
    assert database.sql("SELECT count(*) FROM pg_extension WHERE extname = 'vector'") == "1"


SETTINGS = [
    ({"work_mem": "plenty"}, "work_mem"),
    ({"no_such_setting": "1"}, "no_such_setting"),
    ({"max_connections": "5"}, "max_connections"),
    ({"shared_buffers": "900MB"}, "shared_buffers"),
]


@pytest.mark.parametrize(("settings", "name"), SETTINGS)
def test_invalid_setting_on_a_running_database(
    running: ParadeDB, settings: dict[str, str], name: str
) -> None:
    started = running.sql("SELECT pg_postmaster_start_time()")
    before = running.setting("deadlock_timeout")
    running.patch({"postgresConfig": {**settings, "deadlock_timeout": "7s"}})
    status = running.wait_phase("Failed")
    assert "spec.postgresConfig" in status["message"]
    assert name in status["message"]
    assert running.condition("Degraded")["reason"] == "InvalidSetting"
    assert running.setting("deadlock_timeout") == before
    assert running.sql("SELECT pg_postmaster_start_time()") == started
    running.patch({"postgresConfig": None})
    running.wait_running()


def test_invalid_setting_of_a_new_database(make: Make) -> None:
    database = make("badset").apply(postgresConfig={"work_mem": "plenty"})
    status = database.wait_phase("Failed")
    assert "spec.postgresConfig" in status["message"]
    assert "work_mem" in status["message"]
    database.patch({"postgresConfig": {"work_mem": "20MB"}})
    database.wait_running()
    assert database.setting("work_mem") == "20MB"


def test_image_that_cannot_be_pulled(make: Make) -> None:
    database = make("noimage").apply(image="localhost/no-such-image:1")
    status = database.wait_phase("Failed")
    assert "spec.image" in status["message"]
    assert "localhost/no-such-image:1" in status["message"]
    assert database.condition("Ready")["status"] == "False"
    database.apply()
    database.wait_running()


def test_image_of_another_version(make: Make) -> None:
    database = make("oldimage").apply(postgresVersion="16")
    status = database.wait_phase("Failed")
    assert "spec.postgresVersion" in status["message"]
    assert database.condition("Degraded")["reason"] == "VersionMismatch"


def test_template_in_a_value_stays_text(make: Make) -> None:
    text = "{{ 7 * 7 }}{% raw %}$HOME'\\"
    database = make("braces").apply(postgresConfig={"search_path": "public", "paradedb_test.words": text})
    database.wait_running()
    assert database.setting("paradedb_test.words") == text


def test_failure_goes_through_the_diagram(make: Make) -> None:
    database = make("diagram").apply(image="localhost/no-such-image:1")
    database.wait_phase("Failed")
    database.apply()
    with PhaseWatch(database) as watch:
        database.wait_running()
    assert watch.phases[-2:] == ["Creating", "Running"]
    eventually("the message is gone", lambda: database.status()["message"] == "")
