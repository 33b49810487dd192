from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import backup_preflight, certificates, preflight
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.secret_contents import (
    patroni_secret,
    secret_definition,
)

from .fake_kube import FakeKube, pod

Spec = dict[str, Any]

S3 = {
    "endpoint": "https://s3.example.com",
    "bucket": "backups",
    "pathStyle": True,
    "secretRef": {"name": "keys"},
}
MADE = "2026-11-24T01:00:00Z"


def spec(**more: Any) -> Spec:
    base = {"replicas": 1, "postgresVersion": "17", "auth": {"database": "app"}, "storage": {"size": "10Gi"}}
    return base | more


def recovering(**fields: Any) -> Spec:
    return {"bootstrap": {"recovery": {"method": "dump", **fields}}}


def secret(name: str, **values: str | bytes) -> dict[str, Any]:
    raw = {key: value.encode() if isinstance(value, str) else value for key, value in values.items()}
    data = {key.replace("_", "."): base64.b64encode(value).decode() for key, value in raw.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


KEYS = secret("keys", accessKeyId="AK", secretAccessKey="s3cr3t")


def paradedb(name: str, status: Spec | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "apiVersion": "database.paradedb.io/v1alpha1",
        "kind": "ParadeDB",
        "metadata": {"name": name, "creationTimestamp": MADE},
        "spec": {"postgresVersion": "17"} | fields,
        "status": status or {},
    }


def claim(name: str, made: str = MADE, ours: bool = True) -> dict[str, Any]:
    labels = pod("orders-0")["metadata"]["labels"] if ours else {}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "creationTimestamp": made, "labels": labels},
        "spec": {"resources": {"requests": {"storage": "10Gi"}}},
    }


def patronis(**annotations: str) -> dict[str, Any]:
    metadata = {"name": "orders-patroni-config", "annotations": annotations}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def plan(wanted: Spec, *objects: dict[str, Any]) -> dict[str, Any]:
    return preflight.check(FakeKube(*objects), "prod", "orders", spec(**wanted))  # type: ignore[arg-type]


def refusal(wanted: Spec, *objects: dict[str, Any]) -> Refused:
    with pytest.raises(Refused) as caught:
        plan(wanted, *objects)
    return caught.value


# where a recovery begins from


def test_without_a_recovery_nothing_is_recovered() -> None:
    made = plan({})
    assert (made["recovering"], made["recovery"]) == (False, {})


def test_from_another_paradedb() -> None:
    source = paradedb("shop", backup={"enabled": False, "s3": S3})
    wanted = recovering(source="shop", method="continuous", target={"time": "2026-11-24T01:30:00Z"})
    made = plan(wanted, KEYS, source)
    assert made["recovering"] is True
    assert made["recovery"] == {
        "method": "continuous",
        "server": "shop",
        "store": {"s3": S3},
        "backup": "",
        "target": {"time": "2026-11-24T01:30:00Z"},
    }


def test_from_the_volume_of_another_paradedb() -> None:
    source = paradedb("shop", backup={"enabled": True, "pvc": {}})
    made = plan(recovering(source="shop"), source, claim("shop-backup", ours=False))
    assert made["recovery"]["store"] == {"volume": "shop-backup"}


def test_from_a_bucket() -> None:
    wanted = recovering(s3=S3, serverName="shop", backup="20261124T013000Z-4f1c")
    made = plan(wanted, KEYS)["recovery"]
    assert (made["store"], made["server"], made["backup"]) == ({"s3": S3}, "shop", "20261124T013000Z-4f1c")


def test_from_a_volume() -> None:
    wanted = recovering(pvc={"claimName": "old"}, serverName="shop")
    made = plan(wanted, claim("old", ours=False))["recovery"]
    assert (made["store"], made["server"]) == ({"volume": "old"}, "shop")


# until when


FROM_S3 = recovering(s3=S3, serverName="shop")


def test_it_begins_with_one_instance() -> None:
    made = plan({"replicas": 3} | FROM_S3, KEYS)
    assert (made["replicas"], made["spec"]["replicas"]) == (1, 1)


def test_a_hibernated_one_begins_when_it_wakes() -> None:
    made = plan({"replicas": 3, "hibernate": True} | FROM_S3, KEYS)
    assert (made["replicas"], made["recovering"]) == (0, True)


@pytest.mark.parametrize("initialize", ["", None])
def test_it_goes_on_until_there_is_a_database(initialize: str | None) -> None:
    told = {} if initialize is None else {"initialize": initialize}
    assert plan(FROM_S3, KEYS, patronis(**told))["recovering"] is True


def test_it_ends_with_the_database() -> None:
    made = plan({"replicas": 3} | FROM_S3, patronis(initialize="7123"))  # nor is the Secret needed any more
    assert (made["recovering"], made["recovery"], made["spec"]["replicas"]) == (False, {}, 3)


