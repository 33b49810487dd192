"""The objects of backups, as the roles render them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from ansible_collections.paradedb.db.plugins.module_utils.schema import complete_spec

from .test_backup import S3, recovery, spec
from .test_templates import HOSTILE, ROLES, defaults_of, found, plan, render

CREDENTIALS = {"superuser": "boss", "secret": "orders-credentials"}
CONTINUOUS = {"continuous": {"enabled": True}, "verify": {}}
ON_A_VOLUME = complete_spec({"backup": {"enabled": True, "pvc": {"size": "1Gi"}}})
RECOVERING = {"paradedb_plan": plan(1) | {"recovering": True, "recovery": recovery()}}


def rendered(given: dict[str, Any], **variables: Any) -> list[dict[str, Any]]:
    return render("backup", given, paradedb_credentials=CREDENTIALS, **variables)


def named(objects: list[dict[str, Any]]) -> set[str]:
    return {f"{item['kind']}/{item['metadata']['name']}" for item in objects}


def jobs(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The CronJobs' specs by what they do."""
    return {
        item["metadata"]["labels"]["database.paradedb.io/backup"]: item["spec"]
        for item in objects
        if item["kind"] == "CronJob"
    }


def pod(objects: list[dict[str, Any]], task: str) -> dict[str, Any]:
    return jobs(objects)[task]["jobTemplate"]["spec"]["template"]["spec"]


@pytest.mark.parametrize("given", [{}, {"backup": {"enabled": False, "s3": S3} | CONTINUOUS}])
def test_switched_off_there_is_nothing(given: dict[str, Any]) -> None:
    assert rendered(complete_spec(given)) == []


def test_who_is_made_from_a_backup_has_where_to_report() -> None:
    given = complete_spec({"bootstrap": {"recovery": {"source": "old"}}})
    assert named(rendered(given)) == {"ConfigMap/orders-archive-state"}


DUMPS = {
    "ConfigMap/orders-backup-state",
    "ConfigMap/orders-backup",
    "ServiceAccount/orders-backup",
    "Role/orders-backup",
    "RoleBinding/orders-backup",
    "CronJob/orders-backup",
}


def test_what_backups_are_made_of() -> None:
    assert named(rendered(spec({}))) == DUMPS
    assert named(rendered(ON_A_VOLUME)) == DUMPS | {"PersistentVolumeClaim/orders-backup"}
    assert named(rendered(spec(CONTINUOUS))) == DUMPS | {
        "ConfigMap/orders-archive-state",
        "ServiceAccount/orders-base",
        "Role/orders-base",
        "RoleBinding/orders-base",
        "CronJob/orders-base",
        "CronJob/orders-verify",
    }


def test_the_volume_is_not_among_what_is_pruned() -> None:
    (task,) = yaml.safe_load((ROLES / "backup" / "tasks" / "main.yml").read_text())
    kinds = {kind.rpartition("/")[2] for kind in task["paradedb.db.apply"]["kinds"]}
    assert kinds == {item.partition("/")[0] for item in named(rendered(spec(CONTINUOUS)))}


def test_the_reports_are_left_to_the_programs() -> None:
    for name in ("orders-backup-state", "orders-archive-state"):
        state = found(rendered(spec(CONTINUOUS)), "ConfigMap", name)
        assert "data" not in state
        assert state["metadata"]["labels"] == {"database.paradedb.io/report": "backup"}


