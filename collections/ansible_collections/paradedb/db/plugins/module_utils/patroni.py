"""Patroni's dynamic configuration, which carries the settings and the access rules to every instance.

https://patroni.readthedocs.io/en/latest/dynamic_configuration.html
"""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import hba
from ansible_collections.paradedb.db.plugins.module_utils.credentials import (
    REPLICATION_USER,
    REWIND_USER,
    enabled,
)
from ansible_collections.paradedb.db.plugins.module_utils.kube import Object, annotations
from ansible_collections.paradedb.db.plugins.module_utils.quantity import parse_quantity
from ansible_collections.paradedb.db.plugins.module_utils.settings import instance_settings

# Seconds. ttl >= loop_wait + 2 * retry_timeout, or Patroni adjusts them itself.
TTL, LOOP_WAIT, RETRY_TIMEOUT = 20, 5, 5
# Seconds that a primary which crashed may take to come up again before another is elected.
PRIMARY_START_TIMEOUT = 60
MAXIMUM_LAG = "32Mi"  # the field's default


def dynamic_configuration(spec: dict[str, Any], superuser: str, tls_enforced: bool = False) -> dict[str, Any]:
    """What every instance must run with. The libraries to preload and the certificate are each pod's own: see
    prepare.sh. ``tls_enforced``: see hba.rules."""
    return {
        "ttl": TTL,
        "loop_wait": LOOP_WAIT,
        "retry_timeout": RETRY_TIMEOUT,
        "primary_start_timeout": PRIMARY_START_TIMEOUT,
        **_replication(spec),
        "postgresql": {
            "use_pg_rewind": True,
            # A former primary that cannot be rewound is cloned anew.
            "remove_data_directory_on_rewind_failure": True,
            "remove_data_directory_on_diverged_timelines": True,
            "use_slots": True,
            "parameters": instance_settings(spec),
            "pg_hba": access_rules(spec, superuser, tls_enforced),
            "pg_ident": hba.ident_map(superuser, REPLICATION_USER),
        },
    }


def access_rules(spec: dict[str, Any], superuser: str, tls_enforced: bool = False) -> list[str]:
    """The lines of pg_hba.conf. ``tls_enforced``: see hba.rules."""
    return hba.rules(
        superuser,
        REPLICATION_USER,
        REWIND_USER,
        (spec.get("auth") or {}).get("pgHBA") or [],
        tls_enforced,
        pooler=enabled(spec, "connectionPooling"),
        exporter=enabled(spec, "monitoring"),
    )


def _replication(spec: dict[str, Any]) -> dict[str, Any]:
    """Who may become the primary, and whom it waits for.

    Alone, an instance waits for nobody: with ``strict`` it would not take a single write.
    """
    given = spec.get("replication") or {}
    made: dict[str, Any] = {
        "maximum_lag_on_failover": int(parse_quantity(given.get("maximumLagOnFailover") or MAXIMUM_LAG)),
        "check_timeline": True,
    }
    if given.get("mode") == "sync" and spec.get("replicas", 1) > 1:
        made["synchronous_mode"] = True
        made["synchronous_node_count"] = given.get("syncNodeCount") or 1
        made["synchronous_mode_strict"] = bool(given.get("strict"))
    return made


def dump(configuration: dict[str, Any]) -> str:
    """In the form in which Patroni writes it itself, so that neither rewrites the other's."""
    return json.dumps(configuration, separators=(",", ":"))


def current_configuration(config_map: Object | None) -> dict[str, Any]:
    """The configuration that the instances have been given; empty where it cannot be read.

    Somebody may have edited the annotation: the pass that finds it so is the one that puts it right.
    """
    try:
        return dict(json.loads(annotations(config_map)["config"]))
    except (KeyError, TypeError, ValueError):
        return {}


def current_settings(config_map: Object | None) -> dict[str, Any]:
    """The settings of that configuration."""
    try:
        return dict(current_configuration(config_map)["postgresql"]["parameters"])
    except (KeyError, TypeError, ValueError):
        return {}
