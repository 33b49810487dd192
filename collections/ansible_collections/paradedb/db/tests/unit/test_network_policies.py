"""The rendered NetworkPolicies: who may reach the instances and the pooler."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils.schema import complete_spec

from .test_templates import HOSTILE, found, render

DATABASE = {
    "app.kubernetes.io/name": "paradedb",
    "app.kubernetes.io/instance": "orders",
    "app.kubernetes.io/component": "database",
}
EVERY_PART = {key: value for key, value in DATABASE.items() if not key.endswith("/component")}
NAMESPACE = [{"podSelector": {}}]
MONITORED = {"monitoring": {"enabled": True, "port": 9999}}
POOLED = {"connectionPooling": {"enabled": True}}


def rendered(policy: dict[str, Any] | None = None, **spec: Any) -> list[dict[str, Any]]:
    """The services role's objects other than Services, with the policies switched on."""
    asked = {"enabled": True, **(policy or {})}
    objects = render("services", complete_spec({"networkPolicy": asked, **spec}))
    return [item for item in objects if item["kind"] != "Service"]


def admitted(objects: list[dict[str, Any]], name: str = "orders-database") -> dict[int, list[Any]]:
    """Who is admitted to each port; [None] stands for everybody."""
    by_port: dict[int, list[Any]] = {}
    for rule in found(objects, "NetworkPolicy", name)["spec"]["ingress"]:
        (port,) = rule["ports"]
        assert port["protocol"] == "TCP"
        by_port.setdefault(port["port"], []).extend(rule.get("from", [None]))
    return by_port


@pytest.mark.parametrize("policy", [None, {}, {"enabled": False}, {"clients": NAMESPACE}])
def test_there_is_none_unless_asked_for(policy: dict[str, Any] | None) -> None:
    spec = complete_spec({**POOLED, **MONITORED} | ({} if policy is None else {"networkPolicy": policy}))
    assert {item["kind"] for item in render("services", spec)} == {"Service"}


def test_a_database_alone_has_one_policy_about_its_instances() -> None:
    (policy,) = rendered()
    assert policy["apiVersion"] == "networking.k8s.io/v1"
    assert policy["metadata"]["name"] == "orders-database"
    assert policy["spec"]["podSelector"] == {"matchLabels": DATABASE}
    assert policy["spec"]["policyTypes"] == ["Ingress"]


def test_the_instances_are_the_pods_that_the_policy_means() -> None:
    stateful_set = found(render("statefulset", complete_spec({})), "StatefulSet", "orders")["spec"]
    assert DATABASE.items() <= stateful_set["template"]["metadata"]["labels"].items()


def test_postgresql_serves_its_own_parts_and_the_namespace_by_default() -> None:
    assert admitted(rendered())[5432] == [{"podSelector": {"matchLabels": EVERY_PART}}, *NAMESPACE]


def test_patroni_talks_to_instances_only() -> None:
    wide = [{"namespaceSelector": {}}, {"ipBlock": {"cidr": "0.0.0.0/0"}}]
    for objects in (rendered(), rendered({"clients": wide, "metrics": wide}, **POOLED, **MONITORED)):
        assert admitted(objects)[8008] == [{"podSelector": {"matchLabels": DATABASE}}]


CLIENTS = [
    {"podSelector": {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["web", "on"]}]}},
    {"namespaceSelector": {"matchLabels": {"team": "123"}}, "podSelector": {}},
    {"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.7/32"]}},
]


def test_clients_replace_the_namespace() -> None:
    objects = rendered({"clients": CLIENTS}, **POOLED)
    assert admitted(objects)[5432] == [{"podSelector": {"matchLabels": EVERY_PART}}, *CLIENTS]
    assert admitted(objects, "orders-pooler") == {5432: CLIENTS}


def test_an_empty_list_of_clients_is_the_namespace_and_not_everybody() -> None:
    objects = rendered({"clients": []}, **POOLED)
    assert admitted(objects)[5432][1:] == NAMESPACE
    assert admitted(objects, "orders-pooler") == {5432: NAMESPACE}


def test_the_pooler_has_a_policy_of_its_own_while_it_is_on() -> None:
    database, pooler = rendered(**POOLED)
    assert (database["metadata"]["name"], pooler["metadata"]["name"]) == ("orders-database", "orders-pooler")
    assert pooler["spec"]["podSelector"] == {
        "matchLabels": DATABASE | {"app.kubernetes.io/component": "pooler"}
    }
    assert pooler["spec"]["policyTypes"] == ["Ingress"]
    assert admitted([database])[5432][1:] == NAMESPACE, "clients may go past the pooler"


def test_metrics_are_for_anybody_until_peers_are_named() -> None:
    assert 9999 not in admitted(rendered())
    assert admitted(rendered(**MONITORED))[9999] == [None]
    assert admitted(rendered({"metrics": []}, **MONITORED))[9999] == [None]
    assert admitted(rendered({"metrics": CLIENTS}, **MONITORED))[9999] == CLIENTS
    assert set(admitted(rendered({"metrics": CLIENTS}))) == {5432, 8008}


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_every_string_arrives_unchanged(text: str) -> None:
    peers = [{"podSelector": {"matchLabels": {text: text}}}, {"ipBlock": {"cidr": text}}]
    spec = complete_spec({**POOLED, **MONITORED})
    spec["networkPolicy"] = {"enabled": True, "clients": peers, "metrics": peers}
    objects = render("services", spec)
    assert admitted(objects)[5432][1:] == peers
    assert admitted(objects)[9999] == peers
    assert admitted(objects, "orders-pooler")[5432] == peers


@pytest.mark.parametrize("name", ["on", "null", "e1", "x" * 45])
def test_names_stay_names(name: str) -> None:
    spec = complete_spec({"networkPolicy": {"enabled": True}, **POOLED})
    for item in render("services", spec, paradedb_name=name):
        if item["kind"] == "NetworkPolicy":
            assert item["metadata"]["name"] in (f"{name}-database", f"{name}-pooler")
            assert item["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/instance"] == name