def test_a_lost_configmap_does_not_begin_it_again() -> None:
    assert plan(FROM_S3, paradedb("orders", {"currentPrimary": "orders-0"}))["recovering"] is False


def made_from_a_backup() -> dict[str, Any]:
    pod = {"initContainers": [{"name": "prepare"}, {"name": "recover"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "orders"},
        "spec": {"replicas": 1, "template": {"spec": pod}},
    }


def test_taken_back_before_its_end_it_leaves_no_empty_database() -> None:
    refused = refusal({}, made_from_a_backup(), patronis(initialize=""))
    assert (refused.reason, refused.field) == ("InvalidSpec", "spec.bootstrap")


def test_taken_back_after_its_end_it_is_over() -> None:
    backup_preflight.check_goes_on({}, paradedb("orders"), made_from_a_backup(), patronis(initialize="7123"))


def test_it_begins_after_volumes_were_made() -> None:
    assert plan(FROM_S3, KEYS, paradedb("orders"), claim("data-orders-0"))["recovering"] is True


@pytest.mark.parametrize("resource", [[paradedb("orders")], []])
def test_it_takes_over_no_older_data(resource: list[Any]) -> None:
    found = refusal(FROM_S3, KEYS, *resource, claim("data-orders-0", "2026-11-24T00:59:59Z"))
    assert (found.reason, found.field) == ("DataFound", "spec.bootstrap.recovery")
    assert "data-orders-0" in str(found)


# what cannot be recovered


@pytest.mark.parametrize(
    ("wanted", "objects", "reason", "field", "told"),
    [
        (recovering(source="shop"), [], "RecoverySourceNotFound", "source", "no ParadeDB 'shop'"),
        (
            recovering(source="shop"),
            [paradedb("shop")],
            "RecoverySourceNotFound",
            "source",
            "no backup.s3 or backup.pvc",
        ),
        (
            recovering(source="shop", method="continuous"),
            [paradedb("shop", backup={"pvc": {}})],
            "RecoverySourceNotFound",
            "source",
            "no backup.s3,",
        ),
        (
            recovering(source="shop"),
            [paradedb("shop", backup={"pvc": {}})],
            "RecoverySourceNotFound",
            "source",
            "no PersistentVolumeClaim 'shop-backup'",
        ),
        (
            recovering(source="shop"),
            [paradedb("shop", backup={"s3": S3})],
            "SecretNotFound",
            "source",
            "no Secret 'keys'",
        ),
        (FROM_S3, [], "SecretNotFound", "s3.secretRef", "create it"),
        (
            FROM_S3,
            [secret("keys", accessKeyId="AK")],
            "InvalidSecret",
            "s3.secretRef",
            "no secretAccessKey",
        ),
        (
            FROM_S3,
            [secret("keys", accessKeyId="  ", secretAccessKey="x")],
            "InvalidSecret",
            "s3.secretRef",
            "no accessKeyId",
        ),
        (
            FROM_S3,
            [secret("keys", accessKeyId="A\nK", secretAccessKey="x")],
            "InvalidSecret",
            "s3.secretRef",
            "line breaks",
        ),
        (
            FROM_S3,
            [secret("keys", accessKeyId=b"\xff", secretAccessKey="x")],
            "InvalidSecret",
            "s3.secretRef",
            "UTF-8",
        ),
        (
            recovering(s3=S3 | {"caSecretRef": {"name": "ca"}}, serverName="shop"),
            [KEYS],
            "SecretNotFound",
            "s3.caSecretRef",
            "'ca'",
        ),
        (
            recovering(s3=S3 | {"caSecretRef": {"name": "ca"}}, serverName="shop"),
            [KEYS, secret("ca", ca_crt="nonsense")],
            "InvalidSecret",
            "s3.caSecretRef",
            "not a certificate",
        ),
        (
            recovering(pvc={"claimName": "old"}, serverName="shop"),
            [],
            "RecoverySourceNotFound",
            "pvc.claimName",
            "'old'",
        ),
    ],
)
def test_what_is_missing_is_named(
    wanted: Spec, objects: list[Any], reason: str, field: str, told: str
) -> None:
    found = refusal(wanted, *objects)
    assert (found.reason, found.field) == (reason, f"spec.bootstrap.recovery.{field}")
    assert told in str(found)
    assert "s3cr3t" not in str(found)


def test_a_line_break_at_the_end_of_a_key_does_no_harm() -> None:
    assert plan(FROM_S3, secret("keys", accessKeyId="AK\n", secretAccessKey="x\n"))["recovering"]


def test_an_authority_that_serves() -> None:
    text = certificates.authority({}, "ca", datetime.now(UTC))["ca.crt"]
    wanted = recovering(s3=S3 | {"caSecretRef": {"name": "ca"}}, serverName="shop")
    assert plan(wanted, KEYS, secret("ca", ca_crt=text))["recovering"] is True


@pytest.mark.parametrize(
    ("ours", "theirs", "method", "works"),
    [
        ("17", "17", "continuous", True),
        ("18", "17", "continuous", False),
        ("16", "17", "continuous", False),
        ("17", "17", "dump", True),
        ("18", "17", "dump", True),
        ("16", "17", "dump", False),
    ],
)
def test_versions(ours: str, theirs: str, method: str, works: bool) -> None:
    source = paradedb("shop", postgresVersion=theirs, backup={"s3": S3})
    wanted = {"postgresVersion": ours} | recovering(source="shop", method=method)
    if works:
        plan(wanted, KEYS, source)
        return
    found = refusal(wanted, KEYS, source)
    assert (found.reason, found.field) == ("InvalidSpec", "spec.postgresVersion")
    assert f"anew with {theirs}" in str(found)


@pytest.mark.parametrize(("method", "works"), [("continuous", False), ("dump", True)])
def test_files_keep_their_superuser(method: str, works: bool) -> None:
    theirs = secret_definition("shop-patroni", patroni_secret({}, "boss"), "Opaque")
    theirs["metadata"]["namespace"] = "prod"
    objects = [KEYS, theirs, paradedb("shop", backup={"s3": S3})]
    wanted = recovering(source="shop", method=method)
    if works:
        plan(wanted, *objects)
        return
    found = refusal(wanted, *objects)
    assert found.field == "spec.auth.superuserSecretRef"
    assert "username boss" in str(found)


def test_the_own_backups_do_not_go_where_the_recovered_ones_are() -> None:
    backup = {"backup": {"enabled": True, "s3": S3 | {"endpoint": "https://S3.example.com/"}}}
    found = refusal(backup | recovering(s3=S3, serverName="orders"), KEYS)
    assert (found.reason, found.field) == ("ArchiveNotEmpty", "spec.backup.s3.path")
    plan(backup | recovering(s3=S3 | {"path": "old"}, serverName="orders"), KEYS)
    plan(backup | recovering(s3=S3, serverName="shop"), KEYS)


def test_nor_to_the_same_volume() -> None:
    wanted = recovering(pvc={"claimName": "orders-backup"}, serverName="orders")
    old = claim("orders-backup")
    found = refusal({"backup": {"enabled": True, "pvc": {}}} | wanted, old)
    assert (found.reason, found.field) == ("ArchiveNotEmpty", "spec.backup.pvc")
    plan({"backup": {"enabled": False, "pvc": {}}} | wanted, old)


# the bucket of the backups


def test_an_unusable_secret_holds_up_no_database() -> None:
    wanted = spec(backup={"enabled": True, "s3": S3})
    kube = FakeKube()
    assert preflight.check(kube, "prod", "orders", wanted)["recovering"] is False  # type: ignore[arg-type]
    (check,) = backup_preflight.unusable(kube, "prod", wanted)  # type: ignore[arg-type]
    assert (check["type"], check["ok"], check["reason"]) == ("BackupHealthy", False, "SecretNotFound")
    assert check["message"].startswith("spec.backup.s3.secretRef: ")


@pytest.mark.parametrize(
    "backup", [None, {"enabled": False, "s3": S3}, {"enabled": True, "pvc": {}}, {"enabled": True, "s3": S3}]
)
def test_a_secret_that_is_not_needed_or_serves_is_no_news(backup: Spec | None) -> None:
    objects = [KEYS] if backup == {"enabled": True, "s3": S3} else []
    assert backup_preflight.unusable(FakeKube(*objects), "prod", spec(backup=backup)) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "backup", "field"),
    [
        ("ServiceAccount", {"enabled": True, "s3": S3}, "spec.backup.enabled"),
        ("PersistentVolumeClaim", {"enabled": True, "pvc": {}}, "spec.backup.pvc"),
    ],
)
def test_names_of_something_else(kind: str, backup: Spec, field: str) -> None:
    theirs = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "orders-backup"}}
    found = refusal({"backup": backup}, theirs)
    assert (found.reason, found.field) == ("NameTaken", field)
    labels = {"app.kubernetes.io/managed-by": "paradedb-operator", "app.kubernetes.io/instance": "orders"}
    plan({"backup": backup}, theirs | {"metadata": {"name": "orders-backup", "labels": labels}})


def test_the_account_of_base_backups_is_needed_for_continuous_backup_only() -> None:
    theirs = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "orders-base"}}
    backup = {"enabled": True, "s3": S3}
    plan({"backup": backup}, theirs)
    found = refusal({"backup": backup | {"continuous": {"enabled": True}}}, theirs)
    assert (found.reason, found.field) == ("NameTaken", "spec.backup.continuous.enabled")


def test_a_claim_of_the_same_name_does_not_matter_to_a_bucket() -> None:
    theirs = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "orders-backup"}}
    plan({"backup": {"enabled": True, "s3": S3}}, theirs)
