from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import teardown

from .fake_kube import FakeKube, pod

LABELS = {
    "app.kubernetes.io/name": "paradedb",
    "app.kubernetes.io/instance": "orders",
    "app.kubernetes.io/managed-by": "paradedb-operator",
}
BACKUP = LABELS | {"app.kubernetes.io/component": "backup"}
SCOPE = {"database.paradedb.io/scope": "orders-patroni"}


def thing(kind: str, name: str, labels: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    api_version = {kind: version for version, kind in teardown.OWNED_KINDS}.get(kind, "v1")
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "labels": LABELS if labels is None else labels, **metadata},
    }


def everything() -> list[dict[str, Any]]:
    return [
        thing("Secret", "orders-credentials"),
        thing("ConfigMap", "orders-config"),
        thing("ConfigMap", "orders-patroni-config", LABELS | SCOPE),
        thing("ConfigMap", "orders-patroni-leader", SCOPE),
        thing("Service", "orders"),
        thing("ServiceAccount", "orders"),
        thing("Role", "orders"),
        thing("RoleBinding", "orders"),
        thing("StatefulSet", "orders"),
        thing("Deployment", "orders-pooler"),
        thing("CronJob", "orders-backup"),
        thing("Job", "orders-backup-1a2b3c4d"),
        thing("ServiceAccount", "orders-backup"),
        thing("PersistentVolumeClaim", "orders-backup", BACKUP),
        thing("NetworkPolicy", "orders-database"),
        thing("ServiceMonitor", "orders"),
        thing("PersistentVolumeClaim", "data-orders-0"),
        pod("orders-0", role="primary"),
        # Of others
        thing("Secret", "other-credentials", LABELS | {"app.kubernetes.io/instance": "other"}),
        thing("ConfigMap", "other-patroni-leader", {"database.paradedb.io/scope": "other-patroni"}),
        thing("Service", "mine", {"app.kubernetes.io/instance": "orders"}),
        thing("PersistentVolumeClaim", "data-other-0", {}),
    ]


def cluster_with_pods_that_end() -> FakeKube:
    """A cluster in which deleting the StatefulSet makes its pods go."""
    cluster = FakeKube(*everything())

    def gone(item: dict[str, Any]) -> None:
        if item["kind"] == "StatefulSet":
            cluster.objects.pop(("Pod", "prod", "orders-0"))

    cluster.on_delete = gone
    return cluster


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock of our own, which sleep moves."""
    clock = [0.0]
    monkeypatch.setattr(teardown.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(teardown.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    return clock


def remove(cluster: FakeKube, delete_data: bool = False, check_mode: bool = False) -> dict[str, Any]:
    return teardown.remove(cluster, "prod", "orders", delete_data, check_mode)  # type: ignore[arg-type]


def left(cluster: FakeKube) -> set[str]:
    return {f"{kind}/{name}" for kind, _namespace, name in cluster.objects}


OTHERS = {
    "Secret/other-credentials",
    "ConfigMap/other-patroni-leader",
    "Service/mine",
    "PersistentVolumeClaim/data-other-0",
    "PersistentVolumeClaim/orders-backup",
}


def test_instances_go_first_and_the_rest_after_their_pods(no_waiting: list[float]) -> None:
    cluster = cluster_with_pods_that_end()
    seen: list[tuple[str, bool]] = []
    before = cluster.on_delete

    def watch(item: dict[str, Any]) -> None:
        seen.append((item["kind"], ("Pod", "prod", "orders-0") in cluster.objects))
        before(item)

    cluster.on_delete = watch
    result = remove(cluster)
    # What would make more pods goes before those that it made.
    assert seen[:4] == [(kind, True) for kind in ("CronJob", "Job", "Deployment", "StatefulSet")]
    assert not any(pods for _kind, pods in seen[4:])
    kinds = [kind for kind, _pods in seen]
    assert kinds.index("RoleBinding") < kinds.index("ServiceAccount")  # Patroni's rights end last
    assert result["changed"] is True
    assert len(result["deleted"]) == len(set(result["deleted"])) == 15
    assert left(cluster) == OTHERS | {"PersistentVolumeClaim/data-orders-0"}
    assert no_waiting[0] == 0


def test_data_goes_only_by_explicit_word() -> None:
    cluster = cluster_with_pods_that_end()
    result = remove(cluster, delete_data=True)
    assert result["deleted"][-1] == "PersistentVolumeClaim/data-orders-0"
    assert left(cluster) == OTHERS


def test_a_pod_that_does_not_end_holds_nothing_back(no_waiting: list[float]) -> None:
    cluster = FakeKube(*everything())
    remove(cluster, delete_data=True)
    assert left(cluster) == OTHERS | {"Pod/orders-0"}
    assert teardown.SHUTDOWN_TIME <= no_waiting[0] <= teardown.SHUTDOWN_TIME + 1


def test_twice_is_the_same_as_once() -> None:
    cluster = cluster_with_pods_that_end()
    remove(cluster, delete_data=True)
    assert remove(cluster, delete_data=True) == {"changed": False, "deleted": []}


def test_what_is_going_already_is_not_counted() -> None:
    cluster = FakeKube(thing("StatefulSet", "orders", deletionTimestamp="2025-01-01T00:00:00Z"))
    assert remove(cluster) == {"changed": False, "deleted": []}
    assert cluster.writes == []


def test_check_mode_lists_and_deletes_nothing() -> None:
    cluster = cluster_with_pods_that_end()
    told = remove(cluster, delete_data=True, check_mode=True)
    assert cluster.writes == []
    done = remove(cluster_with_pods_that_end(), delete_data=True)
    assert set(told["deleted"]) == set(done["deleted"])
    assert len(told["deleted"]) == len(set(told["deleted"]))
