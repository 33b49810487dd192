"""The names of users and databases in a spec, checked as the resource's CEL rules check them.

The API server applies those rules to a ParadeDB that is a resource; this holds where no API server checked
the spec, and there a wrong name would take over a role or a Secret of the operator.
"""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.credentials import (
    DEFAULT_SUPERUSER,
    RESERVED_ROLES,
    own_names,
    user_secret_name,
)
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused

TEMPLATES = ("template0", "template1")
RESERVED_USERS = (DEFAULT_SUPERUSER, "public", "none", *RESERVED_ROLES)

# Of a role or a database. PostgreSQL cuts longer names.
_NAME = re.compile(r"[a-z_][a-z0-9_$-]{0,62}")
_SPELLING = (
    "must begin with a lower-case letter or '_', and have only lower-case letters, digits, '_', '$' and '-', "
    "63 at most"
)


def check_names(name: str, spec: dict[str, Any]) -> None:
    """Raises Refused for the first name that the ParadeDB ``name`` cannot have in its spec."""
    auth = spec.get("auth") or {}
    users = auth.get("users") or []
    _check_database(auth.get("database", ""), "spec.auth.database", TEMPLATES)
    for position, user in enumerate(users):
        _check_user(user, f"spec.auth.users[{position}]", auth.get("database", ""))
    _check_secrets(name, users)
    for position, database in enumerate(spec.get("databases") or []):
        field = f"spec.databases[{position}]"
        _check_database(database["name"], f"{field}.name", (*TEMPLATES, "postgres"))
        owner = database.get("owner")
        if owner and owner not in [user["name"] for user in users]:
            raise Refused(
                "InvalidSpec", f"{field}.owner", f"{owner!r} is not one of auth.users; add it there"
            )


def _check_database(name: str, field: str, taken: tuple[str, ...]) -> None:
    if not _NAME.fullmatch(name):
        raise Refused("InvalidSpec", field, _SPELLING)
    if name in taken:
        raise Refused("InvalidSpec", field, f"must not be {name}, which is PostgreSQL's own")


def _check_user(user: dict[str, Any], field: str, default: str) -> None:
    """``default``: the database of a user who names none."""
    if not _NAME.fullmatch(user["name"]):
        raise Refused("InvalidSpec", f"{field}.name", _SPELLING)
    if user["name"] in RESERVED_USERS or user["name"].startswith("pg_"):
        raise Refused("InvalidSpec", f"{field}.name", f"{user['name']!r} is reserved; choose another name")
    for position, database in enumerate(user.get("databases") or []):
        _check_database(database, f"{field}.databases[{position}]", TEMPLATES)
    # A schema there could stand in the superuser's search path, and its functions be called by the superuser.
    databases, privileges = user.get("databases") or [default], user.get("privileges") or []
    if "postgres" in databases and {"CREATE", "ALL"} & set(privileges):
        problem = (
            "must not have CREATE or ALL on database postgres, where superusers work; use another database"
        )
        raise Refused("InvalidSpec", f"{field}.privileges", problem)


def _check_secrets(name: str, users: list[dict[str, Any]]) -> None:
    """Each generated Secret has a name of its own."""
    taken = set(own_names(name))
    for position, user in enumerate(users):
        secret = user_secret_name(name, user["name"])
        if user.get("secretRef"):
            continue
        if secret in taken:
            problem = (
                f"the user's Secret would be {secret!r}, which is taken; rename the user or set secretRef"
            )
            raise Refused("InvalidSpec", f"spec.auth.users[{position}].name", problem)
        taken.add(secret)
