"""Who may do what in the database, as the spec says: what SQL has to know of it, and what came of that."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import access_pooler
from ansible_collections.paradedb.db.plugins.module_utils.conditions import (
    MONITORING_READY,
    POOLER_READY,
    USERS_READY,
)
from ansible_collections.paradedb.db.plugins.module_utils.credentials import (
    EXPORTER_USER,
    POOLER_USER,
    RESERVED_ROLES,
    USERS_GROUP,
    enabled,
    reference,
)

# The comment on a role by which the operator knows that it made it.
MARK = "paradedb.db: made by the ParadeDB operator, which keeps it as the spec says"

_PRIVILEGES = {"CONNECT": "CONNECT", "CREATE": "CREATE", "TEMPORARY": "TEMPORARY", "TEMP": "TEMPORARY"}
_NAME_BYTES = 63  # PostgreSQL cuts longer names, NAMEDATALEN

# What the two roles of the operator's own parts are, besides plain. The exporter's queries are cheap ones
# or are ended; they call nothing that the owner of a database made, and change nothing.
_SERVICES: dict[str, dict[str, Any]] = {
    POOLER_USER: {"feature": "connectionPooling", "limit": -1, "parent": None, "settings": {}},
    EXPORTER_USER: {
        "feature": "monitoring",
        "limit": 10,
        "parent": "pg_monitor",
        "settings": {
            "default_transaction_read_only": "on",
            "idle_in_transaction_session_timeout": "10s",
            "lock_timeout": "1s",
            "max_parallel_workers_per_gather": "0",
            "search_path": "pg_catalog",
            "statement_timeout": "10s",
        },
    },
}
_CONDITIONS = {POOLER_USER: POOLER_READY, EXPORTER_USER: MONITORING_READY}

Problem = dict[str, Any]


def users(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """``spec.auth.users``, each with its databases and privileges, and whether its password is given."""
    auth = spec.get("auth") or {}
    return [
        {
            "name": user["name"],
            "databases": user.get("databases") or [auth["database"]],
            "privileges": _expand(user.get("privileges") or ["CONNECT"]),
            "given": bool(reference(user)),
        }
        for user in auth.get("users") or []
    ]


def _expand(privileges: list[str]) -> list[str]:
    if "ALL" in privileges:
        return sorted(set(_PRIVILEGES.values()))
    return sorted({_PRIVILEGES[name] for name in privileges})


def contents(spec: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """The databases of ``spec.databases`` in which extensions are wanted, with these."""
    return [
        (item["name"], list(item["extensions"]))
        for item in spec.get("databases") or []
        if item.get("extensions") and _fits(item["name"])
    ]


def databases(spec: dict[str, Any]) -> list[str]:
    """Every database that the spec names, the application's first."""
    named = [spec["auth"]["database"], *(item["name"] for item in spec.get("databases") or [])]
    named += [name for user in users(spec) for name in user["databases"]]
    return [name for name in dict.fromkeys(named) if _fits(name)]


def is_declared(spec: dict[str, Any]) -> bool:
    """Whether the spec says who may do what: with a user, or a database besides the application's."""
    return bool((spec.get("auth") or {}).get("users") or spec.get("databases"))


