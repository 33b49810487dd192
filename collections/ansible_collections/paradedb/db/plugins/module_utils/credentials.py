"""The Secrets of a ParadeDB: their names, and the passwords of its roles as they stand in them.

Values are read, generated and written by modules and pass through no Ansible variable.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, Object
from ansible_collections.paradedb.db.plugins.module_utils.labels import (
    INSTANCE,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    instance_selector,
)

DEFAULT_SUPERUSER = "postgres"
REPLICATION_USER = "paradedb_replication"
REWIND_USER = "paradedb_rewind"
POOLER_USER = "paradedb_pooler"
EXPORTER_USER = "paradedb_exporter"
USERS_GROUP = "paradedb_users"  # its members are the roles which the spec made
RESERVED_ROLES = (REPLICATION_USER, REWIND_USER, POOLER_USER, EXPORTER_USER, USERS_GROUP)
PORT = 5432

_KEYS = ("username", "password")  # what a user's own Secret is read for
# Files of passwords have one a line, and drivers end a text at a NUL.
_BREAKS = re.compile(r"[\0\r\n]")


def credentials_name(name: str) -> str:
    return f"{name}-credentials"


def patroni_name(name: str) -> str:
    return f"{name}-patroni"


def pooler_name(name: str) -> str:
    return f"{name}-pooler"


def exporter_name(name: str) -> str:
    return f"{name}-exporter"


def certificate_name(name: str) -> str:
    """Of the operator's and of cert-manager's certificate alike."""
    return f"{name}-tls"


def authority_name(name: str) -> str:
    """The operator's own authority."""
    return f"{name}-ca"


def own_names(name: str) -> tuple[str, ...]:
    """The Secrets that the operator makes, besides those of users."""
    kinds = (credentials_name, patroni_name, pooler_name, exporter_name, certificate_name, authority_name)
    return tuple(kind(name) for kind in kinds)


def user_secret_name(name: str, user: str) -> str:
    """The Secret that is made for a user of ``auth.users`` who has no secretRef.

    A role's name may hold what an object's may not:
    https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names
    """
    return re.sub("[_$]", "-", f"{name}-{user}").rstrip("-")


def reference(user: dict[str, Any]) -> str:
    """The Secret that an entry of ``auth.users`` names; empty when one is to be made."""
    return str((user.get("secretRef") or {}).get("name") or "")


def secret_of(name: str, user: dict[str, Any]) -> str:
    """The Secret with the password of an entry of ``auth.users``."""
    return reference(user) or user_secret_name(name, user["name"])


def is_ours(item: Object, name: str) -> bool:
    """Whether the operator made the object for the ParadeDB ``name``."""
    labels = item["metadata"].get("labels") or {}
    return labels.get(MANAGED_BY_LABEL) == MANAGED_BY and labels.get(INSTANCE) == name


def decode(secret: Object | None) -> dict[str, str]:
    """The values of a Secret; empty when there is none. Raises UnicodeDecodeError for binary values."""
    data = (secret or {}).get("data") or {}
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def readable(secret: Object | None) -> dict[str, str]:
    """The values of a Secret of our own that can be read; what somebody broke is made anew."""
    values = {}
    for key, value in ((secret or {}).get("data") or {}).items():
        with contextlib.suppress(ValueError):
            values[key] = base64.b64decode(value).decode()
    return values


def usable_password(values: dict[str, str]) -> str:
    """The password in a Secret of our own; empty when there is none, or what is there cannot be one."""
    password = values.get("password", "")
    return "" if _BREAKS.search(password) else password


def superuser(
    kube: Kube, namespace: str, name: str, reference: dict[str, Any] | None
) -> tuple[str, str | None]:
    """The superuser's name, and the password if there is one yet.

    From the user's Secret when spec.auth.superuserSecretRef names one, else from ``<name>-credentials``.
    Raises Refused when the named Secret is missing or lacks a key.
    """
    if reference and reference.get("name"):
        field = "spec.auth.superuserSecretRef"
        values = _given(kube, namespace, name, reference["name"], field, _KEYS)
        _check_superuser(values["username"], reference["name"], field)
        return values["username"], values["password"]
    values = readable(kube.get("v1", "Secret", namespace, credentials_name(name)))
    return recorded_superuser(kube, namespace, name) or DEFAULT_SUPERUSER, usable_password(values) or None


def recorded_superuser(kube: Kube, namespace: str, name: str) -> str:
    """The superuser's name that the database was made with, from Patroni's Secret; empty before the first.

    The credentials Secret is for applications, and anybody may edit it: its user name is no record.
    """
    values = readable(kube.get("v1", "Secret", namespace, patroni_name(name)))
    try:
        return str(json.loads(values["patroni.yml"])["postgresql"]["authentication"]["superuser"]["username"])
    except (KeyError, TypeError, ValueError):
        return ""


