"""A database at rest: looked at every period, without a run of Ansible until there is a reason for one."""

from __future__ import annotations

import time
from collections.abc import Callable

from cluster import PERIOD, ParadeDB, apply, eventually, get, kubectl


def at_rest(database: ParadeDB) -> int:
    """Wait until no run starts any more for some periods; how many there were."""

    def quiet() -> int:
        before = database.logged("run started")
        time.sleep(8)
        return before if database.logged("run started") == before else 0

    return eventually("the database comes to rest", quiet)


def test_periods_pass_without_a_run_until_something_changes(running: ParadeDB) -> None:
    running.annotate(PERIOD, "1s")
    runs = at_rest(running)
    kubectl("-n", running.namespace, "delete", "service", running.name)
    eventually("the Service is back", lambda: get("service", running.name, running.namespace))
    assert running.logged("run started") > runs


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
    refreshes = running.logged("module ended")
    kubectl("-n", running.namespace, "delete", "pod", f"{running.name}-0", "--wait=false")
    eventually("the loss is told", lambda: running.condition("Ready").get("status") == "False")
    assert running.status()["readyReplicas"] == 0
    assert running.status()["phase"] == "Running"
    assert running.logged("module ended") > refreshes
    assert running.logged("the refresh failed") == 0
    eventually("it is ready again", lambda: running.condition("Ready").get("status") == "True")
    assert running.condition("Degraded")["status"] == "False"
