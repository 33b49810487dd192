from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import patroni, preflight
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import ExecFailed
from ansible_collections.paradedb.db.plugins.module_utils.secret_contents import (
    patroni_secret,
    secret_definition,
)
from ansible_collections.paradedb.db.plugins.modules import preflight as module

from .fake_kube import FakeKube, pod
from .private_postgres import PrivatePostgres


def spec(**more: Any) -> dict[str, Any]:
    return {"replicas": 1, "auth": {"database": "app"}, "storage": {"size": "10Gi"}} | more


def secret(name: str, username: str) -> dict[str, Any]:
    data = {"username": username, "password": "p"}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": encoded}


def stateful_set(**sizes: str) -> dict[str, Any]:
    claims = [
        {"metadata": {"name": name}, "spec": {"resources": {"requests": {"storage": size}}}}
        for name, size in sizes.items()
    ]
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "orders"},
        "spec": {"volumeClaimTemplates": claims},
    }


def check(wanted: dict[str, Any], *objects: dict[str, Any], name: str = "orders") -> dict[str, Any]:
    return preflight.check(FakeKube(*objects), "prod", name, wanted)  # type: ignore[arg-type]


def refusal(wanted: dict[str, Any], *objects: dict[str, Any], name: str = "orders") -> Refused:
    with pytest.raises(Refused) as caught:
        check(wanted, *objects, name=name)
    return caught.value


@pytest.mark.parametrize("name", ["a", "orders", "a-b", "a1", "x" * 45, "on", "null"])
def test_names_that_serve(name: str) -> None:
    check(spec(), name=name)


@pytest.mark.parametrize(
    "name", ["", "A", "1a", "-a", "a-", "a.b", "a_b", "a b", "x" * 46, "a\n", "a/b", "\u00fc", "a\0", "../x"]
)
def test_names_that_do_not(name: str) -> None:
    assert refusal(spec(), name=name).field == "metadata.name"


@pytest.mark.parametrize(
    ("wanted", "reason", "field"),
    [
        (spec(backup={"enabled": True}), "InvalidSpec", "spec.backup.enabled"),
        (spec(auth={"database": "a", "pgHBA": ["nonsense"]}), "InvalidHBARule", "spec.auth.pgHBA[0]"),
        (spec(postgresConfig={"port": "1"}), "InvalidSetting", "spec.postgresConfig.port"),
        (
            spec(auth={"database": "a", "superuserSecretRef": {"name": "none"}}),
            "SecretNotFound",
            "spec.auth.superuserSecretRef",
        ),
    ],
)
def test_every_check_is_made(wanted: dict[str, Any], reason: str, field: str) -> None:
    found = refusal(wanted)
    assert (found.reason, found.field) == (reason, field)


def test_the_superuser_keeps_its_name_once_there_is_a_database() -> None:
    wanted = spec(auth={"database": "a", "superuserSecretRef": {"name": "mine"}})
    made_with_postgres = secret_definition("orders-patroni", patroni_secret({}, "postgres"), "Opaque")
    made_with_postgres["metadata"]["namespace"] = "prod"
    objects = [secret("mine", "boss"), made_with_postgres]
    check(wanted, *objects)
    found = refusal(wanted, *objects, stateful_set(data="10Gi"))
    assert found.reason == "SuperuserRenamed"
    assert "'postgres'" in str(found)
    check(
        wanted,
        secret("mine", "postgres"),
        made_with_postgres,
        stateful_set(data="10Gi"),
    )


# The plan


def claim(name: str) -> dict[str, Any]:
    labels = pod("orders-0")["metadata"]["labels"]
    resources = {"requests": {"storage": "10Gi"}}
    metadata = {"name": name, "labels": labels}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": {"resources": resources},
    }


@pytest.mark.parametrize(
    ("more", "present", "claims", "replicas"),
    [
        ({"replicas": 3}, None, [], 1),  # the others copy from the first
        ({"replicas": 3}, 2, [], 2),  # to change the number is the rollout's
        ({"replicas": 1}, 3, [], 3),
        ({"replicas": 3}, 0, [], 0),
        ({"replicas": 3, "hibernate": True}, None, ["data-orders-0"], 0),
        ({"replicas": 3, "hibernate": True}, 3, [], 3),
        ({"replicas": 3}, None, ["data-orders-0", "data-orders-1"], 2),  # any of them may have the newest
        ({"replicas": 3}, None, ["data-orders-2"], 3),
        ({"replicas": 2}, None, ["data-orders-0", "data-orders-4"], 2),
        ({"replicas": 3}, None, ["wal-orders-2", "data-orders-x-2", "backup-orders-2"], 1),
    ],
)
def test_the_number_of_instances_for_the_template(
    more: dict[str, Any], present: int | None, claims: list[str], replicas: int
) -> None:
    made = [] if present is None else [stateful_set(data="10Gi")]
    for item in made:
        item["spec"]["replicas"] = present
    plan = check(spec(**more), *made, *map(claim, claims))
    assert plan["replicas"] == replicas
    assert plan["resizing"] == ""


