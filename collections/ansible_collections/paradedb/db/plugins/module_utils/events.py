"""Kubernetes events on the resource, for whoever reads ``kubectl describe``."""

from __future__ import annotations

import contextlib
import secrets
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, KubeError, Object

LONGEST_MESSAGE = 1024  # the API server's limit, in bytes


def emit(kube: Kube, resource: Object, event: dict[str, str], now: str) -> None:
    """Write one event (``type``, ``reason``, ``message``) about the resource.

    An event is told or not: a quota, or a namespace that is being deleted, must not fail a pass.
    """
    metadata = resource["metadata"]
    involved = {key: resource[key] for key in ("apiVersion", "kind")}
    involved |= {key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion")}
    definition: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{metadata['name']}.{secrets.token_hex(8)}",
            "namespace": metadata["namespace"],
        },
        "involvedObject": involved,
        "type": event["type"],
        "reason": event["reason"],
        "message": event["message"].encode()[:LONGEST_MESSAGE].decode(errors="ignore"),
        "source": {"component": "paradedb-operator"},
        "reportingComponent": "database.paradedb.io/paradedb-operator",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    with contextlib.suppress(KubeError):
        kube.create(definition)