def parameters(spec: dict[str, Any], verifiers: dict[str, str]) -> dict[str, Any]:
    """What the plans of ``access_programs`` take. ``verifiers``: of all roles, by name.

    A user without one has no usable Secret, and its role is left as it is.
    """
    wanted = [user for user in users(spec) if _fits(user["name"])]
    names = databases(spec)
    closed = [*names, "postgres", "template1"] if is_declared(spec) else []
    grants = [
        {"role": user["name"], "database": name, "privileges": user["privileges"]}
        for user in wanted
        for name in user["databases"]
    ]
    if enabled(spec, "connectionPooling"):
        grants.append({"role": POOLER_USER, "database": "postgres", "privileges": ["CONNECT"]})
    if enabled(spec, "monitoring"):
        everywhere = dict.fromkeys([*names, "postgres", *closed])
        grants += [
            {"role": EXPORTER_USER, "database": name, "privileges": ["CONNECT"]} for name in everywhere
        ]
    features = [service["feature"] for service in _SERVICES.values()]
    return {
        "declared": is_declared(spec) or any(enabled(spec, feature) for feature in features),
        "own": [USERS_GROUP, *_SERVICES],
        "mark": MARK,
        "group": USERS_GROUP,
        "reserved": list(RESERVED_ROLES),
        "users": [
            {"name": user["name"], "verifier": verifiers[user["name"]], "given": user["given"]}
            for user in wanted
            if user["name"] in verifiers
        ],
        "untouched": [user["name"] for user in wanted if user["name"] not in verifiers],
        "services": [_service(spec, name, verifiers.get(name)) for name in _SERVICES],
        "owners": [
            {"database": item["name"], "owner": item.get("owner")} for item in spec.get("databases") or []
        ],
        "grants": grants,
        "closed": closed,
        "named": [name for name, _extensions in contents(spec)],
        "lookup": access_pooler.LOOKUP if enabled(spec, "connectionPooling") else None,
    }


def _service(spec: dict[str, Any], name: str, verifier: str | None) -> dict[str, Any]:
    made = _SERVICES[name]
    return {**made, "name": name, "on": enabled(spec, made["feature"]), "verifier": verifier}


def digest(spec: dict[str, Any], known: dict[str, int]) -> str:
    """Of which extensions are wanted in which databases.

    ``known``: the databases' oids; one that was made anew is another.
    """
    wanted = [[known.get(name), names] for name, names in contents(spec)]
    return hashlib.sha256(json.dumps(wanted).encode()).hexdigest()


def checks(spec: dict[str, Any], problems: list[Problem]) -> list[dict[str, Any]]:
    """UsersReady where the spec declares something, and what keeps pooler and exporter from having roles."""
    problems = _too_long(spec) + problems
    made = [
        _check(_CONDITIONS[item["service"]], "RoleTaken", f"role {item['service']}: {item['problem']}")
        for item in problems
        if "service" in item
    ]
    if not is_declared(spec):
        return made
    about = [item for item in problems if "service" not in item]
    message = "; ".join(f"{_field(spec, item)}: {item['problem']}" for item in about)
    return [*made, _check(USERS_READY, about[0]["reason"] if about else "AsDeclared", message)]


def _check(kind: str, reason: str, message: str) -> dict[str, Any]:
    return {"type": kind, "ok": not message, "reason": reason, "message": message}


def _field(spec: dict[str, Any], problem: Problem) -> str:
    """The field of the spec that a problem is about, or the database where several fields are."""
    for position, user in enumerate(users(spec)):
        if problem.get("user") == user["name"]:
            return f"spec.auth.users[{position}]"
    for position, item in enumerate(spec.get("databases") or []):
        if problem.get("database") == item["name"]:
            return ".".join(filter(None, (f"spec.databases[{position}]", problem.get("field"))))
    if "database" in problem:
        return f"database {problem['database']}"
    return f"role {problem['role']}" if "role" in problem else "spec.auth.users"


def _too_long(spec: dict[str, Any]) -> list[Problem]:
    problem = f"the name is longer than {_NAME_BYTES} bytes; shorten it"
    named = [*(item["name"] for item in spec.get("databases") or [])]
    named += [name for user in users(spec) for name in user["databases"]]
    return [
        {"user": user["name"], "reason": "UserFailed", "problem": problem}
        for user in users(spec)
        if not _fits(user["name"])
    ] + [
        {"database": name, "reason": "DatabaseFailed", "problem": problem}
        for name in dict.fromkeys(named)
        if not _fits(name)
    ]


def _fits(name: str) -> bool:
    return len(name.encode()) <= _NAME_BYTES
