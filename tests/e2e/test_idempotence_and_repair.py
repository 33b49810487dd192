"""A pass that has nothing to do changes nothing; what somebody else changed is put back."""

from __future__ import annotations

import json

import pytest
from cluster import PERIOD, ParadeDB, eventually, get, kubectl, make_pass, versions


def test_second_pass_changes_nothing(running: ParadeDB, tmp_path: object) -> None:
    before, resource = versions(running), running.resource()
    assert len(before) >= 10
    output = make_pass(running, str(tmp_path))
    assert "changed=0" in output
    assert versions(running) == before
    assert running.resource()["metadata"]["resourceVersion"] == resource["metadata"]["resourceVersion"]


def test_operators_own_next_pass_changes_nothing(running: ParadeDB) -> None:
    """An annotation that nobody reads makes the next period's look a pass."""
    before = versions(running)
    running.annotate(PERIOD, "1s")
    for number in ("1", "2"):
        begun = running.logged("run ended")
        running.annotate("example.com/note", number)
        eventually("a pass of the operator", lambda begun=begun: running.logged("run ended") > begun)
    assert versions(running) == before


def test_check_mode_changes_nothing_and_tells_what_would(running: ParadeDB, tmp_path: object) -> None:
    before = versions(running)
    assert "changed=0" in make_pass(running, str(tmp_path), "--check", "--diff")
    assert versions(running) == before


OWNED = [
    ("statefulset", "shared"),
    ("service", "shared"),
    ("service", "shared-headless"),
    ("configmap", "shared-config"),
    ("configmap", "shared-instance"),
    ("configmap", "shared-patroni-config"),
    ("secret", "shared-credentials"),
    ("secret", "shared-patroni"),
    ("serviceaccount", "shared"),
    ("role", "shared"),
    ("rolebinding", "shared"),
]


@pytest.mark.parametrize(("kind", "name"), OWNED)
def test_deleted_object_comes_back(running: ParadeDB, kind: str, name: str) -> None:
    before = get(kind, name, running.namespace)
    assert before
    kubectl("-n", running.namespace, "delete", kind, name, "--cascade=orphan", "--wait=false")

    def back() -> bool:
        found = get(kind, name, running.namespace)
        return bool(found) and found["metadata"]["uid"] != before["metadata"]["uid"]

    eventually(f"{kind}/{name} comes back", back)
    running.wait_running()
    eventually("the database answers", lambda: running.sql("SELECT 1", check=False) == "1")


EDITS = [
    ("statefulset", "shared", {"spec": {"replicas": 0}}),
    ("service", "shared", {"spec": {"selector": {"app.kubernetes.io/instance": "elsewhere"}}}),
    ("configmap", "shared-config", {"data": {"postgresql.conf": "fsync = off"}}),
    ("configmap", "shared-patroni-config", {"metadata": {"annotations": {"config": "{}"}}}),
    ("configmap", "shared-patroni-config", {"metadata": {"annotations": {"config": "{"}}}),
    ("configmap", "shared-config", {"data": {"extra": "key"}}),
    ("configmap", "shared-instance", {"data": {"extra": "key"}}),
    ("role", "shared", {"rules": []}),
    ("secret", "shared-credentials", {"data": {"username": "c29tZWJvZHk="}}),
    ("secret", "shared-credentials", {"data": {"extra": "a2V5", "host": "/w=="}}),
    ("secret", "shared-credentials", {"data": {"host": "ZWxzZXdoZXJl"}}),
    ("service", "shared", {"metadata": {"ownerReferences": None, "labels": {"app.kubernetes.io/name": "x"}}}),
]


def test_added_variable_is_taken_out_again(running: ParadeDB) -> None:
    def variables() -> set[str]:
        found = get("statefulset", "shared", running.namespace)
        assert found
        return {item["name"] for item in found["spec"]["template"]["spec"]["containers"][0]["env"]}

    before = variables()
    kubectl("-n", running.namespace, "set", "env", "statefulset/shared", "ADDED=1")
    eventually("the variable is gone", lambda: variables() == before)
    running.wait_running()
    eventually("the database answers", lambda: running.sql("SELECT 1", check=False) == "1")


@pytest.mark.parametrize(("kind", "name", "patch"), EDITS)
def test_edited_object_is_put_back(running: ParadeDB, kind: str, name: str, patch: dict[str, object]) -> None:
    wanted = essence(get(kind, name, running.namespace))
    kubectl("-n", running.namespace, "patch", kind, name, "--type=merge", "-p", json.dumps(patch))
    eventually(f"{kind}/{name} is put back", lambda: essence(get(kind, name, running.namespace)) == wanted)
    running.wait_running()
    eventually("the database answers", lambda: running.sql("SELECT 1", check=False) == "1")


def essence(found: dict[str, object] | None) -> dict[str, object]:
    """What is declared in an object, without what the API server and Patroni keep in it."""
    assert found
    metadata = dict(found["metadata"])  # type: ignore[call-overload]
    annotations = {
        key: value for key, value in (metadata.get("annotations") or {}).items() if key == "config"
    }
    kept = {
        "labels": metadata.get("labels"),
        "owners": metadata.get("ownerReferences"),
        "annotations": annotations,
    }
    return {"metadata": kept, **{key: found[key] for key in ("spec", "data", "rules") if key in found}}
