"""A ParadeDB resource becomes a database that answers and keeps its data."""

from __future__ import annotations

import time
from collections.abc import Callable

import yaml
from cluster import ROOT, ParadeDB, PhaseWatch, apply, eventually

Make = Callable[[str], ParadeDB]


def test_sample_becomes_a_database_that_keeps_its_data(make: Make) -> None:
    sample = yaml.safe_load((ROOT / "deploy/samples/paradedb_v1alpha1_local.yaml").read_text())
    database = make(sample["metadata"]["name"])
    sample["metadata"]["namespace"] = database.namespace
    begun = time.monotonic()
    apply(sample)
    with PhaseWatch(database) as watch:
        database.wait_running()
    print(f"Running after {time.monotonic() - begun:.1f} s")
    assert ["Pending", "Creating", "Running"][-len(watch.phases) :] == watch.phases

    database.sql("CREATE TABLE kept (id int, v vector(3)); INSERT INTO kept VALUES (1, '[1,2,3]')")
    before = database.pod()
    assert before
    database._kubectl("delete", "pod", before["metadata"]["name"], "--wait=false")

    def replaced() -> bool:
        pod = database.pod()
        ready = {item["type"]: item["status"] for item in (pod or {}).get("status", {}).get("conditions", [])}
        return (
            bool(pod) and pod["metadata"]["uid"] != before["metadata"]["uid"] and ready.get("Ready") == "True"
        )

    eventually("the pod is replaced and ready", replaced)
    rows = eventually(
        "the table answers", lambda: database.sql("SELECT id, v FROM kept", check=False) == "1|[1,2,3]"
    )
    assert rows
    eventually("the status says so", lambda: database.condition("Ready")["status"] == "True")
    assert database.status()["phase"] == "Running"


def test_status_tells_how_to_connect(running: ParadeDB) -> None:
    status = running.status()
    assert status["endpoint"] == f"{running.name}.{running.namespace}.svc:5432"
    assert status["readyReplicas"] == 1
    assert status["currentVersion"] == running.setting("server_version").split()[0]
    assert status["credentialsSecret"] == f"{running.name}-credentials"
    secret = running.secret()
    assert secret["username"] == "postgres"
    assert len(secret["password"]) >= 20
    assert running.sql("SELECT current_database(), current_user") == "paradedb|postgres"
    assert {name: running.condition(name)["status"] for name in ("Ready", "Progressing", "Degraded")} == {
        "Ready": "True",
        "Progressing": "False",
        "Degraded": "False",
    }
    generation = running.resource()["metadata"]["generation"]
    assert all(item["observedGeneration"] == generation for item in status["conditions"])


def test_every_transition_is_an_event(running: ParadeDB) -> None:
    reasons = [event["reason"] for event in running.events()]
    assert {"Creating", "Running"} <= set(reasons)


def test_extensions_of_the_architecture_are_there(running: ParadeDB) -> None:
    created = running.sql("SELECT string_agg(extname, ',' ORDER BY extname) FROM pg_extension").split(",")
    assert {"vector", "pg_stat_statements", "uuid-ossp"} <= set(created)
    assert running.sql("SELECT count(*) >= 0 FROM pg_stat_statements") == "t"
    assert running.condition("ExtensionsReady")["status"] == "True"


def test_memory_settings_come_from_the_limits(running: ParadeDB) -> None:
    assert running.setting("shared_buffers") == "128MB"
    assert running.setting("effective_cache_size") == "384MB"
    assert running.setting("maintenance_work_mem") == "64MB"


def test_wal_has_a_volume_of_its_own_when_asked_for(make: Make) -> None:
    database = make("wal").apply(storage={"size": "400Mi", "walStorage": {"size": "400Mi"}})
    database.wait_running()
    device = "stat -c %d"
    numbers = database._kubectl(
        "exec", f"{database.name}-0", "--", "sh", "-c", f"{device} $PGDATA; {device} $PGDATA/pg_wal/"
    ).stdout.split()
    assert numbers[0] != numbers[1]


def test_superuser_from_the_users_secret(make: Make) -> None:
    database = make("ownsecret")
    password = 'it\'s a \\ "pass:word" ünïcode {{ 7*7 }} $HOME'
    secret = {"metadata": {"name": "mine", "namespace": database.namespace}}
    apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            **secret,
            "stringData": {"username": "boss", "password": password},
        }
    )
    database.apply(auth={"superuserSecretRef": {"name": "mine"}})
    database.wait_running()
    assert database.secret()["password"] == password
    assert database.sql("SELECT current_user, current_setting('is_superuser')") == "boss|on"


def test_network_logins_need_the_password(running: ParadeDB) -> None:
    uri = running.secret()["uri"]
    wrong = uri.replace(running.secret()["password"], "wrong")
    assert "password authentication failed" in running.sql("SELECT 1", uri=wrong, check=False)
