from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import objects
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import KubeError
from ansible_collections.paradedb.db.plugins.module_utils.labels import (
    database_selector,
    instance_labels,
    instance_selector,
)
from ansible_collections.paradedb.db.plugins.modules import apply

from .fake_kube import FakeKube

OWNER = {"apiVersion": "v1", "kind": "ParadeDB", "name": "orders", "uid": "u", "controller": True}
PARAMETERS = {
    **{"name": "orders", "namespace": "prod", "component": "services", "owner": OWNER},
    **{"pods": "", "checksum": ""},
}


def service(name: str, port: int = 5432, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, **metadata},
        "spec": {"ports": [{"port": port}]},
    }


def run(
    kube: FakeKube, *definitions: dict[str, Any], check_mode: bool = False, **more: Any
) -> dict[str, Any]:
    parameters = PARAMETERS | {"definitions": list(definitions), "kinds": ["v1/Service"]} | more
    return apply.run(parameters, kube, check_mode)  # type: ignore[arg-type]


def test_apply_creates_then_finds_nothing_to_do() -> None:
    kube = FakeKube()
    first, second = run(kube, service("orders")), run(kube, service("orders"))
    assert (first["changed"], first["changes"]) == (True, ["Service/orders"])
    assert (second["changed"], second["changes"], second["diff"]) == (False, [], [])
    made = kube.objects["Service", "prod", "orders"]
    assert made["metadata"]["ownerReferences"] == [OWNER]
    assert made["metadata"]["labels"] == instance_labels("orders") | {
        "app.kubernetes.io/component": "services"
    }


def test_only_what_changed_is_reported() -> None:
    kube = FakeKube()
    run(kube, service("a"), service("b"))
    changed = run(kube, service("a"), service("b", port=1))
    assert changed["changes"] == ["Service/b"]
    (difference,) = changed["diff"]
    assert difference["before_header"] == difference["after_header"] == "Service/b"
    assert difference["before"]["spec"]["ports"] == [{"port": 5432}]
    assert difference["after"]["spec"]["ports"] == [{"port": 1}]


def test_what_is_no_longer_wanted_is_pruned() -> None:
    kube = FakeKube()
    run(kube, service("a"), service("b"))
    assert run(kube, service("a"))["changes"] == ["Service/b"]
    assert list(kube.objects) == [("Service", "prod", "a")]
    assert run(kube)["changes"] == ["Service/a"]
    assert kube.objects == {}


def test_pruning_stays_inside_component_instance_kind_and_namespace() -> None:
    kube = FakeKube()
    run(kube, service("other-component"), component="pooler")
    run(kube, service("other-instance"), name="billing")
    run(kube, service("other-namespace"), namespace="staging")
    kube.put(service("of-a-user", labels={"app.kubernetes.io/instance": "orders"}))
    before = set(kube.objects)
    assert run(kube)["changed"] is False
    assert set(kube.objects) == before


def test_an_object_that_is_going_is_not_deleted_again() -> None:
    kube = FakeKube()
    run(kube, service("a"))
    kube.objects["Service", "prod", "a"]["metadata"]["deletionTimestamp"] = "2025-01-01T00:00:00Z"
    assert run(kube)["changed"] is False


def test_a_namesake_made_in_between_survives() -> None:
    kube = FakeKube()
    run(kube, service("a"))
    stale = kube.list("v1", "Service", "prod", instance_selector("orders"))
    kube.objects["Service", "prod", "a"]["metadata"]["uid"] = "another"
    changes = objects.apply_all(kube, [], objects.by_name(stale), False)  # type: ignore[arg-type]
    assert changes == []
    assert ("Service", "prod", "a") in kube.objects


@pytest.mark.parametrize(
    "labels",
    [
        None,
        {},
        {"app.kubernetes.io/instance": "orders"},
        {"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/instance": "orders"},
        instance_labels("billing"),
    ],
)
@pytest.mark.parametrize("check_mode", [True, False])
def test_a_namesake_of_others_is_never_taken_over(labels: Any, check_mode: bool) -> None:
    kube = FakeKube(service("orders", port=80, labels=labels))
    with pytest.raises(Refused) as caught:
        run(kube, service("orders"), check_mode=check_mode)
    assert caught.value.reason == "NameTaken"
    assert "Service 'orders'" in str(caught.value)
    assert kube.writes == []


