"""What one ParadeDB consists of without running pods, and where its objects are in the API."""

from __future__ import annotations

from collections.abc import Iterable

from bench.api import Object

COLLECTIONS = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "Service": "/api/v1/namespaces/{}/services",
    "StatefulSet": "/apis/apps/v1/namespaces/{}/statefulsets",
}
# Kind and what follows the ParadeDB's name in the object's.
OBJECTS = (
    ("ServiceAccount", ""),
    ("Secret", "-credentials"),
    ("Secret", "-patroni"),
    ("ConfigMap", "-config"),
    ("ConfigMap", "-patroni-config"),
    ("ConfigMap", "-instance"),
    ("Role", ""),
    ("RoleBinding", ""),
    ("StatefulSet", ""),
    ("Service", ""),
    ("Service", "-headless"),
)
PARADEDBS = "/apis/database.paradedb.io/v1alpha1/namespaces/{}/paradedbs"


def objects_of(names: Iterable[str]) -> set[tuple[str, str]]:
    """Kind and name of everything that ParadeDBs of these names consist of."""
    return {(kind, name + suffix) for name in names for kind, suffix in OBJECTS}


def paradedb(name: str) -> Object:
    """A ParadeDB as deploy/samples/paradedb_v1alpha1_local.yaml has it."""
    spec = {
        "image": "localhost/paradedb-test:17",
        "imagePullPolicy": "IfNotPresent",
        "replicas": 1,
        "postgresVersion": "17",
        "storage": {"size": "1Gi"},
        "auth": {"database": "paradedb"},
        "extensions": {"pgSearch": False, "pgVector": True},
        "resources": {
            "requests": {"cpu": "100m", "memory": "256Mi"},
            "limits": {"cpu": "1", "memory": "512Mi"},
        },
        "serviceType": "ClusterIP",
    }
    return {
        "apiVersion": "database.paradedb.io/v1alpha1",
        "kind": "ParadeDB",
        "metadata": {"name": name},
        "spec": spec,
    }