@pytest.mark.parametrize(
    ("tls", "certified", "enforced"),
    [
        (None, [], False),
        ({"enabled": False}, [True], False),
        ({"enabled": True}, [], True),
        ({"enabled": True}, [True, True], True),
        ({"enabled": True}, [True, False], False),  # it could not reach the others, nor they it
    ],
)
def test_encryption_is_enforced_when_every_instance_can(
    tls: dict[str, Any] | None, certified: list[bool], enforced: bool
) -> None:
    pods = [pod(f"orders-{number}") for number in range(len(certified))]
    for item, yes in zip(pods, certified, strict=True):
        item["metadata"]["annotations"] = {preflight.TLS_ANNOTATION: "true"} if yes else None
    assert check(spec(tls=tls), *pods)["tls_enforced"] is enforced


@pytest.mark.parametrize(("size", "grow"), [("10Gi", False), ("11Gi", True)])
def test_whether_volumes_grow_is_asked_of_who_knows(size: str, grow: bool) -> None:
    assert check(spec(storage={"size": size}), stateful_set(data="10Gi"))["grow"] is grow


def test_what_cannot_change_about_volumes_is_refused() -> None:
    found = refusal(spec(storage={"size": "9Gi"}), stateful_set(data="10Gi"))
    assert (found.reason, found.field) == ("ImmutableField", "spec.storage.size")


# The running PostgreSQL judges


@pytest.fixture
def kube(postgres: PrivatePostgres) -> Iterator[FakeKube]:
    cluster = FakeKube(pod("orders-0", role="primary"))

    def run(command: list[str], stdin: str) -> str:
        code, output, errors = postgres.execute(command, stdin)
        if code != 0:
            raise ExecFailed(code, errors)
        return output

    cluster.run = run
    yield cluster
    Path("/tmp/check.conf").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("settings", "name", "words"),
    [
        ({"work_mem": "abc"}, "work_mem", "abc"),
        ({"work_mem": "1KB"}, "work_mem", "1KB"),
        ({"wrk_mem": "1MB"}, "wrk_mem", "unrecognized"),
        ({"random_page_cost": "-1"}, "random_page_cost", "-1"),
        ({"autovacuum": "perhaps"}, "autovacuum", "Boolean"),
        ({"synchronous_commit": "perhaps"}, "synchronous_commit", "perhaps"),
        ({"zero": "1", "autovacuum": "on"}, "zero", "unrecognized"),
        ({"log_min_messages": "fatal", "work_mem": "x"}, "work_mem", "x"),
        ({"log_line_prefix": "FATAL: LOG: ", "work_mem": "x"}, "work_mem", "x"),
    ],
)
def test_a_setting_that_postgresql_refuses_is_named(
    kube: FakeKube, settings: dict[str, str], name: str, words: str
) -> None:
    with pytest.raises(Refused) as caught:
        preflight.check(kube, "prod", "orders", spec(postgresConfig=settings))  # type: ignore[arg-type]
    assert caught.value.reason == "InvalidSetting"
    assert caught.value.field == f"spec.postgresConfig.{name}"
    assert words in str(caught.value)
    assert "/tmp" not in str(caught.value)
    assert "auto.conf" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"work_mem": "5MB"},
        {"application_name": "it's # \\ \U0001f418"},
        {"paradedb.enable_custom_scan": "off"},
        {"shared_preload_libraries": "auto_explain"},
        {"log_line_prefix": "%m LOG: "},
    ],
)
def test_a_setting_that_postgresql_takes_passes(kube: FakeKube, settings: dict[str, str]) -> None:
    preflight.check(kube, "prod", "orders", spec(postgresConfig=settings))  # type: ignore[arg-type]
    ((target, _command, _stdin),) = kube.commands
    assert target == "orders-0"


def test_nothing_is_asked_when_nothing_changed(kube: FakeKube) -> None:
    wanted = spec(postgresConfig={"work_mem": "5MB"})
    text = patroni.dump(patroni.dynamic_configuration(wanted, "postgres"))
    kube.put(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "orders-patroni-config", "annotations": {"config": text}},
        }
    )
    preflight.check(kube, "prod", "orders", wanted)  # type: ignore[arg-type]
    assert kube.commands == []
    preflight.check(kube, "prod", "orders", spec(postgresConfig={"work_mem": "6MB"}))  # type: ignore[arg-type]
    assert len(kube.commands) == 1


def test_without_a_running_pod_the_pod_checks_itself() -> None:
    waiting = {"name": "paradedb", "image": "x", "state": {"waiting": {}}}
    check(spec(postgresConfig={"work_mem": "abc"}), pod("orders-0", ready=False, containerStatuses=[waiting]))