def test_our_own_from_before_is_taken_back() -> None:
    """The resource was deleted with its data retained, and made anew: what is left over is ours."""
    left = instance_labels("orders") | {"app.kubernetes.io/component": "former"}
    kube = FakeKube(service("orders", labels=left))
    assert run(kube, service("orders"))["changed"] is True


def test_check_mode_writes_nothing_and_tells_all() -> None:
    kube = FakeKube()
    run(kube, service("a"), service("b"))
    kube.writes.clear()
    told = run(kube, service("a", port=1), service("c"), check_mode=True)
    assert sorted(told["changes"]) == ["Service/a", "Service/b", "Service/c"]
    assert kube.writes == []


def test_fields_of_the_api_server_are_no_change_and_no_news() -> None:
    kube = FakeKube()
    run(kube, service("a"))
    stored = kube.objects["Service", "prod", "a"]
    stored["status"] = {"loadBalancer": {}}
    stored["metadata"] |= {"resourceVersion": "8", "managedFields": [{}], "generation": 3}
    assert run(kube, service("a"))["changed"] is False
    (difference,) = run(kube, service("a", port=1))["diff"]
    shown = json.dumps(difference)
    assert not any(word in shown for word in ("managedFields", "resourceVersion", "loadBalancer", "uid-"))


@pytest.mark.parametrize("side", ["created", "changed", "deleted"])
def test_a_diff_never_shows_a_secret(side: str) -> None:
    def secret(value: str) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": "s",
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": f'{{"data": "{value}"}}'},
            },
            "data": {"password": value},
        }

    kube = FakeKube()
    kinds: dict[str, Any] = {"kinds": ["v1/Secret"]}
    told = [run(kube, secret("b2xk"), **kinds)]
    told.append(run(kube, secret("bmV3"), **kinds))
    told.append(run(kube, **kinds))
    found = told[["created", "changed", "deleted"].index(side)]
    assert found["changed"] is True
    assert found["changes"] == ["Secret/s"]
    assert "b2xk" not in json.dumps(found)
    assert "bmV3" not in json.dumps(found)
    assert "password" in json.dumps(found["diff"])


def test_definitions_are_not_changed_by_their_completion() -> None:
    definition = service("a", labels={"mine": "x"})
    made = objects.complete(definition, "prod", "orders", "services", None)
    assert definition == service("a", labels={"mine": "x"})
    assert made["metadata"]["labels"]["mine"] == "x"
    assert "ownerReferences" not in made["metadata"]


def test_an_owner_is_left_out_where_there_is_none() -> None:
    kube = FakeKube()
    run(kube, service("a"), owner={})
    assert "ownerReferences" not in kube.objects["Service", "prod", "a"]["metadata"]


def test_selectors_name_one_instance_only() -> None:
    assert instance_selector("a") == (
        "app.kubernetes.io/name=paradedb,app.kubernetes.io/instance=a,"
        "app.kubernetes.io/managed-by=paradedb-operator"
    )
    assert "app.kubernetes.io/component=database" in database_selector("a")


def queries(text: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "queries"}, "data": {"q": text}}


def mounting(**metadata: Any) -> dict[str, Any]:
    labels = instance_labels("orders") | {"app.kubernetes.io/component": "pooler"}
    made = {"name": "orders-pooler-x", "labels": labels} | metadata
    return {"apiVersion": "v1", "kind": "Pod", "metadata": made}


def told(kube: FakeKube) -> str | None:
    pod = kube.objects["Pod", "prod", "orders-pooler-x"]
    return (pod["metadata"].get("annotations") or {}).get("mounts.database.paradedb.io/services")


def test_pods_learn_that_what_they_mount_has_changed() -> None:
    kube = FakeKube(mounting())
    more = {"kinds": ["v1/ConfigMap"], "pods": "pooler"}
    run(kube, queries("a"), check_mode=True, **more)
    assert told(kube) is None
    run(kube, queries("a"), **more)
    first = told(kube)
    assert first
    assert run(kube, queries("a"), **more)["changed"] is False
    assert told(kube) == first
    run(kube, queries("b"), **more)
    second = told(kube)
    assert second not in (None, first)
    assert run(kube, queries("b"), checksum="of a Secret", **more)["changed"] is False
    assert told(kube) not in (None, first, second)


