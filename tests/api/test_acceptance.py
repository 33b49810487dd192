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
    "pooler": {
        "connectionPooling": {
            "enabled": True,
            "replicas": 50,
            "image": "registry.example.com:5000/pgbouncer@sha256:" + "0" * 64,
            "poolMode": "session",
            "maxClientConnections": 200,
            "defaultPoolSize": 25,
            "minPoolSize": 25,
            "reservePoolSize": 10,
            "parameters": {
                "query_wait_timeout": "30",
                "server_reset_query": "DISCARD ALL",
            },
            "resources": {"limits": {"memory": "256Mi"}},
        },
    },
    "long parameter of the pooler": {"connectionPooling": {"parameters": {"server_reset_query": "x" * 1024}}},
    "pooler set up, switched off": {"connectionPooling": {"enabled": False, "replicas": 1}},
    "users": {
        "auth": {
            "users": [
                {"name": "app"},
                {"name": "_reader-2", "databases": ["postgres"], "privileges": []},
                {
                    "name": "billing",
                    "secretRef": {"name": "billing.password"},
                    "databases": ["paradedb", "billing", "x$y-z"],
                    "privileges": ["CONNECT", "CREATE", "TEMPORARY", "TEMP", "ALL"],
                },
            ]
        }
    },
    "users with Secrets of their own, under any name": {
        "auth": {
            "users": [
                {"name": name, "secretRef": {"name": "a"}}
                for name in ("pooler", "credentials", "tls", "a_b", "a-b", "app_", "app$")
            ]
        }
    },
    "users with the same letters": {"auth": {"users": [{"name": "a_b"}, {"name": "ab"}, {"name": "_ab"}]}},
    "as many users and databases as there may be": {
        "auth": {
            "users": [
                {"name": f"{'u' * 60}_{i}", "databases": [f"{'d' * 60}_{j}" for j in range(50)]}
                for i in range(50)
            ]
        },
        "databases": [
            {
                "name": f"{'d' * 60}_{i}",
                "owner": f"{'u' * 60}_{i}",
                "extensions": [f"{'e' * 60}_{j}" for j in range(50)],
            }
            for i in range(50)
        ],
    },
    "databases": {
        "auth": {"users": [{"name": "app"}]},
        "databases": [
            {"name": "shop", "owner": "app", "extensions": ["pg_trgm", "uuid-ossp"]},
            {"name": "paradedb", "owner": "app"},
            {"name": "_x$y-z"},
        ],
    },
    "network policies": {
        "networkPolicy": {
            "enabled": True,
            "clients": [
                {"podSelector": {}},
                {
                    "podSelector": {"matchLabels": {"app": "shop", "example.com/team": ""}},
                    "namespaceSelector": {
                        "matchExpressions": [
                            {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["a", "b"]},
                            {"key": "restricted", "operator": "DoesNotExist"},
                        ]
                    },
                },
                {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "10.255.255.255/32"]}},
                {"ipBlock": {"cidr": "0.0.0.0/0"}},
                {"ipBlock": {"cidr": "2001:db8::/64", "except": ["2001:db8::1/128"]}},
                {"ipBlock": {"cidr": "::/0"}},
            ],
            "metrics": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}] * 32,
        }
    },
    "network policies set up, switched off": {"networkPolicy": {"enabled": False, "clients": []}},
    "backup, switched off": {
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
    },
    "backup to a bucket": {
        "backup": {
            "enabled": True,
            "schedule": "30 1 * * *",
            "jobs": 8,
            "activeDeadlineSeconds": 604800,
            "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "2Gi"}},
            "continuous": {"enabled": True, "schedule": "0 3 * * SUN", "recoveryWindowDays": 3650},
            "verify": {"schedule": "@weekly", "size": "1Gi", "storageClassName": "scratch"},
            "s3": {
                "endpoint": "https://minio.storage.svc:9000",
                "bucket": "abc",
                "pathStyle": False,
                "secretRef": {"name": "s3-credentials"},
                "caSecretRef": {"name": "s3-ca"},
            },
        },
    },
    "recovery from another ParadeDB": {"bootstrap": {"recovery": {"source": "shop"}}},
    "recovery to a moment": {
        "bootstrap": {
            "recovery": {
                "source": "shop",
                "method": "continuous",
                "backup": "20261124T010000",
                "target": {"time": "2026-11-24T02:30:00.123456+01:00"},
            }
        }
    },
    "recovery to a position": {
        "bootstrap": {
            "recovery": {
                "s3": {"endpoint": "http://s3", "bucket": "abc", "secretRef": {"name": "s"}},
                "serverName": "shop",
                "method": "continuous",
                "target": {"lsn": "1A/3000028"},
            }
        }
    },
    "recovery to a restore point": {
        "bootstrap": {
            "recovery": {
                "source": "shop",
                "method": "continuous",
                "target": {"name": "before {{ the }} change, 100%"},
            }
        }
    },
    "recovery to the end": {
        "bootstrap": {"recovery": {"source": "shop", "method": "continuous", "target": {}}}
    },
    "recovery from a volume": {
        "bootstrap": {
            "recovery": {
                "pvc": {"claimName": "shop-backup"},
                "serverName": "shop",
                "backup": "20261124T013000Z-4f1c",
            }
        },
        "replicas": 3,
        "hibernate": True,
    },
    "monitoring": {
        "monitoring": {
            "enabled": True,
            "image": "prometheuscommunity/postgres-exporter:v0.18.1",
            "port": 9188,
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}, "interval": "1m"},
            "prometheusRule": {"enabled": True, "labels": {"example.com/role": "alert-rules", "empty": ""}},
            "resources": {"requests": {"cpu": "10m"}},
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
    if isinstance(wanted, list):
        return len(wanted) == len(stored) and all(map(_contained, wanted, stored))
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
        "networkPolicy",
        "replication",
    ]
    spec: Spec = {part: {} for part in parts}
    spec["storage"]["walStorage"] = {}
    spec["monitoring"] |= {"serviceMonitor": {}, "prometheusRule": {}}
    spec["auth"]["users"] = [{"name": "app"}]
    spec["databases"] = [{"name": "shop"}]
    spec["backup"] |= {"pvc": {}, "continuous": {}}
    spec["tls"]["certManager"] = {"enabled": False, "issuerRef": {"name": "ca"}}
    stored = paradedbs.try_create(spec)["spec"]
    assert stored["storage"] == {
        "size": "10Gi",
        "accessModes": ["ReadWriteOnce"],
        "reclaimPolicy": "Retain",
        "walStorage": {"size": "5Gi"},
    }
    assert stored["auth"] == {
        "database": "paradedb",
        "users": [{"name": "app", "privileges": ["CONNECT"]}],
    }
    assert stored["databases"] == [{"name": "shop"}]
    assert stored["networkPolicy"] == {"enabled": False}
    assert stored["extensions"] == {"pgSearch": True, "pgAnalytics": False, "pgVector": False}
    assert stored["replication"] == REPLICATION
    assert stored["tls"]["enabled"] is False
    assert stored["tls"]["certManager"]["issuerRef"] == {"name": "ca", "kind": "Issuer"}
    assert stored["connectionPooling"] == {
        "enabled": False,
        "replicas": 2,
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
        "jobs": 2,
        "activeDeadlineSeconds": 21600,
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
        "continuous": {"enabled": False, "schedule": "0 1 * * 0", "recoveryWindowDays": 7},
        "pvc": {"size": "20Gi"},
    }
    assert stored["monitoring"] == {
        "enabled": False,
        "port": 9187,
        "serviceMonitor": {"enabled": False, "interval": "30s"},
        "prometheusRule": {"enabled": False},
    }


def test_backups_and_recoveries_get_their_defaults(paradedbs: ParadeDBs) -> None:
    s3 = {"endpoint": "https://s3", "bucket": "abc", "secretRef": {"name": "s"}}
    recovery = {"s3": s3, "serverName": "shop"}
    spec = {
        "backup": {"enabled": True, "s3": s3, "verify": {}},
        "bootstrap": {"recovery": recovery},
    }
    stored = paradedbs.try_create(spec)["spec"]
    assert stored["backup"]["verify"] == {"schedule": "0 5 * * 0"}
    assert stored["backup"]["s3"] == s3 | {"pathStyle": True}
    assert stored["bootstrap"]["recovery"] == recovery | {"method": "dump", "s3": s3 | {"pathStyle": True}}


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
        ".spec.databases",
        ".spec.connectionPooling",
        ".spec.monitoring",
        ".spec.networkPolicy.clients",
        ".spec.backup.continuous",
        ".spec.bootstrap.recovery.target",
        ".spec.affinity",
        ".status",
        ".status.instances",
        ".status.backup.archive",
        ".status.recovery",
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
