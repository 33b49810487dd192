"""No secret value in any log, event, status, run directory or the database's log."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

from cluster import OPERATOR_NAMESPACE, ParadeDB, apply, eventually, find, get, kubectl

Make = Callable[[str], ParadeDB]

OPERATOR = "app.kubernetes.io/name=paradedb-operator"


def test_no_secret_value_is_to_be_found(make: Make) -> None:
    database = make("discreet")
    chosen = "Very-Secret-Word-4711"
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "chosen", "namespace": database.namespace},
    }
    apply({**secret, "stringData": {"username": "postgres", "password": chosen}})
    loud = {"log_statement": "all", "log_min_duration_statement": "0", "log_connections": "on"}
    database.apply(
        auth={"superuserSecretRef": {"name": "chosen"}, "users": [{"name": "shop"}]},
        postgresConfig=loud,
        tls={"enabled": True},
        connectionPooling={"enabled": True, "replicas": 1},
    )
    database.wait_running()
    # A rotation, so that a statement with the new verifier runs while the log is at its loudest.
    rotated = "Another-Secret-Word-0815"
    apply({**secret, "stringData": {"username": "postgres", "password": rotated}})
    database.patch({"postgresConfig": {**loud, "work_mem": "19MB"}})
    database.wait_running()
    assert database.sql("SELECT 1", uri=database.secret()["uri"]) == "1"
    # The pooler looks the user up, and is given the verifier.
    held = (get("secret", "discreet-shop", database.namespace) or {})["data"]["uri"]
    pooled = base64.b64decode(held).decode().replace("discreet.", "discreet-pooler.")
    eventually("the pooler serves", lambda: database.sql("SELECT 1", uri=pooled, check=False) == "1")
    database.patch({"postgresConfig": {**loud, "work_mem": "wrong"}})
    database.wait_phase("Failed")

    values = secret_values(database) | {chosen, rotated}
    assert len(values) >= 10
    places = {
        "the operator's log": kubectl("-n", OPERATOR_NAMESPACE, "logs", "-l", OPERATOR, "--tail=-1").stdout,
        "the database's log": kubectl(
            "-n", database.namespace, "logs", f"{database.name}-0", "--all-containers"
        ).stdout,
        "events": json.dumps(find("events", database.namespace) + find("events", OPERATOR_NAMESPACE)),
        "the resource": json.dumps(database.resource()),
        "the pooler's log": kubectl(
            "-n", database.namespace, "logs", "-l", "app.kubernetes.io/component=pooler", "--tail=-1"
        ).stdout,
        "ConfigMaps, pods and what makes them": json.dumps(
            find("configmap,pod,statefulset,deployment", database.namespace)
        ),
        "run directories": operator_files(),
        "command lines": kubectl(
            "-n",
            database.namespace,
            "exec",
            f"{database.name}-0",
            "--",
            "sh",
            "-c",
            "cat /proc/[0-9]*/cmdline | tr '\\0' ' '",
        ).stdout,
    }
    assert "statement: " in places["the database's log"]  # the log was loud indeed
    assert "PgBouncer" in places["the pooler's log"]
    for place, text in places.items():
        found = [value[:4] + "..." for value in values if value in text]
        assert not found, f"{place} holds secret values"


def secret_values(database: ParadeDB) -> set[str]:
    """Every password and private key, in clear and in base64, and every role's verifier."""
    values = set()
    for item in find("secret", database.namespace, f"app.kubernetes.io/instance={database.name}"):
        for key, value in item["data"].items():
            if "password" in key or key.endswith(".key"):
                values |= {value, base64.b64decode(value).decode()}
    verifiers = database.sql("SELECT rolpassword FROM pg_authid WHERE rolpassword IS NOT NULL").splitlines()
    return values | set(verifiers)


def operator_files() -> str:
    """Everything in the files which passes left in the operator's container."""
    pod = find("pod", OPERATOR_NAMESPACE, OPERATOR)[0]["metadata"]["name"]
    script = "find /tmp -type f -exec cat {} +"
    return kubectl("-n", OPERATOR_NAMESPACE, "exec", pod, "--", "sh", "-c", script, check=False).stdout