def test_a_pod_that_goes_is_told_nothing() -> None:
    kube = FakeKube(mounting(deletionTimestamp="2025-01-01T00:00:00Z"))
    run(kube, queries("a"), kinds=["v1/ConfigMap"], pods="pooler")
    assert told(kube) is None


@pytest.mark.parametrize("status", [403, 404])
def test_an_optional_kind_that_is_not_there_or_not_granted_has_nothing_to_prune(status: int) -> None:
    kube = FakeKube()
    ask = kube.list

    def answer(api_version: str, kind: str, namespace: str, selector: str) -> list[dict[str, Any]]:
        if kind == "ServiceMonitor":
            raise KubeError(status, "why")
        return ask(api_version, kind, namespace, selector)

    kube.list = answer  # type: ignore[method-assign]
    kinds = ["monitoring.coreos.com/v1/ServiceMonitor", "v1/Service"]
    assert run(kube, service("orders"), kinds=kinds)["changes"] == ["Service/orders"]


# The volume with backups


def claim(size: str = "1Gi", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "orders-backup", **metadata},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
    }


def test_a_claim_is_made_without_an_owner_and_never_pruned() -> None:
    kube = FakeKube()
    assert run(kube, claim(), component="backup")["changes"] == ["PersistentVolumeClaim/orders-backup"]
    (made,) = kube.objects.values()
    assert "ownerReferences" not in made["metadata"]
    assert made["metadata"]["labels"]["app.kubernetes.io/component"] == "backup"
    kube.writes.clear()
    assert run(kube, claim(), component="backup")["changed"] is False
    assert run(kube, component="backup")["changed"] is False
    assert kube.writes == []


@pytest.mark.parametrize("size", ["1Gi", "1024Mi", "500Mi", 1])
def test_a_claim_from_before_is_taken_as_it_is(size: Any) -> None:
    """It outlived its ParadeDB, and another class or a smaller size cannot be given to it."""
    kube = FakeKube(claim(labels=instance_labels("orders")))
    asked = claim(size)
    asked["spec"]["storageClassName"] = "other"
    assert run(kube, asked, component="backup")["changed"] is False
    assert kube.writes == []


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_claim_grows(check_mode: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube(claim(labels=instance_labels("orders")))
    asked: list[tuple[str, Any, bool]] = []
    monkeypatch.setattr(
        objects.volumes,
        "resize",
        lambda _kube, item, field, size, dry_run: asked.append((field, size, dry_run)),
    )
    told = run(kube, claim("2Gi"), component="backup", check_mode=check_mode)
    assert asked == [("spec.backup.pvc.size", "2Gi", check_mode)]
    (difference,) = told["diff"]
    sizes = [difference[side]["spec"]["resources"]["requests"]["storage"] for side in ("before", "after")]
    assert sizes == ["1Gi", "2Gi"]


def test_somebody_elses_claim_is_left_alone() -> None:
    kube = FakeKube(claim())
    with pytest.raises(Refused, match="PersistentVolumeClaim 'orders-backup' belongs to something else"):
        run(kube, claim("2Gi"), component="backup")
    assert kube.writes == []


def test_what_programs_report_is_theirs() -> None:
    kube = FakeKube()
    report = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "state", "labels": {"database.paradedb.io/report": "backup"}},
    }
    run(kube, report, kinds=["v1/ConfigMap"])
    held = kube.objects["ConfigMap", "prod", "state"]
    held["data"] = {"dump": "{}"}
    held["metadata"]["managedFields"] = [
        {"manager": "paradedb-backup", "operation": "Update", "fieldsV1": {"f:data": {"f:dump": {}}}}
    ]
    assert run(kube, report, kinds=["v1/ConfigMap"])["changed"] is False
    assert kube.objects["ConfigMap", "prod", "state"]["data"] == {"dump": "{}"}
    before, after = {**held, "data": {}}, {**held, "data": {"dump": "more"}}
    assert objects._comparable(before) == objects._comparable(after)


def test_a_claim_that_may_not_grow_stops_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any) -> None:
        raise Refused("VolumeNotExpandable", "spec.backup.pvc.size", "its StorageClass does not allow it")

    monkeypatch.setattr(objects.volumes, "resize", refuse)
    kube = FakeKube(claim(labels=instance_labels("orders")))
    told = run(kube, claim("2Gi"), service("after"), component="backup")
    assert told["changes"] == ["Service/after"]
    assert "spec.backup.pvc.size" in told["warnings"][0]
