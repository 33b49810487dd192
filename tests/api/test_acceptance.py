"""What the API server accepts in a ParadeDB, and what it fills in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver import API, DEPLOY, ParadeDBs, Server, kubectl, paradedb

pytestmark = pytest.mark.cluster

Spec = dict[str, Any]

REPLICATION: Spec = {
    "mode": "async",
    "syncNodeCount": 1,
    "strict": False,
    "maximumLagOnFailover": "32Mi",
    "communityStandby": "Deny",
}

SAMPLES = sorted((DEPLOY / "samples").glob("paradedb_*.yaml"))

GOOD: dict[str, Spec] = {
    "sample of the Go original": {
        "image": "paradedb/paradedb:latest",
        "replicas": 1,
        "postgresVersion": "16",
        "storage": {"size": "10Gi"},
        "auth": {"database": "paradedb"},
        "extensions": {"pgSearch": True, "pgAnalytics": True, "pgVector": False},
        "resources": {
            "requests": {"memory": "256Mi", "cpu": "250m"},
            "limits": {"memory": "1Gi", "cpu": "1000m"},
        },
        "monitoring": {"enabled": False, "port": 9187},
        "serviceType": "ClusterIP",
    },
    "every later capability, switched off": {
        "connectionPooling": {
            "enabled": False,
            "image": "registry.example.com:5000/pgbouncer@sha256:" + "0" * 64,
            "poolMode": "session",
            "maxClientConnections": 200,
            "defaultPoolSize": 25,
            "minPoolSize": 25,
            "reservePoolSize": 10,
            "resources": {"limits": {"memory": "256Mi"}},
        },
        "backup": {
            "enabled": False,
            "schedule": "*/15 0-6,22 1,15 JAN-MAR MON",
            "retentionPolicy": {"keepLast": 0, "keepDaily": 0},
            "s3": {
                "endpoint": "https://s3.eu-central-1.amazonaws.com:443",
                "bucket": "paradedb-backups",
                "region": "eu-central-1",
                "path": "production/orders",
                "secretRef": {"name": "s3-credentials"},
            },
        },
        "monitoring": {
            "enabled": False,
            "image": "prometheuscommunity/postgres-exporter:v0.18.1",
            "port": 9188,
            "serviceMonitor": {"enabled": False, "labels": {"release": "prometheus"}, "interval": "1m"},
            "customQueries": {"size": "query: SELECT 1"},
        },
    },
    "backup volume": {"backup": {"schedule": "@daily", "pvc": {"size": "20Gi", "storageClassName": "slow"}}},
    "version, edition and pull secrets": {
        "image": "paradedb/paradedb-enterprise:18-v0.25.3",
        "postgresVersion": "18",
        "edition": "Enterprise",
        "imagePullSecrets": [{"name": "registry"}],
        "imagePullPolicy": "Always",
    },
    "ten instances, nine of them synchronous": {
        "replicas": 10,
        "replication": {
            "mode": "sync",
            "syncNodeCount": 9,
            "strict": True,
            "maximumLagOnFailover": "1Gi",
            "communityStandby": "HeapOnly",
        },
        "nodeLossPolicy": "ForceDelete",
    },
    "Community with standbys": {"replicas": 2, "edition": "Community"},
    "sync that starts with one instance": {
        "replicas": 1,
        "replication": {"mode": "sync", "syncNodeCount": 2},
    },
    "two asynchronous instances with settings for more": {
        "replicas": 2,
        "replication": {"mode": "async", "syncNodeCount": 9, "maximumLagOnFailover": 2**20},
    },
    "strict, not in force": {"replication": {"strict": True}},
    "paused": {"paused": True},
    "hibernating": {"hibernate": True, "replicas": 3},
    "TLS with the operator's own certificates": {"tls": {"enabled": True}},
    "TLS with a Secret": {"tls": {"enabled": True, "secretRef": {"name": "server.tls"}}},
    "TLS with a Secret, cert-manager off": {
        "tls": {"enabled": True, "secretRef": {"name": "a"}, "certManager": {"enabled": False}}
    },
    "TLS from cert-manager": {
        "tls": {
            "enabled": True,
            "certManager": {"enabled": True, "issuerRef": {"name": "ca", "kind": "ClusterIssuer"}},
        }
    },
    "TLS set up, switched off": {"tls": {"enabled": False, "secretRef": {"name": "a"}}},
    "sizes in other notations": {
        "storage": {"size": 268435456, "walStorage": {"size": "1.5Gi"}},
        "resources": {
            "requests": {"cpu": 1, "memory": "1e9"},
            "limits": {"cpu": "1000m", "nvidia.com/gpu": 1},
        },
    },
    "database postgres": {"auth": {"database": "postgres"}},
    "access rules": {
        "auth": {
            "pgHBA": [
                "local all all peer",
                "host all all 10.0.0.0/8 scram-sha-256",
                'hostssl "my db",other +staff 192.168.0.0 255.255.0.0 cert clientcert=verify-full',
                'host all all all ldap ldapserver=ldap.example.com ldapsuffix=", dc=example"',
                "hostnossl\tall\tall\t::/0\treject",
            ]
        }
    },
    "settings": {
        "postgresConfig": {
            "max_connections": "200",
            "shared_preload_libraries": "pg_cron,auto_explain",
            "auto_explain.log_min_duration": "1s",
            "synchronous_commit": "off",
            "wal_level": "logical",
            "fsync": "ON",
            "password_encryption": "scram-sha-256",
            "search_path": '"$user", public',
        }
    },
    "many long settings": {"postgresConfig": {f"app.setting_{i}": "x" * 1024 for i in range(200)}},
    "many access rules": {"auth": {"pgHBA": ["host all all 10.0.0.0/8 scram-sha-256" + " " * 900] * 100}},
    "extensions": {"extensions": {"additional": ["pg_stat_statements", "uuid-ossp"]}},
    "security": {
        "podSecurityContext": {"runAsUser": 26, "runAsGroup": 26, "fsGroup": 26, "supplementalGroups": [1]},
        "containerSecurityContext": {"readOnlyRootFilesystem": False, "capabilities": {"drop": ["ALL"]}},
    },
}


@pytest.mark.parametrize("case", GOOD)
def test_accepted(paradedbs: ParadeDBs, case: str) -> None:
    stored = paradedbs.try_create(GOOD[case])["spec"]
    assert _contained(GOOD[case], stored)


def _contained(wanted: Any, stored: Any) -> bool:
    """Whether everything in ``wanted`` is in ``stored``; defaults may come on top."""
    if isinstance(wanted, dict):
        return all(key in stored and _contained(value, stored[key]) for key, value in wanted.items())
    return bool(wanted == stored)


@pytest.mark.parametrize("name", ["a", "a" * 45, "a-1"])
def test_good_names_are_accepted(paradedbs: ParadeDBs, name: str) -> None:
    assert paradedbs.try_create({}, name)["metadata"]["name"] == name


@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: file.stem)
def test_samples_are_accepted(paradedbs: ParadeDBs, file: Path) -> None:
    sample = yaml.safe_load(file.read_text())
    assert paradedbs.try_create(sample["spec"], sample["metadata"]["name"])


def test_an_empty_spec_gets_the_defaults(paradedbs: ParadeDBs) -> None:
    assert paradedbs.try_create({})["spec"] == {
        "replicas": 1,
        "postgresVersion": "17",
        "edition": "Auto",
        "imagePullPolicy": "IfNotPresent",
        "replication": REPLICATION,
        "nodeLossPolicy": "Manual",
        "paused": False,
        "hibernate": False,
        "storage": {"size": "10Gi", "accessModes": ["ReadWriteOnce"], "reclaimPolicy": "Retain"},
        "auth": {"database": "paradedb"},
        "extensions": {"pgSearch": True, "pgAnalytics": False, "pgVector": False},
        "serviceType": "ClusterIP",
    }


def test_empty_parts_get_their_defaults(paradedbs: ParadeDBs) -> None:
    parts = [
        "storage",
        "auth",
        "extensions",
        "tls",
        "connectionPooling",
        "backup",
        "monitoring",
        "replication",
    ]
    spec: Spec = {part: {} for part in parts}
    spec["storage"]["walStorage"] = {}
    spec["monitoring"]["serviceMonitor"] = {}
    spec["backup"]["pvc"] = {}
    spec["tls"]["certManager"] = {"enabled": False, "issuerRef": {"name": "ca"}}
    stored = paradedbs.try_create(spec)["spec"]
    assert stored["storage"] == {
        "size": "10Gi",
        "accessModes": ["ReadWriteOnce"],
        "reclaimPolicy": "Retain",
        "walStorage": {"size": "5Gi"},
    }
    assert stored["auth"] == {"database": "paradedb"}
    assert stored["extensions"] == {"pgSearch": True, "pgAnalytics": False, "pgVector": False}
    assert stored["replication"] == REPLICATION
    assert stored["tls"]["enabled"] is False
    assert stored["tls"]["certManager"]["issuerRef"] == {"name": "ca", "kind": "Issuer"}
    assert stored["connectionPooling"] == {
        "enabled": False,
        "poolMode": "transaction",
        "maxClientConnections": 100,
        "defaultPoolSize": 20,
        "minPoolSize": 0,
        "reservePoolSize": 5,
    }
    assert stored["backup"] == {
        "enabled": False,
        "schedule": "0 2 * * *",
        "retentionPolicy": {"keepLast": 7, "keepDaily": 7, "keepWeekly": 4},
        "pvc": {"size": "20Gi"},
    }
    assert stored["monitoring"] == {
        "enabled": False,
        "port": 9187,
        "serviceMonitor": {"enabled": False, "interval": "30s"},
    }


def test_kubectl_apply_refuses_unknown_fields(paradedbs: ParadeDBs) -> None:
    resource = paradedb("typo", {"storrage": {"size": "1Gi"}})
    resource["metadata"]["namespace"] = paradedbs.namespace
    applied = kubectl(
        "apply",
        "--server-side",
        "--validate=strict",
        "--dry-run=server",
        "-f",
        "-",
        stdin=json.dumps(resource),
    )
    assert applied.returncode != 0
    assert "spec.storrage" in applied.stderr


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".spec",
        ".spec.replication",
        ".spec.storage",
        ".spec.auth.users",
        ".spec.affinity",
        ".status",
        ".status.instances",
    ],
)
def test_kubectl_explains_the_fields(server: Server, path: str) -> None:
    explained = kubectl("explain", f"paradedbs{path}")
    assert explained.returncode == 0, explained.stderr
    assert "<no description>" not in explained.stdout
    assert "DESCRIPTION:" in explained.stdout


def test_kind_is_found_by_its_names(server: Server) -> None:
    found = server.request("GET", API)["resources"]
    kinds = {item["name"]: item for item in found}
    assert set(kinds) == {"paradedbs", "paradedbs/status", "paradedbs/scale"}
    assert kinds["paradedbs"]["shortNames"] == ["pdbc"]
    assert kinds["paradedbs"]["singularName"] == "paradedb"
    assert kinds["paradedbs"]["namespaced"]