def test_no_two_runs_at_once_none_for_ever_and_few_that_are_kept() -> None:
    given = spec({"schedule": "5 4 * * *", "activeDeadlineSeconds": 600} | CONTINUOUS)
    made = jobs(rendered(given))
    assert {task: item["schedule"] for task, item in made.items()} == {
        "dump": "5 4 * * *",
        "base": "0 1 * * 0",
        "verify": "0 5 * * 0",
    }
    for item in made.values():
        assert item["concurrencyPolicy"] == "Forbid"
        assert item["timeZone"] == "Etc/UTC"
        assert item["suspend"] is False
        assert (item["successfulJobsHistoryLimit"], item["failedJobsHistoryLimit"]) == (3, 3)
        assert item["jobTemplate"]["spec"]["activeDeadlineSeconds"] == 600
        assert item["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    assert made["dump"]["jobTemplate"]["spec"]["backoffLimit"] == 2


def test_jobs_that_were_asked_for_do_not_pile_up_nor_the_volumes_of_verifications() -> None:
    made = jobs(rendered(spec(CONTINUOUS)))
    times = {task: item["jobTemplate"]["spec"]["ttlSecondsAfterFinished"] for task, item in made.items()}
    assert times == {"dump": 604800, "base": 604800, "verify": 900}


@pytest.mark.parametrize("more", [{"hibernate": True}, {}])
def test_nothing_is_started_while_the_database_sleeps_or_is_being_made(more: dict[str, Any]) -> None:
    made = jobs(rendered(spec(CONTINUOUS, **more), **({} if more else RECOVERING)))
    assert all(item["suspend"] is True for item in made.values())


def test_the_pods_belong_to_the_instance_but_are_no_instances() -> None:
    """The first lets them through the network policies, the second keeps clients from them."""
    labels = jobs(rendered(spec(CONTINUOUS)))["dump"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    policy = next(
        item
        for item in render("services", complete_spec({"networkPolicy": {"enabled": True}}))
        if item["metadata"]["name"] == "orders-database"
    )
    admitted = policy["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"]
    assert admitted.items() <= labels.items()
    assert labels["app.kubernetes.io/component"] == "backup"


def test_the_runner_finds_whose_a_scheduled_job_is() -> None:
    def annotations(**variables: Any) -> Any:
        template = jobs(rendered(spec({}), **variables))["dump"]["jobTemplate"]
        return template["metadata"].get("annotations")

    assert annotations(paradedb_owner={"uid": "u"}) == {
        "operator-sdk/primary-resource": "prod/orders",
        "operator-sdk/primary-resource-type": "ParadeDB.database.paradedb.io",
    }
    assert annotations() is None


def test_a_pod_has_no_more_rights_than_it_needs() -> None:
    objects = rendered(spec(CONTINUOUS))
    state = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["orders-backup-state"]}
    assert found(objects, "Role", "orders-backup")["rules"] == [state | {"verbs": ["get", "patch"]}]
    base = found(objects, "Role", "orders-base")["rules"]
    assert base[1] == {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}
    assert base[2]["resources"] == ["pods/exec"]
    assert base[2]["resourceNames"] == [f"orders-{ordinal}" for ordinal in range(10)]
    accounts = {task: pod(objects, task)["serviceAccountName"] for task in jobs(objects)}
    # A verification runs functions that the database's users wrote.
    assert accounts == {"dump": "orders-backup", "base": "orders-base", "verify": "orders-backup"}
    for task in jobs(objects):
        each = pod(objects, task)
        assert each["securityContext"]["runAsNonRoot"] is True
        for container in each.get("initContainers", []) + each["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
        for container in each.get("initContainers", []):
            assert "/var/run/secrets/kubernetes.io/serviceaccount" in mounts(container)


def mounts(container: dict[str, Any]) -> dict[str, str]:
    return {item["mountPath"]: item["name"] for item in container["volumeMounts"]}


@pytest.mark.parametrize(
    ("given", "places"),
    [
        (spec(CONTINUOUS), {"/etc/backup-credentials"}),
        (
            spec(CONTINUOUS | {"s3": S3 | {"caSecretRef": {"name": "ca"}}}),
            {"/etc/backup-credentials", "/etc/backup-ca"},
        ),
        (ON_A_VOLUME | {"backup": ON_A_VOLUME["backup"] | {"verify": {"schedule": "@daily"}}}, {"/backups"}),
    ],
)
def test_what_each_task_sees(given: dict[str, Any], places: set[str]) -> None:
    objects = rendered(given)
    common = {"/etc/backup", "/tmp"}
    expected = {
        "dump": common | places | {"/opt/backup", "/etc/backup-database"},
        "verify": common | places | {"/opt/backup", "/scratch", "/dev/shm", "/etc/postgresql"},
        "base": common,
    }
    for task in jobs(objects):
        each = pod(objects, task)
        (container,) = each["containers"]
        assert set(mounts(container)) == expected[task]
        volumes = {item["name"] for item in each["volumes"]}
        used = [name for one in [*each.get("initContainers", []), container] for name in mounts(one).values()]
        assert set(used) == volumes


def test_which_program_runs_in_which_image() -> None:
    objects = rendered(spec(CONTINUOUS, image="mine:1"), paradedb_tools_image="tools:1")
    found_ = {task: pod(objects, task)["containers"][0] for task in jobs(objects)}
    assert {task: (item["image"], item["command"]) for task, item in found_.items()} == {
        "dump": ("mine:1", ["/opt/backup/paradedb-backup", "dump"]),
        "verify": ("mine:1", ["/opt/backup/paradedb-backup", "verify"]),
        "base": ("tools:1", ["/opt/venv/bin/python", "-m", "paradedb_backup.remote"]),
    }
    assert pod(objects, "dump")["initContainers"][0]["image"] == "tools:1"


def test_the_password_is_mounted_and_the_authority_where_it_is_known() -> None:
    (volume,) = [item for item in pod(rendered(spec({})), "dump")["volumes"] if item["name"] == "database"]
    password, authority = [item["secret"] for item in volume["projected"]["sources"]]
    assert password == {"name": "orders-credentials", "items": [{"key": "password", "path": "password"}]}
    assert authority["optional"] is True
    assert authority["items"] == [{"key": "ca.crt", "path": "ca.crt"}]


def test_the_scratch_volume_is_as_large_as_the_databases_unless_it_is_named() -> None:
    def scratch(verify: dict[str, Any]) -> dict[str, Any]:
        volumes = pod(rendered(spec({"verify": verify}, storage={"size": "7Gi"})), "verify")["volumes"]
        (volume,) = [item for item in volumes if item["name"] == "scratch"]
        return volume["ephemeral"]["volumeClaimTemplate"]["spec"]

    assert scratch({}) == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "7Gi"}},
    }
    own = scratch({"size": "9Gi", "storageClassName": "fast"})
    assert (own["storageClassName"], own["resources"]["requests"]["storage"]) == ("fast", "9Gi")


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_what_stands_in_a_spec_arrives(text: str) -> None:
    given = spec(CONTINUOUS) | {
        "image": text,
        "nodeSelector": {text: text},
        "tolerations": [{"key": text}],
        "imagePullSecrets": [{"name": text}],
    }
    s3 = {"endpoint": text, "bucket": text, "path": text, "region": text}
    s3 |= {"secretRef": {"name": text}, "caSecretRef": {"name": text}}
    given["backup"] |= {"s3": s3, "resources": {"limits": {text: text}}, "schedule": text}
    given["backup"]["verify"] = {"schedule": text, "size": text, "storageClassName": text}
    objects = rendered(given, paradedb_tools_image=text)
    document = json.loads(found(objects, "ConfigMap", "orders-backup")["data"]["backup.json"])
    assert document["store"]["s3"]["path"] == document["store"]["s3"]["bucket"] == text
    assert jobs(objects)["verify"]["schedule"] == text
    for task in jobs(objects):
        each = pod(objects, task)
        assert each["containers"][0]["image"] == text
        assert each["containers"][0]["resources"] == {"limits": {text: text}}
        assert each["nodeSelector"] == {text: text}
        assert each["tolerations"] == [{"key": text}]
        assert each["imagePullSecrets"] == [{"name": text}]
    secrets = [item["secret"] for item in pod(objects, "dump")["volumes"] if "secret" in item]
    assert [item["secretName"] for item in secrets] == [text, text]


@pytest.mark.parametrize("name", ["on", "null", "e1", "x" * 45])
def test_names_stay_names(name: str) -> None:
    for item in rendered(spec(CONTINUOUS), paradedb_name=name, paradedb_namespace="123"):
        assert item["metadata"]["name"].startswith(f"{name}-")
        assert len(item["metadata"]["name"]) <= 52 or item["kind"] != "CronJob"
        if item["kind"] == "RoleBinding":
            assert item["subjects"][0]["namespace"] == "123"


@pytest.mark.parametrize("role", ["statefulset"])
def test_the_images_are_those_of_the_instances(role: str) -> None:
    own, theirs = defaults_of(ROLES / "backup"), defaults_of(ROLES / role)
    shared = {"paradedb_tools_image", "paradedb_default_image", "paradedb_uid_in_image"}
    assert {name: own[name] for name in shared} == {name: theirs[name] for name in shared}
