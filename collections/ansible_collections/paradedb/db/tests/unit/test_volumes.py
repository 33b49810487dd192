from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import instances, volumes
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import KubeError

from .fake_kube import FakeKube, Object, pod

LABELS = {
    "app.kubernetes.io/name": "paradedb",
    "app.kubernetes.io/instance": "orders",
    "app.kubernetes.io/component": "database",
}
NOT_EXPANDABLE = (
    'persistentvolumeclaims "data-orders-0" is forbidden: only dynamically provisioned pvc can be resized '
    "and the storageclass that provisions the pvc must support resize"
)


class Cluster(FakeKube):
    """Claims that grow when asked, or ``refusal`` for the claim named there."""

    def __init__(self, *objects: Object) -> None:
        super().__init__(*objects)
        self.refusal: dict[str, KubeError] = {}
        self.lingers = 0  # how often a deleted StatefulSet is still seen

    def request(self, method: str, path: str, body: Any, query: dict[str, str], content_type: str) -> Object:
        assert (method, content_type) == ("PATCH", "application/merge-patch+json")
        name = path.removeprefix("/api/v1/namespaces/prod/persistentvolumeclaims/")
        found = self.objects["PersistentVolumeClaim", "prod", name]
        assert body["metadata"]["uid"] == found["metadata"]["uid"]
        if name in self.refusal:
            raise self.refusal[name]
        if "dryRun" not in query:
            size = body["spec"]["resources"]["requests"]["storage"]
            self.writes.append(("grow", name, size))
            found["spec"]["resources"]["requests"]["storage"] = size
        return found

    def delete(self, target: Object, propagation: str = "Background", at_once: bool = False) -> bool:
        if self.lingers:
            self.writes.append(("delete", target["metadata"]["name"], propagation))
            self.objects["StatefulSet", "prod", "orders"]["metadata"]["deletionTimestamp"] = "now"
            return True
        return super().delete(target, propagation, at_once)

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> Object | None:
        found = super().get(api_version, kind, namespace, name)
        if found and "deletionTimestamp" in found["metadata"] and kind == "StatefulSet":
            self.lingers -= 1
            if self.lingers < 0:
                del self.objects[kind, namespace, name]
                return None
        return found


def stateful_set(**sizes: str) -> Object:
    templates = [
        {
            "metadata": {"name": part},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
        }
        for part, size in sizes.items()
    ]
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "orders"},
        "spec": {"volumeClaimTemplates": templates},
    }


def claim(name: str, size: str, capacity: str = "", phase: str = "Bound", *conditions: Object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "labels": LABELS},
        "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": size}}},
        "status": {
            "phase": phase,
            "capacity": {"storage": capacity or size} if phase == "Bound" else None,
            "conditions": list(conditions),
        },
    }


def spec(size: str | int, wal: str = "") -> dict[str, Any]:
    storage: dict[str, Any] = {"size": size, "accessModes": ["ReadWriteOnce"]}
    return {"storage": storage | ({"walStorage": {"size": wal}} if wal else {})}


def check(cluster: FakeKube, wanted: dict[str, Any]) -> bool:
    found = volumes.claims(cluster, "prod", "orders", wanted)  # type: ignore[arg-type]
    stateful_set = cluster.get("apps/v1", "StatefulSet", "prod", "orders")
    return volumes.check(cluster, wanted, stateful_set, found)  # type: ignore[arg-type]


def grow(cluster: FakeKube, wanted: dict[str, Any], check_mode: bool = False) -> dict[str, Any]:
    return volumes.grow(cluster, "prod", "orders", wanted, check_mode)  # type: ignore[arg-type]


def refusal(cluster: FakeKube, wanted: dict[str, Any]) -> Refused:
    with pytest.raises(Refused) as caught:
        check(cluster, wanted)
    assert cluster.writes == []
    return caught.value


def sizes(cluster: FakeKube) -> dict[str, str]:
    return {
        name: item["spec"]["resources"]["requests"]["storage"]
        for (kind, _namespace, name), item in cluster.objects.items()
        if kind == "PersistentVolumeClaim"
    }


def test_volumes_grow_before_their_stateful_set_goes() -> None:
    cluster = Cluster(
        stateful_set(data="1Gi", wal="512Mi"),
        *(claim(f"data-orders-{ordinal}", "1Gi") for ordinal in range(2)),
        *(claim(f"wal-orders-{ordinal}", "512Mi") for ordinal in range(2)),
    )
    wanted = spec("2Gi", "1Gi")
    assert check(cluster, wanted)
    result = grow(cluster, wanted)
    assert result["changed"]
    assert cluster.writes == [
        ("grow", "data-orders-0", "2Gi"),
        ("grow", "data-orders-1", "2Gi"),
        ("grow", "wal-orders-0", "1Gi"),
        ("grow", "wal-orders-1", "1Gi"),
        ("delete", "StatefulSet", "orders", "Orphan"),
    ]
    assert not check(cluster, wanted)
    assert grow(cluster, wanted) == {"changed": False, "changes": []}