@pytest.mark.parametrize(
    "stderr", ["", "sh: head: not found\n", "line 99 of nothing LOG: syntax error line 99", "LOG:"]
)
def test_any_answer_makes_a_refusal(stderr: str) -> None:
    cluster = FakeKube(pod("orders-0", role="primary"))

    def run(command: list[str], stdin: str) -> str:
        raise ExecFailed(1, stderr)

    cluster.run = run
    with pytest.raises(Refused) as caught:
        preflight.check(cluster, "prod", "orders", spec(postgresConfig={"work_mem": "1MB"}))  # type: ignore[arg-type]
    assert caught.value.reason == "InvalidSetting"


# namesakes


def service(name: str, of: str) -> dict[str, Any]:
    labels = {"app.kubernetes.io/managed-by": "paradedb-operator", "app.kubernetes.io/instance": of}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": labels}}


POOLER, MONITORING = {"connectionPooling": {"enabled": True}}, {"monitoring": {"enabled": True}}


@pytest.mark.parametrize(
    ("theirs", "more", "field"),
    [
        ("orders", {}, "metadata.name"),
        ("orders-headless", {}, "metadata.name"),
        ("orders-pooler", POOLER, "spec.connectionPooling.enabled"),
        ("orders-metrics", MONITORING, "spec.monitoring.enabled"),
    ],
)
def test_a_service_of_something_else_is_told_before_anything_is_made(
    theirs: str, more: dict[str, Any], field: str
) -> None:
    with pytest.raises(Refused) as caught:
        check(spec(**more), service(theirs, "other"))
    assert (caught.value.reason, caught.value.field) == ("NameTaken", field)
    check(spec(**more), service(theirs, "orders"))


def test_the_service_of_a_part_that_is_off_does_not_matter() -> None:
    check(spec(), service("orders-pooler", "orders-pooler"), service("orders-metrics", "other"))


# the module


def resource(**more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "database.paradedb.io/v1alpha1",
        "kind": "ParadeDB",
        "metadata": {
            "name": "orders",
            "namespace": "prod",
            "uid": "u-1",
            "generation": 3,
            "resourceVersion": "7",
        },
        "spec": {},
    } | more


def begin(kube: FakeKube, given: dict[str, Any] | None = None, check_mode: bool = False) -> dict[str, Any]:
    parameters = {"name": "orders", "namespace": "prod", "spec": given}
    return module.run(parameters, kube, check_mode)  # type: ignore[arg-type]


def test_the_resource_is_read_and_completed() -> None:
    found = begin(FakeKube(resource(status={"phase": "Running", "observedGeneration": 3})))
    assert found["changed"] is False
    assert found["spec"]["replicas"] == 1
    assert found["uid"] == "u-1"
    assert found["generation"] == 3
    assert found["owner"] == {
        "apiVersion": "database.paradedb.io/v1alpha1",
        "kind": "ParadeDB",
        "name": "orders",
        "uid": "u-1",
        "controller": True,
        "blockOwnerDeletion": True,
    }
    assert found["plan"]["replicas"] == 1


def test_a_given_spec_needs_no_resource_and_suffers_none() -> None:
    found = begin(FakeKube(), {"replicas": 1})
    assert (found["owner"], found["uid"], found["generation"]) == ({}, "prod/orders", 0)
    with pytest.raises(Refused) as caught:
        begin(FakeKube(resource()), {})
    assert caught.value.reason == "ManagedByOperator"
    with pytest.raises(Refused) as caught:
        begin(FakeKube())
    assert caught.value.reason == "NotFound"


@pytest.mark.parametrize(("check_mode", "phase"), [(False, "Creating"), (True, None)])
def test_the_pass_says_that_it_begins(check_mode: bool, phase: str | None) -> None:
    kube = FakeKube(resource())
    found = begin(kube, check_mode=check_mode)
    assert (found["changed"], found["phase"]) == (True, "Creating")
    written = kube.get("database.paradedb.io/v1alpha1", "ParadeDB", "prod", "orders") or {}
    assert (written.get("status") or {}).get("phase") == phase


def test_the_pass_of_a_paused_resource_ends_there() -> None:
    found = begin(FakeKube(resource(spec={"paused": True}, status={"phase": "Running"})))
    assert found["spec"]["paused"] is True
    assert found["phase"] == "Running"
    assert "plan" not in found
    assert "plan" not in begin(FakeKube(), {"paused": True})


def test_a_refusal_tells_of_which_generation_it_is() -> None:
    refused = resource(spec={"postgresConfig": {"port": "1"}})
    kube = FakeKube(refused)
    with pytest.raises(Refused) as caught:
        begin(kube)
    assert caught.value.result == {"generation": 3}  # type: ignore[attr-defined]
