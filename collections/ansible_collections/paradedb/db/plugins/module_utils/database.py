"""Bring the database to the spec through the primary's container and report what runs there."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import instances, sql
from ansible_collections.paradedb.db.plugins.module_utils.credentials import patroni_passwords, superuser
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube
from ansible_collections.paradedb.db.plugins.module_utils.patroni import dynamic_configuration
from ansible_collections.paradedb.db.plugins.module_utils.scram import verifier
from ansible_collections.paradedb.db.plugins.module_utils.settings import PATRONI_MINIMUM


def psql_command(user: str) -> list[str]:
    """psql without a start file, printing bare rows."""
    options = f"PGOPTIONS={sql.SESSION_OPTIONS}"
    return [
        "env",
        options,
        "psql",
        "-X",
        "-q",
        "-A",
        "-t",
        "-v",
        "ON_ERROR_STOP=1",
        "-U",
        user,
        "-d",
        "postgres",
        "-f",
        "-",
    ]


def program_parameters(spec: dict[str, Any]) -> dict[str, Any]:
    """The program's parameters that are no secret."""
    settings = spec.get("postgresConfig") or {}
    return {
        "database": spec["auth"]["database"],
        "extensions": sql.wanted_extensions(spec.get("extensions") or {}),
        "command_line": {
            key.lower(): str(value) for key, value in settings.items() if key.lower() in PATRONI_MINIMUM
        },
    }


def reconcile(
    kube: Kube, namespace: str, name: str, spec: dict[str, Any], salt_seed: str, check_mode: bool
) -> dict[str, Any]:
    """Run the program on the ready primary. ``connected`` is false when there is none yet."""
    primary = instances.ready_primary(instances.database_pods(kube, namespace, name))
    if primary is None:
        return {"changed": False, "connected": False}
    user, password = superuser(kube, namespace, name, (spec.get("auth") or {}).get("superuserSecretRef"))
    passwords = {user: password} | patroni_passwords(kube, namespace, name)
    verifiers = {
        role: verifier(secret, f"{salt_seed}/{role}") for role, secret in passwords.items() if secret
    }
    parameters = program_parameters(spec) | {"verifiers": verifiers}
    program = sql.dry_program(parameters) if check_mode else sql.program(parameters)
    found = sql.report(kube.execute(namespace, primary["metadata"]["name"], psql_command(user), program))
    outcome = found.get("outcome", [])
    changes = found["planned"] + [
        f"create extension {item['name']}" for item in outcome if item.get("created")
    ]
    applied = json.loads(found["configuration"] or "{}") == dynamic_configuration(spec, user)
    return {
        "changed": bool(changes),
        "connected": True,
        "changes": changes,
        "version": found["version"].split()[0],
        "extensions": found["extensions"],
        "missing_extensions": [item for item in outcome if "problem" in item],
        "pending_restart": found["pending_restart"],
        "hba_problem": found["hba_problem"],
        "settings_applied": applied,
    }
