"""Fixtures of the tests on a real cluster with the operator in it (tools/test sets both up)."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster import IMAGE, ParadeDB, apply, kubectl, remove

CLIENT = {
    "name": "client",
    "image": IMAGE,
    "imagePullPolicy": "IfNotPresent",
    "command": ["sleep", "infinity"],
    "securityContext": {"runAsUser": 999},
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="module")
def namespace(request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test module's own, with a pod to connect from."""
    short = request.path.stem.removeprefix("test_").replace("_", "-")
    name = f"e2e-{short}-{secrets.token_hex(2)}"
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    pod = {"metadata": {"name": "client", "namespace": name}, "spec": {"containers": [CLIENT]}}
    pod["spec"]["terminationGracePeriodSeconds"] = 0
    apply({"apiVersion": "v1", "kind": "Pod", **pod})
    yield name
    kubectl("-n", name, "delete", "paradedb", "--all", "--timeout=180s")
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def client(namespace: str) -> None:
    """The pod to connect from is ready."""
    kubectl("-n", namespace, "wait", "pod/client", "--for=condition=Ready", "--timeout=120s")


@pytest.fixture
def make(namespace: str, client: None) -> Iterator[Callable[[str], ParadeDB]]:
    """Makes ParadeDBs that are deleted after the test, with their volumes."""
    made: list[ParadeDB] = []

    def new(name: str) -> ParadeDB:
        made.append(ParadeDB(name, namespace))
        return made[-1]

    yield new
    for database in made:
        remove(database)


@pytest.fixture(scope="module")
def running(namespace: str, client: None) -> Iterator[ParadeDB]:
    """One running ParadeDB that the tests of a module share."""
    database = ParadeDB("shared", namespace).apply()
    database.wait_running()
    yield database
    remove(database)
