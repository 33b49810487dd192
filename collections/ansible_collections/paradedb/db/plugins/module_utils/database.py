"""Bring the database to the spec through the primary's container and report what runs there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import access, instances, sql, topology
from ansible_collections.paradedb.db.plugins.module_utils.credentials import (
    REPLICATION_USER,
    REWIND_USER,
    role_passwords,
    superuser,
)
from ansible_collections.paradedb.db.plugins.module_utils.extension_programs import wanted_extensions
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

PSQL_TIME = 100  # seconds for a run of psql: it ends before the exec's time does, and its backend with it
_OUT_OF_TIME = (124, 137)  # what timeout(1) ends with, the latter when psql had to be killed

# Databases in one run of psql: each may wait some seconds for locks, and a run must not take minutes.
BATCH = 10


def psql_command(user: str) -> list[str]:
    """psql without a start file, printing bare rows. Out of time it cancels its statement and ends."""
    return [
        "env",
        f"PGOPTIONS={sql.SESSION_OPTIONS}",
        "PGAPPNAME=" + sql.APPLICATION,
        "PGCONNECT_TIMEOUT=20",
        "timeout",
        "-s",
        "INT",
        "-k",
        "5",
        str(PSQL_TIME),
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
    """The program's parameters that are no secret, but for what only ``access`` knows."""
    settings = spec.get("postgresConfig") or {}
    return {
        "create": access.databases(spec),
        "contents": [
            (spec["auth"]["database"], wanted_extensions(spec.get("extensions") or {})),
            *access.contents(spec),
        ],
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
    user, _password = superuser(kube, namespace, name, (spec.get("auth") or {}).get("superuserSecretRef"))
    passwords = role_passwords(kube, namespace, name, spec)
    psql = _Psql(kube, namespace, leader.name, user)
    verifiers = {role: verifier(secret, f"{salt_seed}/{role}") for role, secret in passwords.items()}
    first = (user, REPLICATION_USER, REWIND_USER)
    parameters = {
        **program_parameters(spec),
        **access.parameters(spec, verifiers),
        "apply": not check_mode,
        "verifiers": {role: verifiers[role] for role in first if role in verifiers},
    }
    wanted = dynamic_configuration(spec, user, tls_enforced)
    try:
        found = _run(psql, parameters)
        added, problems = _create_extensions(psql, spec, parameters, found)
        updates, current = _update_extensions(psql, pods, found, check_mode)
    except (ExecFailed, KubeError) as error:
        if _passes(error):
            return {"changed": False, "connected": False}
        raise
    missing = [item for item in found["outcome"] if "problem" in item]
    changes = [*_describe_changes(found), *added, *updates]
    return {
        "changed": bool(changes),
        "connected": True,
        "changes": changes,
        "version": found["version"].split()[0],
        "extensions": found["extensions"],
        "search_version": found["search_version"],
        "oldest_wal": found["oldest_wal"],
        "missing_extensions": missing,
        "pending_restart": found["pending_restart"],
        "hba_problem": found["hba_problem"],
        "settings_applied": json.loads(found["configuration"] or "{}") == wanted,
        "checks": [_ready_check(missing), current, *access.checks(spec, _problems(spec, found) + problems)],
    }


def _run(psql: _Psql, parameters: dict[str, Any]) -> dict[str, Any]:
    """What the program told; what keeps it out of the application's database is a problem with extensions.

    The owner of that database may have closed it, or set for it what ends every session. That is not to keep
    all the rest from being done and seen.
    """
    database = parameters["contents"][0][0]
    try:
        found = psql.run(sql.program(parameters))
        problem = ""
    except ExecFailed as error:
        found = psql.run(sql.program(parameters, application=False))
        problem = str(error)
    if database in found["not_created"]:
        raise ExecFailed(1, f"database {database} cannot be created: {found['not_created'][database]}")
    nothing = {"access": {"changes": [], "problems": []}, "extensions": []}
    return {**nothing, "outcome": [{"name": "all", "problem": problem}], **found}


def _describe_changes(found: dict[str, Any]) -> list[str]:
    """What the program did, or would do."""
    return [
        *(f"set the password of role {role}" for role in found["passwords"]),
        *(f"create database {name}" for name in found["created"]),
        *found["access"]["changes"],
        *(f"end the sessions of role {role}" for role in found.get("ended", [])),
        *(f"create extension {item['name']}" for item in found["outcome"] if item.get("created")),
    ]


def _problems(spec: dict[str, Any], found: dict[str, Any]) -> list[access.Problem]:
    """Databases of no use besides the application's, and what access could not bring about."""
    invalid = "an interrupted DROP DATABASE left the database invalid; drop it, and it is made anew"
    others = (name for name in found["invalid"] if name != spec["auth"]["database"])
    problems = {**found["not_created"], **dict.fromkeys(others, invalid)}
    return [
        {"database": name, "reason": "DatabaseFailed", "problem": problem}
        for name, problem in problems.items()
    ] + found["access"]["problems"]


def _create_extensions(
    psql: _Psql, spec: dict[str, Any], parameters: dict[str, Any], found: dict[str, Any]
) -> tuple[list[str], list[access.Problem]]:
    """Create the extensions of databases besides the application's: what was done, and the problems.

    As with the updates, what was brought about is kept in the database, when it was all of it: each of these
    databases takes a connection of its own.
    """
    wanted = {
        place: name
        for place, (name, _extensions) in enumerate(parameters["contents"])
        if place and name not in found["invalid"]
    }
    digest = access.digest(spec, found["databases"])
    if not wanted or found["created_digest"] == digest:
        return [], []
    told = _in_batches(
        psql,
        [place for place, name in wanted.items() if name not in found["not_created"]],
        lambda places: sql.contents_program(parameters, places),
        lambda place, problem: {str(place): [{"name": "all", "problem": problem}]},
    )
    outcome = [(wanted[place], item) for place in wanted for item in told.get(str(place), [])]
    changes = [
        f"create extension {item['name']} in database {name}" for name, item in outcome if item.get("created")
    ]
    problems = [
        {
            "database": name,
            "field": "extensions",
            "reason": "ExtensionMissing",
            "problem": f"{item['name']}: {item['problem']}",
        }
        for name, item in outcome
        if "problem" in item
    ]
    if parameters["apply"] and not problems:
        psql.run(sql.remember_program("databases", digest))
    return changes, problems


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
        command = psql_command(self._user)
        try:
            return sql.report(self._kube.execute(self._namespace, self._pod, command, program))
        except ExecFailed as error:
            if error.code not in _OUT_OF_TIME:
                raise
            message = f"psql did not come to its end within {PSQL_TIME} s: {error.stderr}"
            raise ExecFailed(error.code, message) from None


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
    stale = _run_updates(psql, [name for name in databases if not databases[name]], apply=not check_mode)
    stale += [{"database": name, "problem": why} for name, why in databases.items() if why]
    changes = [_describe(item) for item in stale if "problem" not in item]
    problems = "; ".join(map(_explain, (item for item in stale if "problem" in item)))
    if problems:
        return changes, _current_check(False, "VersionSkew", problems)
    if not check_mode:
        psql.run(sql.remember_program("extensions", found["available_digest"]))
    return changes, _current_check(True, "ExtensionsCurrent", "")


def _run_updates(psql: _Psql, databases: list[str], apply: bool) -> list[dict[str, Any]]:
    """What was not at the image's version in these databases; with a ``problem`` where that is still so."""
    told = _in_batches(
        psql,
        databases,
        lambda batch: sql.update_program(batch, apply),
        lambda name, problem: {name: [{"problem": problem}]},
    )
    return [{"database": name, **item} for name in databases for item in told[name]]


def _in_batches[T](
    psql: _Psql,
    items: Sequence[T],
    make: Callable[[Sequence[T]], str],
    failed: Callable[[T, str], dict[str, Any]],
) -> dict[str, Any]:
    """What programs for some databases each told, merged; one that cannot be reached stops no other."""
    told: dict[str, Any] = {}
    for start in range(0, len(items), BATCH):
        batch = items[start : start + BATCH]
        try:
            told |= psql.run(make(batch))
        except ExecFailed as error:
            if len(batch) == 1:
                told |= failed(batch[0], str(error))
                continue
            for item in batch:
                told |= _in_batches(psql, [item], make, failed)
    return told


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