@pytest.mark.parametrize("done", range(4))
def test_a_pass_that_was_killed_is_gone_on_with(done: int) -> None:
    """After ``done`` of its writes: two claims, the deletion, and that being through."""
    claims = [claim(f"data-orders-{ordinal}", "2Gi" if ordinal < done else "1Gi") for ordinal in range(2)]
    cluster = Cluster(stateful_set(data="1Gi"), *claims)
    if done == 2:
        cluster.lingers = 3
        cluster.objects["StatefulSet", "prod", "orders"]["metadata"]["deletionTimestamp"] = "now"
    if done == 3:
        del cluster.objects["StatefulSet", "prod", "orders"]
    if check(cluster, spec("2Gi")):
        grow(cluster, spec("2Gi"))
    assert sizes(cluster) == {"data-orders-0": "2Gi", "data-orders-1": "2Gi"}
    assert ("StatefulSet", "prod", "orders") not in cluster.objects
    assert not check(cluster, spec("2Gi"))


def test_a_stateful_set_that_lingers_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volumes, "_POLL", 0.001)
    cluster = Cluster(stateful_set(data="1Gi"), claim("data-orders-0", "2Gi"))
    cluster.lingers = 5
    grow(cluster, spec("2Gi"))
    assert ("StatefulSet", "prod", "orders") not in cluster.objects
    assert cluster.writes == [("delete", "orders", "Orphan")]

    monkeypatch.setattr(volumes, "LONGEST_DELETION", 0.01)
    cluster = Cluster(stateful_set(data="1Gi"))
    cluster.lingers = 10**9
    with pytest.raises(KubeError, match="orders is not gone"):
        grow(cluster, spec("2Gi"))


def test_retained_volumes_of_former_instances_grow_too() -> None:
    cluster = Cluster(claim("data-orders-0", "1Gi"), claim("data-orders-7", "512Mi"))
    assert check(cluster, spec("1Gi"))
    grow(cluster, spec("1Gi"))
    assert sizes(cluster) == {"data-orders-0": "1Gi", "data-orders-7": "1Gi"}


@pytest.mark.parametrize(
    ("template", "size", "wanted"),
    [("1Gi", "1Gi", "1Gi"), ("1Gi", "1Gi", "1024Mi"), ("1Gi", "5Gi", "1Gi"), ("1Gi", "1Gi", 1073741824)],
)
def test_nothing_is_to_grow(template: str, size: str, wanted: str | int) -> None:
    cluster = Cluster(stateful_set(data=template), claim("data-orders-0", size))
    assert not check(cluster, spec(wanted))
    assert grow(cluster, spec(wanted)) == {"changed": False, "changes": []}


def test_only_the_databases_own_claims_are_touched() -> None:
    gone = claim("data-orders-3", "1Gi")
    gone["metadata"]["deletionTimestamp"] = "now"
    cluster = Cluster(
        gone,
        claim("data-orders-4", "1Gi", phase="Pending"),
        claim("backup-orders", "1Gi"),
        claim("data-orders-x", "1Gi"),
        claim("wal-orders-0", "1Gi"),  # the spec has no such volume
    )
    assert not check(cluster, spec("2Gi"))


def test_a_claim_that_has_no_volume_yet_grows_when_it_has() -> None:
    cluster = Cluster(stateful_set(data="1Gi"), claim("data-orders-0", "1Gi", phase="Pending"))
    assert check(cluster, spec("2Gi"))
    grow(cluster, spec("2Gi"))
    assert not check(cluster, spec("2Gi"))
    cluster.objects["PersistentVolumeClaim", "prod", "data-orders-0"]["status"]["phase"] = "Bound"
    assert check(cluster, spec("2Gi"))


def test_check_mode_changes_nothing() -> None:
    cluster = Cluster(stateful_set(data="1Gi"), claim("data-orders-0", "1Gi"))
    result = grow(cluster, spec("2Gi"), check_mode=True)
    assert result == {
        "changed": True,
        "changes": ["grow the volume data-orders-0 to 2Gi", "make the StatefulSet anew around its pods"],
    }
    assert cluster.writes == []


@pytest.mark.parametrize(
    ("wanted", "field", "words"),
    [
        (spec("1Gi"), "spec.storage.size", "volumes cannot shrink; set it to 2Gi or more"),
        (spec("1023Mi", "1Gi"), "spec.storage.size", "set it to 2Gi or more"),
        (spec("2Gi", "1Gi"), "spec.storage.walStorage.size", "set it to 2Gi or more"),
        (spec("2Gi"), "spec.storage.walStorage", "cannot be added or removed"),
    ],
    ids=str,
)
def test_a_shrink_is_refused(wanted: dict[str, Any], field: str, words: str) -> None:
    has_wal = "walStorage" in wanted["storage"] or field.endswith("walStorage")
    cluster = Cluster(stateful_set(data="2Gi", **({"wal": "2Gi"} if has_wal else {})))
    refused = refusal(cluster, wanted)
    assert (refused.reason, refused.field) == ("ImmutableField", field)
    assert words in str(refused)


