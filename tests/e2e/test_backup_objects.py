"""What the operator makes for backups, whatever becomes of them: no backup of these tests has to succeed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import ParadeDB, eventually, find, get, kubectl, make_pass

Make = Callable[[str], ParadeDB]
NEVER = "0 0 29 2 *"
ON_A_VOLUME = {"enabled": True, "schedule": NEVER, "pvc": {"size": "256Mi"}}
NOBODY = {"endpoint": "http://192.0.2.1:9", "bucket": "nowhere", "secretRef": {"name": "not-there"}}
CONTINUOUS = {"enabled": True, "schedule": NEVER}
PARTS = "cronjob,serviceaccount,role,rolebinding,configmap"


@pytest.fixture
def kept(make: Make) -> Iterator[ParadeDB]:
    """A database with backups on a volume, which is deleted in the end: the operator would leave it."""
    database = make("kept").apply(backup=ON_A_VOLUME | {"verify": {"schedule": NEVER}})
    yield database
    kubectl("-n", database.namespace, "delete", "pvc", "kept-backup", "--ignore-not-found", "--wait=false")


def objects(database: ParadeDB) -> dict[str, Any]:
    """The objects of the component, as what was asked for; without what the programs write."""
    selector = f"app.kubernetes.io/instance={database.name},app.kubernetes.io/component=backup"
    return {
        f"{item['kind']}/{item['metadata']['name']}": [
            item["metadata"]["uid"],
            item.get("spec"),
            item.get("rules"),
        ]
        for item in find(PARTS, database.namespace, selector)
    }


def claim(database: ParadeDB) -> dict[str, Any] | None:
    return get("pvc", f"{database.name}-backup", database.namespace)


def suspended(database: ParadeDB) -> list[bool]:
    return [parts[1]["suspend"] for name, parts in objects(database).items() if name.startswith("CronJob/")]


def archives(database: ParadeDB) -> str:
    """PostgreSQL's archive_mode, or why it cannot be asked now."""
    return database.sql("SHOW archive_mode", check=False)


def may(database: ParadeDB, account: str, *what: str) -> bool:
    who = f"--as=system:serviceaccount:{database.namespace}:{account}"
    return kubectl("-n", database.namespace, "auth", "can-i", *what, who, check=False).returncode == 0


def test_they_are_made_once_and_go_when_switched_off_but_for_the_volume(
    kept: ParadeDB, tmp_path: Path
) -> None:
    kept.wait_running()
    made = objects(kept)
    both = {
        f"{kind}/kept-backup" for kind in ("CronJob", "ServiceAccount", "Role", "RoleBinding", "ConfigMap")
    }
    assert set(made) == both | {"CronJob/kept-verify", "ConfigMap/kept-backup-state"}
    volume = claim(kept)
    assert volume
    assert "ownerReferences" not in volume["metadata"]
    assert make_pass(kept, str(tmp_path)).count("changed=0") == 1
    assert objects(kept) == made

    kept.patch({"hibernate": True})
    eventually("the CronJobs are suspended", lambda: suspended(kept) == [True, True])
    kept.patch({"hibernate": False})
    eventually("the CronJobs go on", lambda: suspended(kept) == [False, False])
    kept.wait_running()

    kept.patch({"backup": {"verify": None, "pvc": {"size": "300Mi"}}})
    eventually("there is no verification", lambda: "CronJob/kept-verify" not in objects(kept))
    eventually("the volume grows", lambda: claim(kept)["spec"]["resources"]["requests"]["storage"] == "300Mi")

    kept.patch({"backup": {"enabled": False}})
    eventually("nothing is left", lambda: not objects(kept))
    assert claim(kept)["metadata"]["uid"] == volume["metadata"]["uid"]
    kept.patch({"backup": {"enabled": True}})
    eventually("it is all back", lambda: set(objects(kept)) == set(made) - {"CronJob/kept-verify"})
    assert claim(kept)["metadata"]["uid"] == volume["metadata"]["uid"]


def test_deletion_takes_everything_but_the_backups(make: Make, kept: ParadeDB) -> None:
    kept.patch({"storage": {"reclaimPolicy": "Delete"}})
    kept.wait_running()
    volume = claim(kept)
    # A Job that neither the operator nor the schedule made.
    job = f"--from=cronjob/{kept.name}-backup"
    kubectl("-n", kept.namespace, "create", "job", "kept-backup-by-hand", job)
    kept.delete()
    selector = f"app.kubernetes.io/instance={kept.name}"
    left = [
        item["metadata"]["name"] for item in find(f"{PARTS},job,statefulset,pvc", kept.namespace, selector)
    ]
    assert left == ["kept-backup"]
    assert claim(kept)["metadata"]["uid"] == volume["metadata"]["uid"]
    eventually("no pod is left", lambda: not find("pod", kept.namespace, selector))

    # The next one of this name takes it up.
    make("kept").apply(backup=ON_A_VOLUME | {"pvc": {"size": "256Mi"}}).wait_running()
    assert claim(kept)["metadata"]["uid"] == volume["metadata"]["uid"]


def test_a_store_that_is_not_there_stops_no_database(make: Make, tmp_path: Path) -> None:
    database = make("far").apply()
    database.wait_running()
    before = database.pod()["metadata"]["uid"]
    database.patch({"backup": {"enabled": True, "schedule": NEVER, "s3": NOBODY}})
    eventually("the CronJob is there", lambda: "CronJob/far-backup" in objects(database))
    database.wait_running()
    assert database.pod()["metadata"]["uid"] == before, "dumps restart nothing"
    assert database.setting("archive_mode") == "off"

    database.patch({"backup": {"continuous": CONTINUOUS}})
    eventually("the log is archived", lambda: archives(database) == "on", 180)
    database.wait_running()
    assert database.setting("archive_command") == '/opt/backup/paradedb-backup archive "%p"'
    inside = ["exec", "far-0", "-c", "paradedb", "--"]
    told = kubectl("-n", database.namespace, *inside, "cat", "/etc/backup/backup.json").stdout
    assert json.loads(told)["store"]["s3"]["bucket"] == "nowhere"
    kubectl("-n", database.namespace, *inside, "test", "-x", "/opt/backup/paradedb-backup")
    kubectl("-n", database.namespace, *inside, "test", "-d", "/etc/backup-credentials")
    assert "CronJob/far-base" in objects(database)
    own, others = "configmap/far-backup-state", "configmap/far-archive-state"
    for account, may_write, may_not in (
        ("far-backup", own, others),
        ("far-base", own, others),
        ("far", others, own),
    ):
        assert may(database, account, "patch", may_write)
        assert not may(database, account, "patch", may_not)
        assert not may(database, account, "patch", "configmap/far-instance")
    assert may(database, "far-base", "create", "pods/far-0", "--subresource=exec")
    assert not may(database, "far-backup", "create", "pods/far-0", "--subresource=exec")
    assert not may(database, "far-base", "get", "secrets")
    assert make_pass(database, str(tmp_path)).count("changed=0") == 1

    database.patch({"backup": {"enabled": False, "continuous": None}})
    eventually("nothing is archived", lambda: archives(database) == "off", 180)
    eventually("nothing is left", lambda: not objects(database))
    database.wait_running()
