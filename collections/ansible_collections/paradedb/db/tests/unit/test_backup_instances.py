"""What the instances have of backups: archiving, and the recovery of a new database."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils.schema import complete_spec

from .test_backup import S3, recovery, spec
from .test_backup_objects import CONTINUOUS, RECOVERING, mounts, rendered
from .test_templates import found, plan, pod_of, render


def test_dumps_change_nothing_about_the_instances() -> None:
    """Else switching backups on would restart every database."""
    plain, dumped = (render("statefulset", complete_spec({})), render("statefulset", spec({"verify": {}})))
    assert plain == dumped
    assert render("config", complete_spec({})) == render("config", spec({"verify": {}}))


def database_container(template: dict[str, Any]) -> dict[str, Any]:
    return next(item for item in template["spec"]["containers"] if item["name"] == "paradedb")


def role_for_the_state(objects: list[dict[str, Any]]) -> list[Any]:
    rules = found(objects, "Role", "orders")["rules"]
    return [rule["verbs"] for rule in rules if rule.get("resourceNames") == ["orders-archive-state"]]


def test_who_archives_has_the_program_and_the_credentials() -> None:
    given = spec(CONTINUOUS | {"s3": S3 | {"caSecretRef": {"name": "ca"}}})
    objects = render("statefulset", given)
    template = found(objects, "StatefulSet", "orders")["spec"]["template"]
    added = set(mounts(database_container(template))) - set(mounts(database_container(pod_of({}))))
    assert added == {"/opt/backup", "/etc/backup", "/etc/backup-credentials", "/etc/backup-ca"}
    secrets = {item["name"]: item["secret"] for item in template["spec"]["volumes"] if "secret" in item}
    assert secrets["backup-credentials"]["optional"] is secrets["backup-ca"]["optional"] is True
    told = {item["name"]: item["configMap"] for item in template["spec"]["volumes"] if "configMap" in item}
    assert told["backup"]["optional"] is True
    assert role_for_the_state(objects) == [["get", "patch"]]
    assert role_for_the_state(render("statefulset", spec({}))) == []
    document = json.loads(found(objects, "ConfigMap", "orders-instance")["data"]["backup.json"])
    job = json.loads(found(rendered(given), "ConfigMap", "orders-backup")["data"]["backup.json"])
    assert document | {"database": job["database"], "state": "orders-backup-state"} == job
    assert document["state"] == "orders-archive-state", "a superuser in SQL could write the other one"


def test_where_backups_go_is_no_matter_for_the_pods() -> None:
    """It is read at each call: another bucket replaces no instance."""
    here, there = (spec(CONTINUOUS | {"s3": S3 | {"bucket": name}}) for name in ("here", "there"))
    before, after = (found(render("statefulset", each), "StatefulSet", "orders") for each in (here, there))
    assert before == after


@pytest.mark.parametrize("store", [{"s3": S3 | {"caSecretRef": {"name": "ca"}}}, {"volume": "old-backup"}])
@pytest.mark.parametrize("walled", [{}, {"storage": {"walStorage": {}}}])
def test_a_database_is_made_from_a_backup_before_patroni_runs(
    store: dict[str, Any], walled: dict[str, Any]
) -> None:
    given = spec(**walled)
    whence = plan(1) | {"recovering": True, "recovery": recovery(store=store)}
    during = render("statefulset", given, paradedb_plan=whence)
    stateful_set = found(during, "StatefulSet", "orders")["spec"]
    each = stateful_set["template"]["spec"]
    assert [item["name"] for item in each["initContainers"]] == [
        "tools",
        "backup-tools",
        "prepare",
        "recover",
    ]
    recover, database = each["initContainers"][-1], database_container(stateful_set["template"])
    assert recover["command"] == ["/opt/backup/paradedb-backup", "bootstrap"]
    for part in ("image", "resources", "securityContext"):
        assert recover[part] == database[part]
    of_store = {"/recovery"} if "volume" in store else {"/etc/recovery-credentials", "/etc/recovery-ca"}
    log = {"/var/lib/postgresql/wal"} if walled else set()
    assert set(mounts(recover)) == of_store | log | {
        "/var/lib/postgresql/data",
        "/etc/postgresql",
        "/run/paradedb",
        "/tmp",
        "/dev/shm",
        "/opt/backup",
        "/etc/recovery",
    }
    volumes = {item["name"] for item in each["volumes"]}
    volumes |= {item["metadata"]["name"] for item in stateful_set["volumeClaimTemplates"]}
    assert volumes >= set(mounts(recover).values())
    assert role_for_the_state(during) == [["get", "patch"]]

    # Nothing else differs, and nothing of it stays.
    assert database == database_container(pod_of(walled))
    after = plan(1) | {"recovering": False, "recovery": {}}
    assert render("statefulset", given, paradedb_plan=after) == render("statefulset", given)


def test_a_new_database_may_archive_from_the_start() -> None:
    """Whoever makes it then sees the place of its own log, which must be empty."""
    objects = render("statefulset", spec(CONTINUOUS), **RECOVERING)
    template = found(objects, "StatefulSet", "orders")["spec"]["template"]
    own, source = {"/etc/backup", "/etc/backup-credentials"}, {"/etc/recovery", "/etc/recovery-credentials"}
    assert own | source <= set(mounts(template["spec"]["initContainers"][-1]))
    assert own <= set(mounts(database_container(template)))
    assert not source & set(mounts(database_container(template)))
    assert {"backup.json", "recovery.json"} <= set(found(objects, "ConfigMap", "orders-instance")["data"])
