"""What others declared in our objects is found, and only that."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils.foreign import foreign_fields


def live(ours: dict[str, Any], others: dict[str, Any], kind: str = "StatefulSet", **content: Any) -> Any:
    managed = [
        {"manager": "paradedb-operator", "operation": "Apply", "fieldsV1": ours},
        {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": others},
    ]
    return {"kind": kind, "metadata": {"managedFields": managed}, **content}


def env(*names: str) -> dict[str, Any]:
    return {"env": [{"name": name, "value": "1"} for name in names]}


def fields(*names: str) -> dict[str, Any]:
    return {"f:env": {f'k:{{"name":"{name}"}}': {".": {}, "f:name": {}, "f:value": {}} for name in names}}


def test_a_key_of_somebody_else_is_found() -> None:
    found = live({"f:data": {"f:a": {}}}, {"f:data": {"f:b": {}}}, "ConfigMap", data={"a": "1", "b": "2"})
    assert foreign_fields(found) == ["/data/b"]


def test_items_of_a_list_are_taken_out_from_its_end() -> None:
    names = [f"v{number}" for number in range(12)]
    found = live({"f:spec": fields("v0")}, {"f:spec": fields("v2", "v11")}, spec=env(*names))
    assert foreign_fields(found) == ["/spec/env/11", "/spec/env/2"]


def test_a_field_that_we_apply_too_is_ours() -> None:
    found = live({"f:spec": {"f:replicas": {}}}, {"f:spec": {"f:replicas": {}}}, spec={"replicas": 1})
    assert foreign_fields(found) == []


def test_a_slash_in_a_name_is_escaped() -> None:
    found = live(
        {"f:data": {"f:a": {}}}, {"f:data": {"f:b/c~d": {}}}, "ConfigMap", data={"a": "1", "b/c~d": "2"}
    )
    assert foreign_fields(found) == ["/data/b~1c~0d"]


@pytest.mark.parametrize(
    "others",
    [
        {"f:metadata": {"f:annotations": {"f:initialize": {}}}},
        {"f:status": {"f:replicas": {}}},
        {"f:spec": {"f:gone": {}}},
    ],
)
def test_metadata_status_and_what_is_gone_are_left_alone(others: dict[str, Any]) -> None:
    assert foreign_fields(live({"f:spec": {}}, others, spec={})) == []


def test_a_restart_asked_for_by_kubectl_stays() -> None:
    annotations = {"kubectl.kubernetes.io/restartedAt": "now", "x": "y"}
    others = {"f:spec": {"f:annotations": {f"f:{name}": {} for name in annotations}}}
    found = live({"f:spec": {"f:annotations": {}}}, others, spec={"annotations": annotations})
    assert foreign_fields(found) == ["/spec/annotations/x"]


def test_accounts_and_subresources_are_their_controllers() -> None:
    extra = {"f:imagePullSecrets": {}}
    assert foreign_fields(live({}, extra, "ServiceAccount", imagePullSecrets=[])) == []
    scaled = live({"f:spec": {}}, {"f:spec": {"f:replicas": {}}}, spec={"replicas": 3})
    scaled["metadata"]["managedFields"][1]["subresource"] = "scale"
    assert foreign_fields(scaled) == []