def _given(
    kube: Kube, namespace: str, name: str, secret: str, field: str, required: tuple[str, ...]
) -> dict[str, str]:
    """``username`` and ``password`` of a user's own Secret. Raises Refused naming ``field``."""

    def invalid(problem: str) -> Refused:
        return Refused("InvalidSecret", field, f"the {problem}")

    if secret in own_names(name):
        raise invalid(f"Secret {secret!r} is the operator's own; name another")
    found = kube.get("v1", "Secret", namespace, secret)
    if found is None:
        message = f"there is no Secret {secret!r} in namespace {namespace!r}; create it"
        raise Refused("SecretNotFound", field, message)
    held = {key: value for key, value in (found.get("data") or {}).items() if key in _KEYS}
    try:
        values = decode({"data": held})
    except UnicodeDecodeError:
        raise invalid(f"Secret {secret!r} holds a value which is not UTF-8") from None
    missing = [key for key in required if not values.get(key)]
    if missing:
        raise invalid(f"Secret {secret!r} has no {' and no '.join(missing)}")
    if _BREAKS.search(values["password"]):
        raise invalid(f"password in Secret {secret!r} must be one line; remove the line break")
    return values


def _check_superuser(username: str, secret: str, field: str) -> None:
    if len(username.encode()) > 63 or username.startswith("pg_") or not username.isprintable():
        raise Refused("InvalidSecret", field, f"the username in Secret {secret!r} is not a valid role name")
    if username in (*RESERVED_ROLES, "public", "none"):
        raise Refused("InvalidSecret", field, f"the username in Secret {secret!r} is reserved")


def patroni_passwords(kube: Kube, namespace: str, name: str) -> dict[str, str]:
    """The passwords of the roles which Patroni makes at the first start and does not change later.

    A volume that outlived its ParadeDB has the roles with other passwords than the new Secret.
    """
    values = readable(kube.get("v1", "Secret", namespace, patroni_name(name)))
    roles = {REPLICATION_USER: "replication-password", REWIND_USER: "rewind-password"}
    return {role: values[key] for role, key in roles.items() if key in values}


def own_passwords(kube: Kube, namespace: str, name: str) -> dict[str, str]:
    """The passwords in all Secrets which the operator made for the ParadeDB, by the Secret's name."""
    found = kube.list("v1", "Secret", namespace, instance_selector(name))
    return {item["metadata"]["name"]: usable_password(readable(item)) for item in found}


def user_password(
    kube: Kube, namespace: str, name: str, user: dict[str, Any], position: int, own: dict[str, str]
) -> str:
    """The password of an entry of ``spec.auth.users``; empty as long as none is made.

    ``own``: those of the operator's own Secrets. Raises Refused when the user's Secret cannot serve.
    """
    secret = secret_of(name, user)
    if not reference(user):
        return own.get(secret, "")
    field = f"spec.auth.users[{position}].secretRef"
    values = _given(kube, namespace, name, secret, field, ("password",))
    if values.get("username", user["name"]) != user["name"]:
        problem = f"the username in Secret {secret!r} is not {user['name']!r}; correct or remove it"
        raise Refused("InvalidSecret", field, problem)
    return values["password"]


def role_passwords(kube: Kube, namespace: str, name: str, spec: dict[str, Any]) -> dict[str, str]:
    """The passwords that the database's roles are to have, by role.

    Left out are roles without a password yet, and users whose Secret cannot serve: UsersReady tells of them.
    Raises Refused for the superuser's Secret.
    """
    auth, found = spec.get("auth") or {}, {}
    own = own_passwords(kube, namespace, name)
    for position, user in enumerate(auth.get("users") or []):
        with contextlib.suppress(Refused):
            found[user["name"]] = user_password(kube, namespace, name, user, position, own)
    if enabled(spec, "connectionPooling"):
        found[POOLER_USER] = own.get(pooler_name(name), "")
    if enabled(spec, "monitoring"):
        found[EXPORTER_USER] = own.get(exporter_name(name), "")
    boss, password = superuser(kube, namespace, name, auth.get("superuserSecretRef"))
    found |= patroni_passwords(kube, namespace, name) | {boss: password or ""}
    return {role: password for role, password in found.items() if password}


def enabled(spec: dict[str, Any], feature: str) -> bool:
    """Whether an optional part of the ParadeDB is switched on."""
    return bool((spec.get(feature) or {}).get("enabled"))
