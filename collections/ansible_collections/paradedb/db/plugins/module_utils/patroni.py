"""Patroni's dynamic configuration, which carries the settings and the access rules to every instance.

https://patroni.readthedocs.io/en/latest/dynamic_configuration.html
"""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import hba
from ansible_collections.paradedb.db.plugins.module_utils.credentials import REPLICATION_USER, REWIND_USER
from ansible_collections.paradedb.db.plugins.module_utils.kube import Object
from ansible_collections.paradedb.db.plugins.module_utils.settings import instance_settings

# Seconds. ttl >= loop_wait + 2 * retry_timeout, or Patroni adjusts them itself.
TTL, LOOP_WAIT, RETRY_TIMEOUT = 20, 5, 5


def dynamic_configuration(spec: dict[str, Any], superuser: str) -> dict[str, Any]:
    """What every instance must run with. The libraries to preload are each pod's own: see prepare.sh."""
    user_rules = (spec.get("auth") or {}).get("pgHBA") or []
    return {
        "ttl": TTL,
        "loop_wait": LOOP_WAIT,
        "retry_timeout": RETRY_TIMEOUT,
        "maximum_lag_on_failover": 32 * 2**20,
        "postgresql": {
            "use_pg_rewind": True,
            "use_slots": True,
            "parameters": instance_settings(spec),
            "pg_hba": hba.rules(superuser, REPLICATION_USER, REWIND_USER, user_rules),
            "pg_ident": hba.ident_map(superuser),
        },
    }


def dump(configuration: dict[str, Any]) -> str:
    """In the form in which Patroni writes it itself, so that neither rewrites the other's."""
    return json.dumps(configuration, separators=(",", ":"))


def current_settings(config_map: Object | None) -> dict[str, Any]:
    """The settings that the instances have been given; empty where they cannot be read.

    Somebody may have edited the annotation: the pass that finds it so is the one that puts it right.
    """
    annotations = ((config_map or {}).get("metadata") or {}).get("annotations") or {}
    try:
        return dict(json.loads(annotations["config"])["postgresql"]["parameters"])
    except (KeyError, TypeError, ValueError):
        return {}