@pytest.mark.parametrize(
    ("storage", "template", "field", "words"),
    [
        ({"storageClassName": "slow"}, {}, "storageClassName", "remove it"),
        ({}, {"storageClassName": "fast"}, "storageClassName", "set it to fast"),
        ({"accessModes": ["ReadWriteMany"]}, {}, "accessModes", "ReadWriteOnce"),
    ],
    ids=str,
)
def test_where_the_volumes_are_cannot_change(
    storage: dict[str, Any], template: dict[str, Any], field: str, words: str
) -> None:
    present = stateful_set(data="1Gi")
    present["spec"]["volumeClaimTemplates"][0]["spec"] |= template
    wanted = {"storage": spec("1Gi")["storage"] | storage}
    refused = refusal(Cluster(present), wanted)
    assert (refused.reason, refused.field) == ("ImmutableField", f"spec.storage.{field}")
    assert words in str(refused)


def test_a_class_that_does_not_let_volumes_grow_is_named_and_nothing_done() -> None:
    cluster = Cluster(
        stateful_set(data="1Gi", wal="1Gi"), claim("data-orders-0", "1Gi"), claim("wal-orders-0", "1Gi")
    )
    cluster.refusal["wal-orders-0"] = KubeError(403, NOT_EXPANDABLE)
    refused = refusal(cluster, spec("2Gi", "3Gi"))
    assert (refused.reason, refused.field) == ("VolumeNotExpandable", "spec.storage.walStorage.size")
    for words in (
        "wal-orders-0",
        "from 1Gi to 3Gi",
        "StorageClass fast",
        "allowVolumeExpansion",
        "back to 1Gi",
    ):
        assert words in str(refused)
    with pytest.raises(Refused):
        grow(cluster, spec("2Gi", "3Gi"))
    assert cluster.writes == []


def test_other_answers_of_the_api_server() -> None:
    cluster = Cluster(stateful_set(data="1Gi"), claim("data-orders-0", "1Gi"))
    cluster.refusal["data-orders-0"] = KubeError(403, "exceeded quota: q, requested: requests.storage=1Gi")
    assert refusal(cluster, spec("2Gi")).reason == "QuotaExceeded"
    cluster.refusal["data-orders-0"] = KubeError(422, "spec: Forbidden: is immutable")
    assert refusal(cluster, spec("2Gi")).reason == "VolumeNotExpandable"
    for status, message in ((403, 'User "x" cannot patch resource'), (500, "etcd"), (0, "no answer")):
        cluster.refusal["data-orders-0"] = KubeError(status, message)
        with pytest.raises(KubeError, match=message):
            check(cluster, spec("2Gi"))
    for status in (404, 409):
        cluster.refusal["data-orders-0"] = KubeError(status, "gone, or another one")
        assert check(cluster, spec("2Gi"))


def standing(*objects: Object, wal: str = "") -> str:
    cluster: Any = FakeKube(*objects)
    found = volumes.claims(cluster, "prod", "orders", spec("2Gi", wal))
    return volumes.standing(found, instances.database_pods(cluster, "prod", "orders"))


def condition(kind: str, status: str = "True", message: str = "") -> Object:
    return {"type": kind, "status": status, "message": message}


def test_standing_tells_how_far_the_growth_is() -> None:
    pending = condition("FileSystemResizePending", message="Waiting for the pod")
    growing = claim("data-orders-0", "2Gi", "1Gi", "Bound", condition("Resizing"), pending)
    told = standing(pod("orders-0"), growing)
    assert (
        told
        == "Growing the volume data-orders-0 from 1Gi to 2Gi: FileSystemResizePending, Waiting for the pod"
    )
    asked = claim("data-orders-0", "2Gi", "1Gi", "Bound", condition("Resizing", "False"))
    assert standing(pod("orders-0"), asked) == "Growing the volume data-orders-0 from 1Gi to 2Gi"
    both = standing(pod("orders-0"), growing, claim("wal-orders-0", "2Gi", "1Gi"), wal="2Gi")
    assert "data-orders-0" in both
    assert "; Growing the volume wal-orders-0" in both


def test_standing_is_silent_about_volumes_that_are_as_asked_or_not_in_use() -> None:
    assert standing(pod("orders-0"), claim("data-orders-0", "2Gi", "2Gi")) == ""
    assert standing(pod("orders-0"), claim("data-orders-0", "2Gi", "3Gi")) == ""
    assert standing(pod("orders-0"), claim("data-orders-0", "2Gi", phase="Pending")) == ""
    assert standing(pod("orders-0"), claim("data-orders-1", "2Gi", "1Gi")) == ""
