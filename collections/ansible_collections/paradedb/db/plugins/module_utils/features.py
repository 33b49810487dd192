"""The optional parts of a ParadeDB, each with a condition of its own while it is asked for."""

from __future__ import annotations

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import access, monitoring, pooler
from ansible_collections.paradedb.db.plugins.module_utils.conditions import (
    MONITORING_READY,
    POOLER_READY,
    USERS_READY,
    Condition,
)
from ansible_collections.paradedb.db.plugins.module_utils.credentials import enabled
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube

# What is said of objects that this cluster cannot take, whatever becomes of the rest.
NO_PROMETHEUS_OPERATOR = "PrometheusOperatorMissing"


def checks(
    kube: Kube, namespace: str, name: str, spec: dict[str, Any], prometheus_operator: bool
) -> list[dict[str, Any]]:
    """What is seen of the parts that run: the pooler, the exporter.

    ``prometheus_operator``: whether the cluster takes the Prometheus operator's objects.
    """
    where = kube, namespace, name, spec
    made = pooler.check(*where) if enabled(spec, "connectionPooling") else []
    return made + (monitoring.check(*where, prometheus_operator) if enabled(spec, "monitoring") else [])


def unwanted(spec: dict[str, Any]) -> tuple[str, ...]:
    """The conditions of parts that the spec does not ask for."""
    wanted = {
        POOLER_READY: enabled(spec, "connectionPooling"),
        MONITORING_READY: enabled(spec, "monitoring"),
        USERS_READY: access.is_declared(spec),
    }
    return tuple(name for name, there in wanted.items() if not there)


def takes_prometheus_operator(conditions: list[Condition]) -> bool:
    """What the last pass found of the cluster."""
    return not any(item["reason"] == NO_PROMETHEUS_OPERATOR for item in conditions)
