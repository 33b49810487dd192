"""Backups: every reason for which they fail, and what can happen to them meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from cluster import ParadeDB, eventually, find, kubectl, remove
from s3 import S3, ask, backup, in_primary, make_backup, wait_healthy

BY_HAND = pytest.mark.skipif(
    not os.environ.get("PARADEDB_BACKUP_FAULTS"),
    reason="takes minutes, and images/backup/tests/faults shows it faster: set PARADEDB_BACKUP_FAULTS=1",
)
# Megabytes that hardly compress, so that an upload lasts.
NOISE = (
    "CREATE TABLE noise AS SELECT md5(i::text || random()) || md5(random()::text) AS n"
    " FROM generate_series(1, 600000) i"
)


@pytest.fixture(scope="module")
def s3(namespace: str) -> S3:
    return S3(namespace).start()


@pytest.fixture(scope="module")
def orders(namespace: str, client: None, s3: S3) -> Iterator[ParadeDB]:
    """A database with dumps in the bucket."""
    database = ParadeDB("orders", namespace).apply(
        storage={"size": "600Mi"}, backup={"enabled": True, "s3": s3.store()}
    )
    database.wait_running()
    wait_healthy(database)
    yield database
    remove(database)


# Each has its own reason, told within one attempt, and the database does not mind.
WRONG = {
    "CredentialsRejected": {"secretRef": {"name": "s3-wrong"}},
    "BucketMissing": {"bucket": "not-there"},
    "WrongRegion": {"region": "us-nowhere-7"},
    "EndpointUnreachable": {"endpoint": "https://s3-of-nobody:9000"},
    "CertificateUntrusted": {"caSecretRef": {"name": "other-ca"}},
    "SecretNotFound": {"secretRef": {"name": "not-there"}},
}


# What only a cluster shows; the others are also in images/backup/tests/faults.
QUICK = ("CertificateUntrusted", "SecretNotFound")


@pytest.mark.parametrize(
    "reason", [pytest.param(reason, marks=[] if reason in QUICK else [BY_HAND]) for reason in WRONG]
)
def test_every_way_to_fail_has_its_reason(orders: ParadeDB, s3: S3, reason: str) -> None:
    orders.patch({"backup": {"s3": s3.store(**WRONG[reason])}})
    try:
        orders.wait_running()
        if reason != "SecretNotFound":  # which is told before anything runs
            ask(orders)
        told = wait_healthy(orders, reason)
        assert told["status"] == "False"
        assert "spec.backup.s3" in told["message"]
        assert orders.status()["phase"] == "Running"
    finally:
        orders.patch({"backup": {"s3": s3.store()}})
    wait_healthy(orders)


def dumps(s3: S3, database: ParadeDB) -> set[str]:
    """Ids of what counts as a backup."""
    return {name.split("/")[-2] for name in s3.files(database.name) if name.endswith("/manifest.json")}


def fails(database: ParadeDB) -> dict[str, object]:
    """The end of a dump that fails: the condition says why."""
    return eventually(
        "the failure is told",
        lambda: (now := database.condition("BackupHealthy")).get("status") == "False" and now,
    )


@pytest.fixture(scope="module")
def noisy(orders: ParadeDB) -> ParadeDB:
    in_primary(orders, NOISE)
    return orders


def begin_dump(database: ParadeDB, s3: S3, order: str) -> None:
    s3.order(order)
    ask(database)
    s3.wait()


@BY_HAND
def test_the_server_goes_in_mid_upload(noisy: ParadeDB, s3: S3) -> None:
    before = dumps(s3, noisy)
    begin_dump(noisy, s3, "cut 4000000")
    assert fails(noisy)["reason"] in ("UploadFailed", "EndpointUnreachable")
    assert dumps(s3, noisy) == before
    s3.order("open")
    make_backup(noisy)
    assert before < dumps(s3, noisy)


@BY_HAND
def test_the_pod_is_killed(noisy: ParadeDB, s3: S3) -> None:
    before = dumps(s3, noisy)
    begin_dump(noisy, s3, "hold 4000000")
    pods = find("pods", noisy.namespace, "database.paradedb.io/backup=dump")
    for pod in pods:
        name = pod["metadata"]["name"]
        kubectl("-n", noisy.namespace, "delete", "pod", name, "--grace-period=0", "--force")
    assert dumps(s3, noisy) == before
    s3.order("open")
    eventually("the next attempt succeeds", lambda: before < dumps(s3, noisy))
    wait_healthy(noisy)


@BY_HAND
def test_the_database_restarts_during_a_dump(noisy: ParadeDB, s3: S3) -> None:
    before, last = dumps(s3, noisy), backup(noisy)
    ask(noisy)
    copying = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY public.noise%'"
    eventually("rows are being copied", lambda: in_primary(noisy, copying) != "0")
    kubectl("-n", noisy.namespace, "delete", "pod", "orders-0", "--grace-period=0", "--force")
    assert dumps(s3, noisy) == before
    noisy.wait_running()
    eventually("the next attempt succeeds", lambda: backup(noisy) != last)
    assert before < dumps(s3, noisy)


@BY_HAND
def test_a_failover_during_a_base_backup(namespace: str, client: None, s3: S3) -> None:
    database = ParadeDB("pair", namespace).apply(
        replicas=2,
        storage={"size": "600Mi"},
        backup={"enabled": True, "s3": s3.store(), "continuous": {"enabled": True}},
    )
    database.wait_running()
    wait_healthy(database)
    in_primary(database, NOISE)
    last = make_backup(database, "base")
    s3.order("hold 4000000")
    ask(database, "base")
    s3.wait()
    kubectl("-n", namespace, "delete", "pod", "pair-0", "--wait=false")
    s3.order("open")
    eventually("another primary", lambda: database.status().get("currentPrimary") == "pair-1")
    # The Job tries again by itself, on the new primary.
    eventually("the next base backup succeeds", lambda: backup(database, "base") != last, 240)
    assert backup(database, "base")["id"] > last["id"]
    remove(database)
