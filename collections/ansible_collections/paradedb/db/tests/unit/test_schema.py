"""The schema without an API server: what the resource's own file says, applied here."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from ansible_collections.paradedb.db.plugins.module_utils import exporter_queries, names, pgbouncer, schema
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused

from .conftest import CHECKOUT


def test_the_file_is_the_one_that_is_deployed() -> None:
    deployed = CHECKOUT / "deploy" / "crd" / schema.CRD_FILE.name
    assert schema.CRD_FILE.read_text() == deployed.read_text()


def test_an_empty_spec_is_completed() -> None:
    completed = schema.complete_spec({})
    assert completed["replicas"] == 1
    assert completed["postgresVersion"] == "17"
    assert completed["storage"] == {
        "size": "10Gi",
        "accessModes": ["ReadWriteOnce"],
        "reclaimPolicy": "Retain",
    }
    assert completed["auth"] == {"database": "paradedb"}
    assert completed["extensions"] == {"pgSearch": True, "pgAnalytics": False, "pgVector": False}
    assert completed["replication"] == {
        "mode": "async",
        "syncNodeCount": 1,
        "strict": False,
        "maximumLagOnFailover": "32Mi",
        "communityStandby": "Deny",
    }
    assert completed["nodeLossPolicy"] == "Manual"
    assert (completed["paused"], completed["hibernate"]) == (False, False)
    assert completed["serviceType"] == "ClusterIP"
    assert "image" not in completed
    assert "postgresConfig" not in completed


def test_completion_is_stable_and_leaves_its_input() -> None:
    spec = {"storage": {"size": "5Gi", "walStorage": {}}, "extensions": {"pgVector": True}}
    before = copy.deepcopy(spec)
    once = schema.complete_spec(spec)
    assert spec == before
    assert schema.complete_spec(once) == once
    assert once["storage"]["walStorage"] == {"size": "5Gi"}
    assert once["extensions"] == {"pgSearch": True, "pgAnalytics": False, "pgVector": True}


def test_users_are_completed() -> None:
    (user,) = schema.complete_spec({"auth": {"users": [{"name": "app"}]}})["auth"]["users"]
    assert user == {"name": "app", "privileges": ["CONNECT"]}


def test_two_completions_share_nothing() -> None:
    first = schema.complete_spec({})
    first["storage"]["accessModes"].append("x")
    assert schema.complete_spec({})["storage"]["accessModes"] == ["ReadWriteOnce"]


def test_every_default_passes_its_own_schema() -> None:
    enabled: dict[str, dict[str, Any]] = {
        name: {}
        for name in (
            *("storage", "auth", "tls", "connectionPooling", "backup", "monitoring", "extensions"),
            *("replication", "networkPolicy"),
        )
    }
    schema.complete_spec(schema.complete_spec(enabled))


@pytest.mark.parametrize(
    "name", sorted((CHECKOUT / "deploy" / "samples").glob("*.yaml"), key=str), ids=lambda p: p.name
)
def test_the_samples_are_complete_specs(name: Any) -> None:
    for document in yaml.safe_load_all(name.read_text()):
        if document and document["kind"] == "ParadeDB":
            spec = schema.complete_spec(document.get("spec") or {})
            names.check_names(document["metadata"]["name"], spec)
            pgbouncer.check_parameters(spec)
            queries = (spec.get("monitoring") or {}).get("customQueries") or {}
            assert exporter_queries.sort_out(queries)[1] == {}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"imag": "x"}, "spec.imag"),
        ({"storage": {"sise": "1Gi"}}, "spec.storage.sise"),
        ({"storage": {"walStorage": {"x": 1}}}, "spec.storage.walStorage.x"),
        ({"replicas": 0}, "spec.replicas"),
        ({"replicas": 11}, "spec.replicas"),
        ({"replicas": "1"}, "spec.replicas"),
        ({"replicas": 1.5}, "spec.replicas"),
        ({"replicas": True}, "spec.replicas"),
        ({"replication": {"mode": "quorum"}}, "spec.replication.mode"),
        ({"replication": {"syncNodeCount": 0}}, "spec.replication.syncNodeCount"),
        ({"replication": {"syncNodeCount": 10}}, "spec.replication.syncNodeCount"),
        ({"replication": {"strict": "no"}}, "spec.replication.strict"),
        ({"replication": {"maximumLagOnFailover": "far"}}, "spec.replication.maximumLagOnFailover"),
        ({"replication": {"communityStandby": "Allow"}}, "spec.replication.communityStandby"),
        ({"nodeLossPolicy": "Delete"}, "spec.nodeLossPolicy"),
        ({"paused": "yes"}, "spec.paused"),
        ({"hibernate": 1}, "spec.hibernate"),
        ({"postgresVersion": "14"}, "spec.postgresVersion"),
        ({"postgresVersion": 17}, "spec.postgresVersion"),
        ({"image": ""}, "spec.image"),
        ({"image": "x" * 513}, "spec.image"),
        ({"image": ["x"]}, "spec.image"),
        ({"imagePullPolicy": "Sometimes"}, "spec.imagePullPolicy"),
        ({"imagePullSecrets": [{}]}, "spec.imagePullSecrets[0].name"),
        ({"imagePullSecrets": ["x"]}, "spec.imagePullSecrets[0]"),
        ({"storage": {"size": "many"}}, "spec.storage.size"),
        ({"storage": {"size": "1GB"}}, "spec.storage.size"),
        ({"storage": {"size": "-1Gi"}}, "spec.storage.size"),
        ({"storage": {"size": True}}, "spec.storage.size"),
        ({"storage": {"size": 1.5}}, "spec.storage.size"),
        ({"storage": {"accessModes": []}}, "spec.storage.accessModes"),
        ({"storage": {"accessModes": ["ReadOnlyMany"]}}, "spec.storage.accessModes[0]"),
        ({"storage": []}, "spec.storage"),
        ({"storage": "10Gi"}, "spec.storage"),
        ({"resources": {"limits": {"memory": []}}}, "spec.resources.limits.memory"),
        ({"auth": {"database": ""}}, "spec.auth.database"),
        ({"auth": {"database": "x" * 64}}, "spec.auth.database"),
        ({"auth": {"superuserSecretRef": {}}}, "spec.auth.superuserSecretRef.name"),
        ({"auth": {"superuserSecretRef": {"name": "../x"}}}, "spec.auth.superuserSecretRef.name"),
        ({"auth": {"superuserSecretRef": {"name": "x\n"}}}, "spec.auth.superuserSecretRef.name"),
        ({"auth": {"pgHBA": "host all all all md5"}}, "spec.auth.pgHBA"),
        ({"auth": {"pgHBA": [1]}}, "spec.auth.pgHBA[0]"),
        ({"auth": {"pgHBA": ["x"] * 101}}, "spec.auth.pgHBA"),
        ({"postgresConfig": {"work_mem": 1}}, "spec.postgresConfig.work_mem"),
        ({"postgresConfig": {"fsync": False}}, "spec.postgresConfig.fsync"),
        ({"postgresConfig": ["work_mem=1MB"]}, "spec.postgresConfig"),
        ({"postgresConfig": {f"a.s{number}": "1" for number in range(201)}}, "spec.postgresConfig"),
        ({"extensions": {"pgSearch": "yes"}}, "spec.extensions.pgSearch"),
        ({"extensions": {"additional": [""]}}, "spec.extensions.additional[0]"),
        ({"extensions": {"additional": ["hstore", "hstore"]}}, "spec.extensions.additional"),
        ({"auth": {"users": [{}]}}, "spec.auth.users[0].name"),
        ({"auth": {"users": [{"name": "a"}, {"name": "b"}, {"name": "a"}]}}, "spec.auth.users"),
        (
            {"auth": {"users": [{"name": "a", "privileges": ["SELECT"]}]}},
            "spec.auth.users[0].privileges[0]",
        ),
        ({"auth": {"users": [{"name": "a", "databases": []}]}}, "spec.auth.users[0].databases"),
        ({"databases": ["shop"]}, "spec.databases[0]"),
        ({"databases": [{"name": "shop"}, {"name": "shop"}]}, "spec.databases"),
        ({"connectionPooling": {"replicas": 0}}, "spec.connectionPooling.replicas"),
        (
            {"connectionPooling": {"parameters": {"query_timeout": 1}}},
            "spec.connectionPooling.parameters.query_timeout",
        ),
        ({"networkPolicy": {"clients": {}}}, "spec.networkPolicy.clients"),
        (
            {"networkPolicy": {"clients": [{"ipBlock": {"except": []}}]}},
            "spec.networkPolicy.clients[0].ipBlock.cidr",
        ),
        (
            {"monitoring": {"prometheusRule": {"labels": {"a": "b c"}}}},
            "spec.monitoring.prometheusRule.labels.a",
        ),
        ({"serviceType": "Headless"}, "spec.serviceType"),
        ({"nodeSelector": {"a": 1}}, "spec.nodeSelector.a"),
        ({"tolerations": [{"key": 1}]}, "spec.tolerations[0].key"),
        ({"tolerations": [{"unknown": "x"}]}, "spec.tolerations[0].unknown"),
        ({"podSecurityContext": {"runAsUser": "999"}}, "spec.podSecurityContext.runAsUser"),
        ({"affinity": {"nodeAffinity": []}}, "spec.affinity.nodeAffinity"),
    ],
    ids=lambda value: str(value)[:70],
)
def test_what_the_api_server_would_refuse_is_refused_with_its_field(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as caught:
        schema.complete_spec(spec)
    assert caught.value.field == field
    assert caught.value.reason == "InvalidSpec"


@pytest.mark.parametrize(
    "spec",
    [
        {"storage": {"size": 1073741824}},
        {"storage": {"size": "1.5Gi"}},
        {
            "replicas": 10,
            "replication": {"mode": "sync", "syncNodeCount": 9, "maximumLagOnFailover": 1048576},
        },
        {"replication": {"maximumLagOnFailover": 1048576, "communityStandby": "HeapOnly", "strict": True}},
        {"nodeLossPolicy": "ForceDelete", "paused": True, "hibernate": True, "edition": "Enterprise"},
        {"resources": {"limits": {"memory": "1Gi", "cpu": 2}, "requests": {"cpu": "250m"}}},
        {"postgresConfig": {"work_mem": "1MB", "paradedb.enable_custom_scan": "off"}},
        {"nodeSelector": {"kubernetes.io/os": "linux"}},
        {"tolerations": [{"key": "a", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 5}]},
        {"podSecurityContext": {"runAsUser": 1000, "sysctls": [{"name": "a", "value": "b"}]}},
        {"auth": {"database": "x", "superuserSecretRef": {"name": "s.x"}, "pgHBA": ["host all all all md5"]}},
        {
            "databases": [{"name": "shop", "owner": "app", "extensions": ["hstore"]}, {"name": "b"}],
            "networkPolicy": {
                "enabled": True,
                "clients": [{"podSelector": {}, "namespaceSelector": {"matchLabels": {"a.b/c": "d"}}}],
                "metrics": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}],
            },
        },
        {"image": "registry:5000/paradedb@sha256:abc", "imagePullSecrets": [{"name": "x"}]},
    ],
    ids=lambda value: str(value)[:70],
)
def test_what_the_api_server_takes_is_taken_as_it_is(spec: dict[str, Any]) -> None:
    completed = schema.complete_spec(spec)
    for name, value in spec.items():
        if isinstance(value, dict):
            assert value.items() <= completed[name].items()
        else:
            assert completed[name] == value


@pytest.mark.parametrize(
    "spec",
    [
        {"replicas": None},
        {"storage": None},
        {"extensions": {"pgSearch": None}},
        {"image": None, "resources": None},
        {"auth": {"superuserSecretRef": None, "pgHBA": None}},
    ],
    ids=lambda value: str(value)[:70],
)
def test_null_is_the_same_as_nothing(spec: dict[str, Any]) -> None:
    """The API server drops a null before it fills in the defaults."""
    assert schema.complete_spec(spec) == schema.complete_spec({})
