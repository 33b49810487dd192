"""Take a ParadeDB away: the instances first and in order, then the rest, the data only by explicit word."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, KubeError, Object
from ansible_collections.paradedb.db.plugins.module_utils.labels import (
    API_VERSION,
    BACKUP,
    COMPONENT,
    KIND,
    SCOPE,
    instance_selector,
    scope,
)
from ansible_collections.paradedb.db.plugins.module_utils.objects import OPTIONAL_KINDS

# The kinds whose pods have to end before the rest may go, first those that make more of themselves.
_RUNNING = [
    ("batch/v1", "CronJob"),
    ("batch/v1", "Job"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
]

# Every kind that the roles create for an instance.
OWNED_KINDS = [
    *_RUNNING,
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("cert-manager.io/v1", "Certificate"),  # before the Secret, which it would fill again
    ("v1", "Secret"),
    ("policy/v1", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
    ("monitoring.coreos.com/v1", "PrometheusRule"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("v1", "ServiceAccount"),
]

# Seconds given to PostgreSQL to shut down in order; after them the deletion goes on regardless, because
# a broken pod or node must not hold a resource back for ever.
SHUTDOWN_TIME = 60


def remove(kube: Kube, namespace: str, name: str, delete_data: bool, check_mode: bool) -> dict[str, Any]:
    """Delete everything that belongs to ``name`` but backups; what was deleted, by kind/name.

    Raises Refused for a ParadeDB that is a resource and not being deleted: that one is its operator's.
    """
    resource = kube.get(API_VERSION, KIND, namespace, name)
    if resource is not None and "deletionTimestamp" not in resource["metadata"]:
        raise Refused(
            "ManagedByOperator",
            "metadata.name",
            f"{name!r} is a ParadeDB resource in namespace {namespace!r}; delete the resource instead",
        )
    deleted: list[str] = []
    for api_version, kind in _RUNNING:
        deleted += _delete(kube, _find(kube, api_version, kind, namespace, name), check_mode)
    if not check_mode:
        _await_pods(kube, namespace, name)
    for api_version, kind in OWNED_KINDS[len(_RUNNING) :]:
        deleted += _delete(kube, _find(kube, api_version, kind, namespace, name), check_mode)
    # Patroni makes ConfigMaps of its own, labelled with its scope.
    deleted += _delete(kube, kube.list("v1", "ConfigMap", namespace, f"{SCOPE}={scope(name)}"), check_mode)
    if delete_data:
        claims = kube.list("v1", "PersistentVolumeClaim", namespace, instance_selector(name))
        data = [claim for claim in claims if claim["metadata"]["labels"].get(COMPONENT) != BACKUP]
        deleted += _delete(kube, data, check_mode)
    return {"changed": bool(deleted), "deleted": list(dict.fromkeys(deleted))}


def _find(kube: Kube, api_version: str, kind: str, namespace: str, name: str) -> list[Object]:
    try:
        return kube.list(api_version, kind, namespace, instance_selector(name))
    except KubeError as error:
        if error.status == 404 or (error.status == 403 and kind in OPTIONAL_KINDS):
            return []  # a kind that this cluster does not have, or that this user never used
        raise


def _delete(kube: Kube, items: list[Object], check_mode: bool) -> list[str]:
    return [
        f"{item['kind']}/{item['metadata']['name']}"
        for item in items
        if "deletionTimestamp" not in item["metadata"] and (check_mode or kube.delete(item))
    ]


def _await_pods(kube: Kube, namespace: str, name: str) -> None:
    deadline = time.monotonic() + SHUTDOWN_TIME
    while kube.list("v1", "Pod", namespace, instance_selector(name)) and time.monotonic() < deadline:
        time.sleep(0.5)
