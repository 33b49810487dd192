"""Stored ParadeDBs: what may change, what may not, and how they are shown.

Changes are tried with a dry run, so an operator that happens to run in the cluster is given nothing to do but
six databases that are deleted again.
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


@pytest.fixture(scope="module")
def synchronous(paradedbs: ParadeDBs) -> Iterator[str]:
    """A stored ParadeDB whose writes wait for two standbys."""
    replication = {"mode": "sync", "syncNodeCount": 2, "strict": True}
    name = paradedbs.create(NOWHERE | {"replicas": 3, "replication": replication})
    yield name
    paradedbs.delete(name)


@pytest.fixture(scope="module")
def failed(paradedbs: ParadeDBs) -> Iterator[str]:
    """A stored ParadeDB that has failed; paused, so that an operator leaves the phase alone."""
    storage = {"size": "2Gi", "walStorage": {"size": "2Gi", "storageClassName": "faster"}}
    name = paradedbs.create(NOWHERE | {"paused": True, "storage": storage})
    paradedbs.server.request("PATCH", f"{paradedbs.path}/{name}/status", {"status": {"phase": "Failed"}})
    yield name
    paradedbs.delete(name)


@pytest.fixture(scope="module")
def recovered(paradedbs: ParadeDBs) -> Iterator[str]:
    """A stored ParadeDB that is made from a backup, and makes backups to a volume; paused."""
    recovery = {"source": "shop", "method": "continuous", "target": {"lsn": "0/1"}}
    backup = {"enabled": True, "pvc": {"size": "2Gi", "storageClassName": "slow"}, "verify": {}}
    spec = {"paused": True, "bootstrap": {"recovery": recovery}, "backup": backup}
    name = paradedbs.create(NOWHERE | spec)
    status = {"status": {"currentPrimary": f"{name}-0"}}
    paradedbs.server.request("PATCH", f"{paradedbs.path}/{name}/status", status)
    yield name
    paradedbs.delete(name)


def test_a_recovery_cannot_be_taken_back_before_its_end(paradedbs: ParadeDBs) -> None:
    name = paradedbs.create(NOWHERE | {"paused": True, "bootstrap": {"recovery": {"source": "shop"}}})
    refusal = message(lambda: paradedbs.try_change(name, {"bootstrap": None}))
    paradedbs.delete(name)
    assert "spec.bootstrap: Forbidden: bootstrap can be removed when the database is recovered" in refusal


REFUSED_CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "shrink": (
        {"storage": {"size": "1Gi"}},
        "spec.storage.size: Forbidden: storage.size is 2Gi and volumes cannot shrink; create",
    ),
    "shrink by a byte": (
        {"storage": {"size": 2 * 2**30 - 1}},
        "spec.storage.size: Forbidden: storage.size is 2Gi and volumes cannot shrink",
    ),
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
    "too many instances": ({"replicas": 11}, "spec.replicas: Invalid value"),
    "recover what is there": (
        {"bootstrap": {"recovery": {"source": "shop"}}},
        "spec.bootstrap: Forbidden: bootstrap can be removed from an existing ParadeDB, but neither",
    ),
    "strict, and nobody to wait for": (
        {"replication": {"mode": "sync", "strict": True}},
        "spec.replication.strict: Invalid value: ",
    ),
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
            {"walStorage": {"size": "512Mi"}},
            "walStorage.size: Forbidden: storage.walStorage.size is 1Gi and volumes cannot shrink",
        ),
        (
            {"walStorage": {"storageClassName": None}},
            "spec.storage.walStorage.storageClassName: Forbidden: storage.walStorage.storageClassName",
        ),
        (
            {"walStorage": {"storageClassName": "other"}},
            "spec.storage.walStorage.storageClassName: Forbidden: storage.walStorage.storageClassName",
        ),
        (
            {"size": "1Gi", "walStorage": {"size": "2Gi"}},
            "spec.storage.size: Forbidden: storage.size is 10Gi and volumes cannot shrink",
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
    "storage",
    [
        {"walStorage": {"size": "2Gi"}},
        {"walStorage": {"size": "1024Mi"}},
        {"size": "10.5Gi", "walStorage": {"size": 2**31}},
        {"walStorage": {"size": None}},
        {"reclaimPolicy": "Delete"},
    ],
    ids=str,
)
def test_volumes_may_grow(paradedbs: ParadeDBs, with_log_volume: str, storage: dict[str, Any]) -> None:
    assert paradedbs.try_change(with_log_volume, {"storage": storage})


@pytest.mark.parametrize(
    "change",
    [
        {"source": "other"},
        {"method": "dump", "target": None},
        {"backup": "20261124T010000"},
        {"target": {"lsn": "0/2"}},
        {"target": None},
    ],
    ids=str,
)
def test_a_recovery_stays_as_it_was_asked_for(
    paradedbs: ParadeDBs, recovered: str, change: dict[str, Any]
) -> None:
    refusal = message(lambda: paradedbs.try_change(recovered, {"bootstrap": {"recovery": change}}))
    assert (
        "spec.bootstrap: Forbidden: bootstrap can be removed from an existing ParadeDB, but neither"
        in refusal
    )


@pytest.mark.parametrize(
    ("backup", "refusal"),
    [
        ({"pvc": {"size": "1Gi"}}, "spec.backup.pvc.size: Forbidden: backup.pvc.size must not be reduced"),
        ({"pvc": {"storageClassName": "fast"}}, "spec.backup.pvc.storageClassName: Forbidden: "),
        ({"pvc": {"storageClassName": None}}, "spec.backup.pvc.storageClassName: Forbidden: "),
        ({"enabled": False}, "spec.backup.verify: Invalid value: backup.verify needs backup.enabled"),
        ({"pvc": None}, "spec.backup: Invalid value: backup.enabled needs a place"),
        ({"continuous": {"enabled": True}}, "backup.continuous.enabled needs a bucket"),
    ],
)
def test_changes_of_backups_that_are_refused(
    paradedbs: ParadeDBs, recovered: str, backup: dict[str, Any], refusal: str
) -> None:
    assert refusal in message(lambda: paradedbs.try_change(recovered, {"backup": backup}))


@pytest.mark.parametrize(
    "change",
    [
        {"bootstrap": None},
        {"bootstrap": {"recovery": {"target": {"lsn": "0/1"}}}, "replicas": 2},
        {"backup": {"pvc": {"size": "3Gi"}}},
        {"backup": {"enabled": False, "verify": None}},
        {"backup": {"schedule": "@hourly", "jobs": 1, "retentionPolicy": {"keepLast": 1}}},
        {
            "backup": {
                "pvc": None,
                "s3": {"endpoint": "https://s3", "bucket": "abc", "secretRef": {"name": "s"}},
                "continuous": {"enabled": True},
            }
        },
    ],
    ids=str,
)
def test_changes_of_backups_and_recoveries(
    paradedbs: ParadeDBs, recovered: str, change: dict[str, Any]
) -> None:
    assert paradedbs.try_change(recovered, change)


def test_a_size_that_could_not_be_had_can_be_put_back(paradedbs: ParadeDBs, failed: str) -> None:
    assert paradedbs.try_change(failed, {"storage": {"size": "1Gi"}})
    assert paradedbs.try_change(failed, {"storage": {"walStorage": {"size": "1Gi"}}})
    other_class = {"storage": {"size": "1Gi", "walStorage": {"storageClassName": "other"}}}
    assert "walStorage.storageClassName cannot" in message(lambda: paradedbs.try_change(failed, other_class))


@pytest.mark.parametrize(
    "change",
    [
        {"storage": {"size": "3Gi"}},
        {"storage": {"size": 2**31 + 1}},
        {"storage": None},
        {"storage": {"size": "2048Mi"}},
        {"storage": {"size": 2**31}},
        {"storage": {"reclaimPolicy": "Delete"}},
        {"replicas": 10},
        {"replicas": 3, "replication": {"mode": "sync", "syncNodeCount": 2, "strict": True}},
        {"edition": "Community"},
        {"edition": "Enterprise"},
        {"nodeLossPolicy": "ForceDelete"},
        {"paused": True},
        {"hibernate": True},
        {"tls": {"enabled": True}},
        {"tls": {"enabled": True, "secretRef": {"name": "a"}}},
        {"auth": {"superuserSecretRef": {"name": "mine"}}},
        {"auth": {"pgHBA": ["host all all all reject"]}},
        {"auth": None},
        {"auth": {"users": [{"name": "app"}]}, "databases": [{"name": "shop", "owner": "app"}]},
        {"connectionPooling": {"enabled": True, "replicas": 3, "parameters": {"query_timeout": "9"}}},
        {"monitoring": {"enabled": True, "port": 9999, "prometheusRule": {"enabled": True}}},
        {"networkPolicy": {"enabled": True, "clients": [{"podSelector": {}}]}},
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
        ("Primary", "string"),
        ("Version", "string"),
        ("Endpoint", "string"),
        ("Backup", "date"),
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


def test_status_tells_of_every_instance(paradedbs: ParadeDBs, plain: str) -> None:
    primary = {"name": f"{plain}-0", "role": "primary", "state": "running", "ready": True, "timeline": 3}
    primary |= {"lagBytes": 0, "pendingRestart": True, "node": "node1"}
    standby = {
        "name": f"{plain}-1",
        "role": "syncReplica",
        "state": "streaming",
        "ready": True,
        "timeline": 3,
    }
    standby |= {"lagBytes": 5 * 2**40, "pendingRestart": False, "node": "node2"}
    lost = {"name": f"{plain}-2", "role": "", "state": "", "ready": False}
    status = {
        "currentPrimary": primary["name"],
        "readOnlyEndpoint": f"{plain}-ro.default.svc:5432",
        "instances": [primary, standby, lost],
        "tls": {"secretName": f"{plain}-tls", "expires": "2027-01-01T00:00:00Z"},
    }
    stored = paradedbs.try_subresource(plain, "status", {"status": status})["status"]
    assert stored | status == stored


def test_status_tells_of_backups_and_of_the_recovery(paradedbs: ParadeDBs, plain: str) -> None:
    moment, checks = "2026-11-24T01:30:00Z", {"rows": "12 tables, 0 wrong"}
    last = {"id": "20261124T013000Z-4f1c", "finished": moment, "bytes": 2**40, "durationSeconds": 90}
    verification = {"id": last["id"], "finished": moment, "durationSeconds": 9, "result": "succeeded"}
    running = {"kind": "base", "id": "20261124T010000", "started": moment, "phase": "data", "bytes": 1}
    archive = {"lastWal": "0" * 24, "lastTime": moment, "pending": 3, "failures": 0}
    recovery = {"state": "succeeded", "method": "dump", "source": "s3://abc/shop", "backup": last["id"]}
    status = {
        "lastBackup": moment,
        "lastBackupSize": "1Ti",
        "backup": {
            "place": "s3://abc/orders",
            "asked": {"dump": "a" * 64, "base": ""},
            "dump": last,
            "base": last | {"id": "20261124T010000"},
            "verification": verification | {"checks": checks},
            "running": [running | {"percent": 100}, {"kind": "dump"}],
            "archive": archive | {"freeBytes": 0, "totalBytes": 2**40},
        },
        "recovery": recovery
        | {"target": "latest", "phase": "", "reason": "", "message": "", "percent": 0}
        | {"started": moment, "finished": moment, "durationSeconds": 4, "checks": checks},
    }
    stored = paradedbs.try_subresource(plain, "status", {"status": status})["status"]
    assert stored | status == stored


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
        ({"backup": {"dump": {"bytes": -1}}}, "status.backup.dump.bytes: Invalid value"),
        ({"backup": {"running": [{"kind": "a"}]}}, "status.backup.running[0].kind: Unsupported value"),
        ({"backup": {"verification": {"result": "ok"}}}, "status.backup.verification.result: Unsupported"),
        ({"recovery": {"state": "done"}}, "status.recovery.state: Unsupported value"),
        ({"recovery": {"percent": 101}}, "status.recovery.percent: Invalid value"),
        ({"tls": {"expires": "tomorrow"}}, "status.tls.expires: Invalid value"),
        ({"users": [{"secretName": "a"}]}, "status.users[0].name: Required value"),
        ({"instances": [{"role": "primary"}]}, "status.instances[0].name: Required value"),
        ({"instances": [{"name": "a-0", "role": "master"}]}, "status.instances[0].role: Unsupported value"),
        ({"instances": [{"name": "a-0", "lagBytes": -1}]}, "status.instances[0].lagBytes: Invalid value"),
        ({"instances": [{"name": "a-0"}, {"name": "a-0"}]}, "status.instances[1]: Duplicate value"),
    ],
)
def test_bad_status_is_refused(
    paradedbs: ParadeDBs, plain: str, status: dict[str, Any], refusal: str
) -> None:
    assert refusal in message(lambda: paradedbs.try_subresource(plain, "status", {"status": status}))


def test_status_tells_where_to_connect_and_as_whom(paradedbs: ParadeDBs, plain: str) -> None:
    users = [{"name": "app", "secretName": f"{plain}-app"}, {"name": "reader", "secretName": "mine"}]
    status = {"poolerEndpoint": f"{plain}-pooler.default.svc:5432", "users": users}
    stored = paradedbs.try_subresource(plain, "status", {"status": status})["status"]
    assert stored | status == stored


def test_a_user_cannot_go_while_it_owns_a_database(paradedbs: ParadeDBs) -> None:
    owned = {"auth": {"users": [{"name": "app"}]}, "databases": [{"name": "shop", "owner": "app"}]}
    name = paradedbs.create(NOWHERE | {"paused": True} | owned)
    try:
        refusal = message(lambda: paradedbs.try_change(name, {"auth": {"users": None}}))
        assert "spec.databases: Invalid value: the owner of a database must be one of auth.users" in refusal
        assert paradedbs.try_change(name, {"auth": {"users": None}, "databases": [{"name": "shop"}]})
        assert paradedbs.try_change(name, {"auth": {"users": None}, "databases": None})
    finally:
        paradedbs.delete(name)


def test_scale_subresource(paradedbs: ParadeDBs, plain: str) -> None:
    scale = paradedbs.server.request("GET", f"{paradedbs.path}/{plain}/scale")
    assert scale["kind"] == "Scale"
    assert scale["spec"]["replicas"] == 1
    scaled = paradedbs.try_subresource(plain, "scale", {"spec": {"replicas": 3}})
    assert scaled["spec"]["replicas"] == 3
    too_many = {"spec": {"replicas": 11}}
    assert "spec.replicas" in message(lambda: paradedbs.try_subresource(plain, "scale", too_many))


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"replicas": 2}, "replication.syncNodeCount must be less than replicas"),
        ({"replicas": 1}, "replication.strict needs a standby"),
        ({"replicas": 2, "replication": {"syncNodeCount": 1}}, ""),
        ({"replicas": 1, "replication": {"strict": False}}, ""),
        ({"replicas": 1, "replication": {"mode": "async"}}, ""),
    ],
    ids=str,
)
def test_scaling_in_keeps_the_synchronous_standbys(
    paradedbs: ParadeDBs, synchronous: str, change: dict[str, Any], refusal: str
) -> None:
    if refusal:
        assert refusal in message(lambda: paradedbs.try_change(synchronous, change))
    else:
        assert paradedbs.try_change(synchronous, change)


def test_the_scale_subresource_keeps_them_too(paradedbs: ParadeDBs, synchronous: str) -> None:
    change = {"spec": {"replicas": 2}}
    refusal = message(lambda: paradedbs.try_subresource(synchronous, "scale", change))
    assert "replication.syncNodeCount must be less than replicas" in refusal
