"""The objects of the connection pooler, as its role renders them."""

from __future__ import annotations

from typing import Any

import pytest

from .test_pgbouncer import POOLING
from .test_templates import HOSTILE, render

CERTIFICATE = {"tls": {"secretName": "orders-tls"}}


def rendered(spec: dict[str, Any] | None = None, **variables: Any) -> dict[str, dict[str, Any]]:
    """The objects by kind; ``spec`` changes one with a pooler."""
    given = {"connectionPooling": POOLING, **(spec or {})}
    return {item["kind"]: item for item in render("pooler", given, **variables)}


def pooling(**fields: Any) -> dict[str, Any]:
    return {"connectionPooling": {**POOLING, **fields}}


def container(objects: dict[str, dict[str, Any]]) -> dict[str, Any]:
    (found,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    return found


@pytest.mark.parametrize("spec", [{}, {"connectionPooling": {}}, {"connectionPooling": {"enabled": False}}])
def test_switched_off_there_is_nothing(spec: dict[str, Any]) -> None:
    assert render("pooler", spec) == []


def test_what_a_pooler_is_made_of() -> None:
    made = rendered()
    assert set(made) == {"ConfigMap", "Service", "Deployment", "PodDisruptionBudget"}
    assert {item["metadata"]["name"] for item in made.values()} == {"orders-pooler"}
    assert made["Deployment"]["spec"]["replicas"] == 2
    labels = made["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for selector in (
        made["Service"]["spec"]["selector"],
        made["Deployment"]["spec"]["selector"]["matchLabels"],
        made["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()


@pytest.mark.parametrize(("spec", "replicas"), [(pooling(replicas=1), 1), ({"hibernate": True}, 0)])
def test_a_budget_for_one_pod_would_stop_every_drain(spec: dict[str, Any], replicas: int) -> None:
    made = rendered(spec)
    assert made["Deployment"]["spec"]["replicas"] == replicas
    assert "PodDisruptionBudget" not in made


def test_a_setting_changes_the_files_and_not_the_pods() -> None:
    before, after = rendered(), rendered(pooling(defaultPoolSize=7, parameters={"stats_period": "5"}))
    assert before["Deployment"] == after["Deployment"]
    assert before["ConfigMap"] != after["ConfigMap"]


@pytest.mark.parametrize(
    "fields", [{"poolMode": "session"}, {"parameters": {"max_prepared_statements": "0"}}]
)
def test_who_tracks_prepared_statements_changes_the_pods_and_not_the_files(fields: dict[str, Any]) -> None:
    before, after = rendered(), rendered(pooling(**fields))
    assert before["Deployment"] != after["Deployment"]
    assert before["ConfigMap"] == after["ConfigMap"]


def test_the_certificate_is_mounted_where_there_is_one() -> None:
    def mounts(objects: dict[str, dict[str, Any]]) -> set[str]:
        return {mount["name"] for mount in container(objects)["volumeMounts"]}

    with_one = rendered(paradedb_credentials=CERTIFICATE)
    assert mounts(with_one) - mounts(rendered()) == {"tls"}
    assert {"tls.ini", "tls-verified.ini"} <= set(with_one["ConfigMap"]["data"])
    assert not {"tls.ini", "tls-verified.ini"} & set(rendered()["ConfigMap"]["data"])


def test_a_pod_has_no_rights_and_writes_to_memory_only() -> None:
    made = rendered()
    pod = made["Deployment"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container(made)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [volume["emptyDir"]["medium"] for volume in pod["volumes"] if "emptyDir" in volume] == ["Memory"]


@pytest.mark.parametrize("value", HOSTILE)
def test_what_stands_in_a_spec_arrives(value: str) -> None:
    spec = {
        **pooling(image=value, resources={"limits": {value: value}}),
        "nodeSelector": {value: value},
        "tolerations": [{"key": value}],
        "imagePullSecrets": [{"name": value}],
    }
    made = rendered(spec, paradedb_credentials={"tls": {"secretName": value}} if value else {})
    pod = made["Deployment"]["spec"]["template"]["spec"]
    assert container(made)["image"] == value
    assert container(made)["resources"] == {"limits": {value: value}}
    assert pod["nodeSelector"] == {value: value}
    assert pod["tolerations"] == [{"key": value}]
    assert pod["imagePullSecrets"] == [{"name": value}]
