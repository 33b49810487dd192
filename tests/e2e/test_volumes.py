"""Volumes grow under a running database, and under one that has stopped because a volume is full."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cluster import ParadeDB, apply, eventually, get, kubectl

Make = Callable[[str], ParadeDB]
MIB = 2**20


def disk_size(database: ParadeDB, volume: str) -> int:
    """MiB of a volume as the instance sees it."""
    command = ("df", "--block-size=1", "--output=size", f"/var/lib/postgresql/{volume}")
    done = kubectl("-n", database.namespace, "exec", f"{database.name}-0", "-c", "paradedb", "--", *command)
    return int(done.stdout.split()[-1]) // MIB


def templates(database: ParadeDB) -> dict[str, str]:
    """Sizes which the StatefulSet would make volumes with."""
    found = get("statefulset", database.name, database.namespace)
    assert found
    return {
        item["metadata"]["name"]: item["spec"]["resources"]["requests"]["storage"]
        for item in found["spec"]["volumeClaimTemplates"]
    }


def life(database: ParadeDB) -> tuple[str, int, str]:
    """Changes when the pod, its container or PostgreSQL is another."""
    pod = database.pod()
    assert pod
    restarts = pod["status"]["containerStatuses"][0]["restartCount"]
    return pod["metadata"]["uid"], restarts, database.sql("SELECT pg_postmaster_start_time()")


def default_class() -> dict[str, Any]:
    """The StorageClass of who names none."""
    mark = "storageclass.kubernetes.io/is-default-class"
    classes = json.loads(kubectl("get", "storageclass", "-o", "json").stdout)["items"]
    return next(item for item in classes if item["metadata"].get("annotations", {}).get(mark) == "true")


@pytest.fixture(scope="module", autouse=True)
def _expandable() -> None:
    if not default_class().get("allowVolumeExpansion"):
        pytest.skip("the cluster's default StorageClass does not let volumes grow")


@pytest.fixture
def fixed_class() -> Iterator[str]:
    """A StorageClass like the default one that does not let volumes grow."""
    name = f"e2e-fixed-{secrets.token_hex(2)}"
    apply({**default_class(), "metadata": {"name": name}, "allowVolumeExpansion": False})
    yield name
    kubectl("delete", "storageclass", name)


@pytest.fixture(scope="module")
def two_volumes(namespace: str, client: None) -> ParadeDB:
    """Deleted with the namespace; small volumes for data and log."""
    database = ParadeDB("grows", namespace)
    database.apply(storage={"size": "400Mi", "walStorage": {"size": "300Mi"}, "reclaimPolicy": "Delete"})
    database.wait_running()
    return database


def test_both_volumes_grow_without_a_restart(two_volumes: ParadeDB) -> None:
    before, max_wal = life(two_volumes), two_volumes.setting("max_wal_size")
    sizes = {volume: disk_size(two_volumes, volume) for volume in ("data", "wal")}
    two_volumes.patch({"storage": {"size": "700Mi", "walStorage": {"size": "500Mi"}}})
    two_volumes.wait_running()
    assert disk_size(two_volumes, "data") == sizes["data"] + 300
    assert disk_size(two_volumes, "wal") == sizes["wal"] + 200
    assert templates(two_volumes) == {"data": "700Mi", "wal": "500Mi"}
    assert life(two_volumes) == before
    assert (max_wal, two_volumes.setting("max_wal_size")) == ("60MB", "100MB")


def test_one_volume_grows_alone(two_volumes: ParadeDB) -> None:
    before = life(two_volumes)
    two_volumes.patch({"storage": {"size": "800Mi"}})
    two_volumes.wait_running()
    assert templates(two_volumes) == {"data": "800Mi", "wal": "500Mi"}
    assert life(two_volumes) == before


@pytest.mark.parametrize("storage", [{"size": "400Mi"}, {"walStorage": {"size": "300Mi"}}], ids=str)
def test_volumes_do_not_shrink(two_volumes: ParadeDB, storage: dict[str, object]) -> None:
    kubectl_patch = f'{{"spec": {{"storage": {storage}}}}}'.replace("'", '"')
    arguments = ("patch", "paradedb", two_volumes.name, "--type=merge", "-p", kubectl_patch)
    done = kubectl("-n", two_volumes.namespace, *arguments, check=False)
    assert done.returncode != 0
    assert "shrink" in done.stderr


def test_a_stateful_set_that_left_its_pods_behind_is_made_anew_around_them(two_volumes: ParadeDB) -> None:
    """Where a pass ends that was killed in the middle of a growth."""
    before = life(two_volumes)
    kubectl("-n", two_volumes.namespace, "delete", "statefulset", two_volumes.name, "--cascade=orphan")

    def adopted() -> bool:
        owner, pod = get("statefulset", two_volumes.name, two_volumes.namespace), two_volumes.pod()
        owners = [item["uid"] for item in (pod or {"metadata": {}})["metadata"].get("ownerReferences", [])]
        return bool(owner) and owners == [owner["metadata"]["uid"]]

    eventually("the pod belongs to a new StatefulSet", adopted)
    two_volumes.wait_running()
    assert life(two_volumes) == before


def test_a_volume_that_outlived_its_database_grows_for_the_next(make: Make) -> None:
    database = make("again").apply(storage={"size": "400Mi"})
    database.wait_running()
    database.sql("CREATE TABLE kept AS SELECT 5 AS id")
    small = disk_size(database, "data")
    database.delete()
    eventually("the pod is gone", lambda: not database.pod())
    database.apply(storage={"size": "600Mi"})
    database.wait_running()
    assert database.sql("SELECT id FROM kept") == "5"
    assert disk_size(database, "data") == small + 200


def test_a_class_that_does_not_let_volumes_grow_is_told(make: Make, fixed_class: str) -> None:
    storage = {"size": "400Mi", "storageClassName": fixed_class}
    database = make("fixed").apply(storage=storage)
    database.wait_running()
    before = life(database)
    database.patch({"storage": {"size": "500Mi"}})
    status = database.wait_phase("Failed")
    for words in ("spec.storage.size", f"data-{database.name}-0", fixed_class, "allowVolumeExpansion"):
        assert words in status["message"]
    assert database.condition("Degraded")["reason"] == "VolumeNotExpandable"
    assert templates(database) == {"data": "400Mi"}

    # Put back, although what is written shrinks: nothing ever had the size.
    database.patch({"storage": {"size": "400Mi"}})
    database.wait_running()
    assert life(database) == before

    database.patch({"storage": {"size": "500Mi"}})
    database.wait_phase("Failed")
    kubectl("patch", "storageclass", fixed_class, "-p", '{"allowVolumeExpansion": true}')
    database.wait_running()
    assert templates(database) == {"data": "500Mi"}
    assert life(database) == before


def fill(database: ParadeDB) -> int:
    """Fill the volume with junk until the status says so; how many rows were acknowledged meanwhile.

    PostgreSQL may stand still and yet count as ready, so that nothing tells the operator before it looks by
    itself: the annotation has it look now, see docs/change.md.
    """
    database.sql("CREATE TABLE kept (id int); CREATE TABLE junk (words text)")
    database.sql("ALTER TABLE junk ALTER words SET STORAGE PLAIN")
    junk = "INSERT INTO junk SELECT repeat('x', 4000) FROM generate_series(1, 2500)"
    acknowledged, errors, deadline = 0, "", time.monotonic() + 240
    while database.condition("Degraded").get("reason") != "DiskFull":
        assert time.monotonic() < deadline, errors + database.story()
        acknowledged += database.sql(f"INSERT INTO kept VALUES ({acknowledged})", check=False) == "INSERT 0 1"  # noqa: S608
        errors += database.sql(junk, check=False) + database.sql("SELECT pg_switch_wal()", check=False)
        errors = errors[-2000:]
        if "No space left" in errors or "recovery is in progress" in errors:
            database.annotate("example.com/look", str(time.monotonic()))
    return acknowledged


def test_a_full_volume_is_told_and_growing_it_recovers(make: Make) -> None:
    database = make("full").apply(storage={"size": "400Mi"})
    database.wait_running()
    acknowledged = fill(database)
    assert acknowledged > 10
    status = database.status()
    assert status["phase"] == "Failed"
    for words in ("spec.storage.size", f"data-{database.name}-0", "more than 400Mi"):
        assert words in status["message"]
    assert "DiskFull" in [event["reason"] for event in database.events()]

    database.patch({"storage": {"size": "700Mi"}})
    database.wait_running()
    ids = "SELECT count(DISTINCT id), max(id) FROM kept"
    count, last = map(int, database.sql(ids).split("|"))
    assert count >= acknowledged
    assert last in (acknowledged - 1, acknowledged)  # one that came too late to be acknowledged may be there
    database.sql("DROP TABLE junk")
    assert database.condition("Degraded")["status"] == "False"


def test_a_full_volume_beside_one_for_the_log(make: Make) -> None:
    """At first only statements that need room for data fail; PostgreSQL stops with its next checkpoint."""
    database = make("half").apply(storage={"size": "400Mi", "walStorage": {"size": "400Mi"}})
    database.wait_running()
    database.sql("CREATE TABLE junk (words text); ALTER TABLE junk ALTER words SET STORAGE PLAIN")
    junk = "INSERT INTO junk SELECT repeat('x', 4000) FROM generate_series(1, 2500)"
    eventually("the volume is full", lambda: "No space left" in database.sql(junk, check=False))
    database.annotate("example.com/look", "now")
    eventually("it is told", lambda: database.condition("Degraded").get("reason") == "DiskFull")
    assert "data-half-0" in database.status()["message"]

    database.patch({"storage": {"size": "600Mi"}})
    database.wait_running()
    assert int(database.sql("SELECT count(*) FROM junk")) >= 2500
    assert database.sql(junk).startswith("INSERT")
