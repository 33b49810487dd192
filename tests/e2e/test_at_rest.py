"""A database at rest: looked at every period, without a run of Ansible until there is a reason for one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from cluster import OPERATOR_NAMESPACE, ParadeDB, apply, eventually, get, kubectl

PERIOD = "ansible.sdk.operatorframework.io/reconcile-period"


def logged(database: ParadeDB, message: str) -> list[dict[str, str]]:
    """The operator's lines about the database with this text."""
    log = kubectl(
        "-n", OPERATOR_NAMESPACE, "logs", "-l", "app.kubernetes.io/name=paradedb-operator", "--tail=-1"
    ).stdout
    lines = [json.loads(line) for line in log.splitlines()]
    about = (database.namespace, database.name, message)
    return [line for line in lines if (line.get("namespace"), line.get("name"), line["msg"]) == about]


def at_rest(database: ParadeDB) -> int:
    """Wait until no run starts any more for some periods; how many there were."""

    def quiet() -> int:
        before = len(logged(database, "run started"))
        time.sleep(8)
        return before if len(logged(database, "run started")) == before else 0

    return eventually("the database comes to rest", quiet)


def test_periods_pass_without_a_run_until_something_changes(running: ParadeDB) -> None:
    running.annotate(PERIOD, "1s")
    runs = at_rest(running)
    kubectl("-n", running.namespace, "delete", "service", running.name)
    eventually("the Service is back", lambda: get("service", running.name, running.namespace))
    assert len(logged(running, "run started")) > runs


def test_a_changed_password_of_the_user_brings_a_pass(make: Callable[[str], ParadeDB]) -> None:
    database = make("named")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "mine", "namespace": database.namespace},
        "stringData": {"username": "postgres", "password": "first"},
    }
    apply(secret)
    database.apply(auth={"superuserSecretRef": {"name": "mine"}})
    database.wait_running()
    at_rest(database)
    apply({**secret, "stringData": {"username": "postgres", "password": "second"}})
    eventually("the new password is in use", lambda: database.secret()["password"] == "second")
    eventually("it opens the database", lambda: database.sql("SELECT 1", check=False) == "1")


def test_the_status_follows_a_lost_instance_without_a_run(running: ParadeDB) -> None:
    """The module that writes it may ask for a run, but what it saw is in the status before."""
    at_rest(running)
    refreshes = len(logged(running, "module ended"))
    kubectl("-n", running.namespace, "delete", "pod", f"{running.name}-0", "--wait=false")
    eventually("the loss is told", lambda: running.condition("Ready").get("status") == "False")
    assert running.status()["readyReplicas"] == 0
    assert running.status()["phase"] == "Running"
    assert len(logged(running, "module ended")) > refreshes
    eventually("it is ready again", lambda: running.condition("Ready").get("status") == "True")
    assert running.condition("Degraded")["status"] == "False"
