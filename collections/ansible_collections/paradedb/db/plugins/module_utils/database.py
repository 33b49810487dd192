"""Bring the database to the spec through the primary's container and report what runs there."""

from __future__ import annotations

import json
import re
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import instances, sql, topology
from ansible_collections.paradedb.db.plugins.module_utils.credentials import patroni_passwords, superuser
from ansible_collections.paradedb.db.plugins.module_utils.kube import (
    CONTAINER,
    ExecFailed,
    Kube,
    KubeError,
    Object,
)
from ansible_collections.paradedb.db.plugins.module_utils.patroni import dynamic_configuration
from ansible_collections.paradedb.db.plugins.module_utils.scram import verifier
from ansible_collections.paradedb.db.plugins.module_utils.settings import PATRONI_MINIMUM

# What psql says of a server that starts, stops, or has just become a replica: to be asked again.
_PASSING = (
    "starting up",
    "shutting down",
    "in recovery mode",
    "not yet accepting connections",
    "Connection refused",
    "No such file or directory",
    "terminating connection",
    "server closed the connection",
    "read-only transaction",
)

# Databases in one run of psql: each may wait some seconds for locks, and a run must not take minutes.
BATCH = 10


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
    kube: Kube,
    namespace: str,
    name: str,
    spec: dict[str, Any],
    salt_seed: str,
    check_mode: bool,
    tls_enforced: bool = False,
) -> dict[str, Any]:
    """Run the program on the ready primary. ``connected`` is false while there is none that answers.

    ``tls_enforced``: whether the access rules that are in effect ask for encryption.
    """
    pods = instances.all_pods(kube, namespace, name)
    found_instances = [topology.parse(pod, None, []) for pod in pods]
    leader = topology.leading([item for item in found_instances if not item.going])
    if leader is None:
        return {"changed": False, "connected": False}
    user, password = superuser(kube, namespace, name, (spec.get("auth") or {}).get("superuserSecretRef"))
    passwords = {user: password} | patroni_passwords(kube, namespace, name)
    psql = _Psql(kube, namespace, leader.name, user)
    verifiers = {
        role: verifier(secret, f"{salt_seed}/{role}") for role, secret in passwords.items() if secret
    }
    parameters = program_parameters(spec) | {"verifiers": verifiers}
    wanted = dynamic_configuration(spec, user, tls_enforced)
    try:
        found = psql.run(sql.dry_program(parameters) if check_mode else sql.program(parameters))
        updates, current = _update_extensions(psql, pods, found, check_mode)
    except (ExecFailed, KubeError) as error:
        if _passes(error):
            return {"changed": False, "connected": False}
        raise
    outcome = found.get("outcome", [])
    changes = found["planned"] + [
        f"create extension {item['name']}" for item in outcome if item.get("created")
    ]
    missing = [item for item in outcome if "problem" in item]
    return {
        "changed": bool(changes or updates),
        "connected": True,
        "changes": changes + updates,
        "version": found["version"].split()[0],
        "extensions": found["extensions"],
        "search_version": found["search_version"],
        "oldest_wal": found["oldest_wal"],
        "missing_extensions": missing,
        "pending_restart": found["pending_restart"],
        "hba_problem": found["hba_problem"],
        "settings_applied": json.loads(found["configuration"] or "{}") == wanted,
        "checks": [_ready_check(missing), current],
    }


def _passes(error: ExecFailed | KubeError) -> bool:
    """Whether the primary is only away for a moment, or its pod or node is lost, which others deal with.

    Not a command that took too long, and not one that we may not run.
    """
    if isinstance(error, KubeError):
        return not re.search("Handshake status 40[13]|took longer than", str(error))
    return any(words in error.stderr for words in _PASSING)


class _Psql:
    """psql in the primary's container."""

    def __init__(self, kube: Kube, namespace: str, pod: str, user: str) -> None:
        self._kube, self._namespace, self._pod, self._user = kube, namespace, pod, user

    def run(self, program: str) -> dict[str, Any]:
        """The JSON objects that the program printed, merged."""
        return sql.report(self._kube.execute(self._namespace, self._pod, psql_command(self._user), program))


def _ready_check(missing: list[dict[str, Any]]) -> dict[str, Any]:
    message = "; ".join(f"{item['name']}: {item['problem']}" for item in missing)
    return {
        "type": "ExtensionsReady",
        "ok": not missing,
        "reason": "ExtensionMissing" if missing else "ExtensionsCreated",
        "message": f"spec.extensions: {message}" if missing else "",
    }


def _update_extensions(
    psql: _Psql, pods: list[Object], found: dict[str, Any], check_mode: bool
) -> tuple[list[str], dict[str, Any]]:
    """Bring the extensions of every database to the versions that the image has: what was done, and a check.

    Which versions all databases were brought to is kept in the database, so that a pass without news compares
    two texts. They are kept only when everything went well: whatever did not is tried again by every pass,
    which costs a run of psql, and so the condition ends by itself when its cause does.
    """
    if found["updated_digest"] == found["available_digest"]:
        return [], _current_check(True, "ExtensionsCurrent", "")
    if len({_image(pod) for pod in pods}) > 1:
        message = "Extensions are updated when all instances run the same image"
        return [], _current_check(False, "RollingUpdate", message)
    databases = psql.run(sql.databases_program())["databases"]
    stale = _run_updates(psql, databases, apply=not check_mode)
    changes = [_describe(item) for item in stale if "problem" not in item]
    problems = "; ".join(map(_explain, (item for item in stale if "problem" in item)))
    if problems:
        return changes, _current_check(False, "VersionSkew", problems)
    if not check_mode:
        psql.run(sql.remember_program(found["available_digest"]))
    return changes, _current_check(True, "ExtensionsCurrent", "")


def _run_updates(psql: _Psql, databases: list[str], apply: bool) -> list[dict[str, Any]]:
    """What was not at the image's version in these databases; with a ``problem`` where that is still so."""
    stale: list[dict[str, Any]] = []
    for start in range(0, len(databases), BATCH):
        batch = databases[start : start + BATCH]
        try:
            told = psql.run(sql.update_program(batch, apply))
        except ExecFailed as error:  # one of them; the others must not wait for it
            if len(batch) > 1:
                stale += [item for name in batch for item in _run_updates(psql, [name], apply)]
                continue
            told = {batch[0]: [{"problem": str(error)}]}
        stale += [{"database": name, **item} for name in batch for item in told[name]]
    return stale


def _describe(item: dict[str, Any]) -> str:
    where = f"extension {item['name']} in database {item['database']}"
    return f"update {where} from {item['installed']} to {item['available']}"


def _explain(item: dict[str, Any]) -> str:
    if "name" not in item:
        return f"database {item['database']}: {item['problem']}"
    return (
        f"database {item['database']}: extension {item['name']} is {item['installed']}, the image has "
        f"{item['available'] or 'none'}: {item['problem']}"
    )


def _current_check(ok: bool, reason: str, message: str) -> dict[str, Any]:
    return {"type": "ExtensionsCurrent", "ok": ok, "reason": reason, "message": message}


def _image(pod: Object) -> str:
    """The image that a pod's database container was asked to run."""
    return next(item["image"] for item in pod["spec"]["containers"] if item["name"] == CONTAINER)
