"""Stored ParadeDBs: what may change, what may not, and how they are shown.

Changes are tried with a dry run, so an operator that happens to run in the cluster is given nothing to do but
three databases that are deleted again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from apiserver import ParadeDBs, message, paradedb

pytestmark = pytest.mark.cluster

# No node has this label, so that no pod starts even where an operator makes one.
NOWHERE = {"nodeSelector": {"database.paradedb.io/test": "nowhere"}}


@pytest.fixture(scope="module")
def plain(paradedbs: ParadeDBs) -> Iterator[str]:
    """A stored ParadeDB with one volume for each instance."""
    name = paradedbs.create(NOWHERE | {"storage": {"size": "2Gi"}})
    yield name
    paradedbs.delete(name)


@pytest.fixture(scope="module")
def with_log_volume(paradedbs: ParadeDBs) -> Iterator[str]:
    """A stored ParadeDB with a log volume, and classes of both."""
    storage = {"storageClassName": "fast", "walStorage": {"size": "1Gi", "storageClassName": "faster"}}
    name = paradedbs.create(NOWHERE | {"storage": storage})
    yield name
    paradedbs.delete(name)


REFUSED_CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "shrink": ({"storage": {"size": "1Gi"}}, "spec.storage.size: Forbidden: storage.size cannot shrink"),
    "shrink by a byte": (
        {"storage": {"size": 2 * 2**30 - 1}},
        "spec.storage.size: Forbidden: storage.size cannot shrink",
    ),
    "grow": ({"storage": {"size": "3Gi"}}, "spec.storage.size: Forbidden: growing volumes is not built yet"),
    "set a class": (
        {"storage": {"storageClassName": "b"}},
        "spec.storage.storageClassName: Forbidden: storage.storage",
    ),
    "other access modes": (
        {"storage": {"accessModes": ["ReadWriteOncePod"]}},
        "spec.storage.accessModes: Forbidden: storage.accessModes cannot be changed",
    ),
    "add a log volume": (
        {"storage": {"walStorage": {}}},
        "spec.storage: Forbidden: storage.walStorage cannot be added",
    ),
    "major version": (
        {"postgresVersion": "18"},
        "spec.postgresVersion: Forbidden: postgresVersion cannot be changed",
    ),
    "default major version": (
        {"postgresVersion": "16"},
        "spec.postgresVersion: Forbidden: postgresVersion cannot be",
    ),
    "rename the database": (
        {"auth": {"database": "b"}},
        "spec.auth.database: Forbidden: auth.database cannot be changed",
    ),
    "default size instead": (
        {"storage": None},
        "spec.storage.size: Forbidden: growing volumes is not built yet",
    ),
    "scale out": ({"replicas": 3}, "spec.replicas: Forbidden: replicas above 1"),
}


@pytest.mark.parametrize("case", REFUSED_CHANGES)
def test_change_is_refused(paradedbs: ParadeDBs, plain: str, case: str) -> None:
    change, refusal = REFUSED_CHANGES[case]
    assert refusal in message(lambda: paradedbs.try_change(plain, change))


@pytest.mark.parametrize(
    ("storage", "refusal"),
    [
        ({"walStorage": None}, "spec.storage: Forbidden: storage.walStorage cannot be added to or removed"),
        (
            {"walStorage": {"size": "2Gi"}},
            "spec.storage.walStorage: Forbidden: storage.walStorage cannot be changed",
        ),
        (
            {"walStorage": {"storageClassName": None}},
            "spec.storage.walStorage: Forbidden: storage.walStorage cannot",
        ),
        (
            {"storageClassName": None},
            "spec.storage.storageClassName: Forbidden: storage.storageClassName cannot",
        ),
    ],
)
def test_volumes_stay_as_they_were_made(
    paradedbs: ParadeDBs, with_log_volume: str, storage: dict[str, Any], refusal: str
) -> None:
    assert refusal in message(lambda: paradedbs.try_change(with_log_volume, {"storage": storage}))


@pytest.mark.parametrize(
    "change",
    [
        {"storage": {"size": "2048Mi"}},
        {"storage": {"size": 2**31}},
        {"storage": {"reclaimPolicy": "Delete"}},
        {"auth": {"superuserSecretRef": {"name": "mine"}}},
        {"auth": {"pgHBA": ["host all all all reject"]}},
        {"auth": None},
        {"image": "paradedb/paradedb:17-v0.25.4"},
        {"postgresConfig": {"work_mem": "8MB"}},
        {"resources": {"limits": {"memory": "1Gi"}}},
        {"extensions": {"pgVector": True}},
        {"serviceType": "NodePort"},
    ],
    ids=str,
)
def test_change_is_accepted(paradedbs: ParadeDBs, plain: str, change: dict[str, Any]) -> None:
    assert paradedbs.try_change(plain, change)


def test_a_new_resource_reads_pending(paradedbs: ParadeDBs) -> None:
    server = paradedbs.server
    before = server.request("GET", paradedbs.path)["metadata"]["resourceVersion"]
    server.request("POST", paradedbs.path, paradedb("fresh", NOWHERE))
    try:
        first = server.first_event(paradedbs.path, before, "fresh")
        assert first["type"] == "ADDED"
        assert first["object"]["status"] == {"phase": "Pending"}
    finally:
        paradedbs.delete("fresh")


def test_columns(paradedbs: ParadeDBs, plain: str) -> None:
    table = paradedbs.server.request(
        "GET", f"{paradedbs.path}/{plain}", accept="application/json;as=Table;v=v1;g=meta.k8s.io"
    )
    columns = [(column["name"], column["type"]) for column in table["columnDefinitions"]]
    assert columns == [
        ("Name", "string"),
        ("Phase", "string"),
        ("Ready", "integer"),
        ("Version", "string"),
        ("Endpoint", "string"),
        ("Age", "date"),
    ]


def test_status_is_its_own_subresource(paradedbs: ParadeDBs, plain: str) -> None:
    before = paradedbs.get(plain)
    change = {"status": {"readyReplicas": 1, "currentVersion": "17.6"}, "spec": {"serviceType": "NodePort"}}
    after = paradedbs.try_subresource(plain, "status", change)
    assert after["status"]["readyReplicas"] == 1
    assert after["spec"] == before["spec"]
    path = f"{paradedbs.path}/{plain}"
    unchanged = paradedbs.server.request("PATCH", path, {"status": {"currentVersion": "1"}}, dryRun="All")
    assert unchanged.get("status", {}).get("currentVersion") != "1"


@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        ({"phase": "Broken"}, "status.phase: Unsupported value"),
        ({"readyReplicas": -1}, "status.readyReplicas: Invalid value"),
        ({"conditions": [{"type": "Ready"}]}, "status.conditions[0].lastTransitionTime: Required value"),
        (
            {"conditions": [{"type": "Ready", "status": "Yes"}]},
            "status.conditions[0].status: Unsupported value",
        ),
        ({"lastBackup": "yesterday"}, "status.lastBackup: Invalid value"),
    ],
)
def test_bad_status_is_refused(
    paradedbs: ParadeDBs, plain: str, status: dict[str, Any], refusal: str
) -> None:
    assert refusal in message(lambda: paradedbs.try_subresource(plain, "status", {"status": status}))


def test_scale_subresource(paradedbs: ParadeDBs, plain: str) -> None:
    scale = paradedbs.server.request("GET", f"{paradedbs.path}/{plain}/scale")
    assert scale["kind"] == "Scale"
    assert scale["spec"]["replicas"] == 1
    for replicas, refusal in ((2, "replicas above 1"), (11, "spec.replicas")):
        change = {"spec": {"replicas": replicas}}
        assert refusal in message(lambda: paradedbs.try_subresource(plain, "scale", change))  # noqa: B023
