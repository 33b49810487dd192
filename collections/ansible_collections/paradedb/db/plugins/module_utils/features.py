"""The optional parts of a ParadeDB, each with a condition of its own while it is asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import (
    access,
    backup_fields,
    backup_preflight,
    backup_state,
    backup_status,
    conditions,
    monitoring,
    pooler,
    recovery_status,
)
from ansible_collections.paradedb.db.plugins.module_utils.conditions import (
    MONITORING_READY,
    POOLER_READY,
    USERS_READY,
    Condition,
)
from ansible_collections.paradedb.db.plugins.module_utils.credentials import enabled
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, Object

# The conditions that ``look`` makes.
SEEN = (POOLER_READY, MONITORING_READY, *backup_status.CONDITIONS)

# What is said of objects that this cluster cannot take, whatever becomes of the rest.
NO_PROMETHEUS_OPERATOR = "PrometheusOperatorMissing"


def look(
    kube: Kube, resource: Object, prometheus_operator: bool
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What is seen of the parts that run, as checks and fields: pooler, exporter, backups.

    ``prometheus_operator``: whether the cluster takes the Prometheus operator's objects.
    """
    metadata, spec = resource["metadata"], resource["spec"]
    where = kube, metadata["namespace"], metadata["name"], spec
    made = pooler.check(*where) if enabled(spec, "connectionPooling") else []
    made += monitoring.check(*where, prometheus_operator) if enabled(spec, "monitoring") else []
    backups, fields = _backups(kube, resource)
    return made + backups, fields


def _backups(kube: Kube, resource: Object) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    metadata, spec = resource["metadata"], resource["spec"]
    namespace, name = metadata["namespace"], metadata["name"]
    if not (enabled(spec, "backup") or recovery_status.asked(spec)):
        return [], backup_fields.NONE
    seen, told = backup_state.of(kube, resource), conditions.of(resource)
    made = backup_status.checks(seen, spec, told, datetime.now(UTC))
    unusable = backup_preflight.unusable(kube, namespace, spec) + backup_state.too_small(kube, resource)
    fields = backup_fields.fields(seen, name, spec, resource.get("status") or {})
    return conditions.together(unusable + made), fields


def unwanted(spec: dict[str, Any]) -> tuple[str, ...]:
    """The conditions of parts that the spec does not ask for."""
    wanted = {
        POOLER_READY: enabled(spec, "connectionPooling"),
        MONITORING_READY: enabled(spec, "monitoring"),
        USERS_READY: access.is_declared(spec),
        **backup_status.wanted(spec),
    }
    return tuple(name for name, there in wanted.items() if not there)


def takes_prometheus_operator(conditions: list[Condition]) -> bool:
    """What the last pass found of the cluster."""
    return not any(item["reason"] == NO_PROMETHEUS_OPERATOR for item in conditions)
