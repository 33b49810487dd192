"""The Secrets of a ParadeDB: the superuser's credentials for applications, Patroni's for the instances.

Values are read, generated and written here and pass through no Ansible variable.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
from typing import Any
from urllib.parse import quote

from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, Object

DEFAULT_SUPERUSER = "postgres"
REPLICATION_USER = "paradedb_replication"
REWIND_USER = "paradedb_rewind"
PORT = 5432


def credentials_name(name: str) -> str:
    return f"{name}-credentials"


def patroni_name(name: str) -> str:
    return f"{name}-patroni"


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


def superuser(
    kube: Kube, namespace: str, name: str, reference: dict[str, Any] | None
) -> tuple[str, str | None]:
    """The superuser's name, and the password if there is one yet.

    From the user's Secret when spec.auth.superuserSecretRef names one, else from ``<name>-credentials``.
    Raises Refused when the named Secret is missing or lacks a key.
    """
    field = "spec.auth.superuserSecretRef"
    if reference and reference.get("name") in (credentials_name(name), patroni_name(name)):
        raise Refused(
            "InvalidSecret", field, f"the Secret {reference['name']!r} is the operator's own; name another"
        )
    if reference and reference.get("name"):
        found = kube.get("v1", "Secret", namespace, reference["name"])
        if found is None:
            raise Refused(
                "SecretNotFound",
                field,
                f"there is no Secret {reference['name']!r} in namespace {namespace!r}; create it",
            )
        values = _decode_users(found, field, reference["name"])
        return values["username"], values["password"]
    values = readable(kube.get("v1", "Secret", namespace, credentials_name(name)))
    return recorded_superuser(kube, namespace, name) or DEFAULT_SUPERUSER, values.get("password") or None


def recorded_superuser(kube: Kube, namespace: str, name: str) -> str:
    """The superuser's name that the database was made with, from Patroni's Secret; empty before the first.

    The credentials Secret is for applications, and anybody may edit it: its user name is no record.
    """
    values = readable(kube.get("v1", "Secret", namespace, patroni_name(name)))
    try:
        return str(json.loads(values["patroni.yml"])["postgresql"]["authentication"]["superuser"]["username"])
    except (KeyError, TypeError, ValueError):
        return ""


def _decode_users(secret: Object, field: str, name: str) -> dict[str, str]:
    try:
        values = decode(secret)
    except UnicodeDecodeError:
        raise Refused(
            "InvalidSecret", field, f"the Secret {name!r} holds a value which is not UTF-8"
        ) from None
    missing = [key for key in ("username", "password") if not values.get(key)]
    if missing:
        raise Refused("InvalidSecret", field, f"the Secret {name!r} has no {' and no '.join(missing)}")
    username = values["username"]
    if len(username.encode()) > 63 or username.startswith("pg_") or not username.isprintable():
        raise Refused("InvalidSecret", field, f"the username in Secret {name!r} is not a valid role name")
    if username in (REPLICATION_USER, REWIND_USER, "public", "none"):
        raise Refused("InvalidSecret", field, f"the username in Secret {name!r} is reserved")
    if "\0" in values["password"] or "\n" in values["password"]:
        raise Refused(
            "InvalidSecret", field, f"the password in Secret {name!r} must be one line; remove the line break"
        )
    return values


def application_secret(
    name: str,
    namespace: str,
    username: str,
    password: str,
    database: str,
    *,
    tls: bool = False,
    authority: str = "",
) -> dict[str, str]:
    """What an application needs to connect, in the forms that drivers read.

    ``authority``: PEM of whom to trust when verifying the server; empty when that is not known.
    """
    host = f"{name}.{namespace}.svc"
    user, secret, path = (quote(part, safe="") for part in (username, password, database))

    def escape(part: str) -> str:  # https://www.postgresql.org/docs/17/libpq-pgpass.html
        return part.replace("\\", "\\\\").replace(":", "\\:")

    # "require" works everywhere; verifying needs the path of a file, which only the application knows.
    uri_options, jdbc_options = ("?sslmode=require", "&sslmode=require") if tls else ("", "")
    return {
        "username": username,
        "password": password,
        "host": host,
        "port": str(PORT),
        "dbname": database,
        "uri": f"postgresql://{user}:{secret}@{host}:{PORT}/{path}{uri_options}",
        "jdbc-uri": f"jdbc:postgresql://{host}:{PORT}/{path}?user={user}&password={secret}{jdbc_options}",
        "pgpass": ":".join(escape(part) for part in (host, str(PORT), "*", username, password)),
        **({"ca.crt": authority} if authority else {}),
    }


def patroni_secret(existing: dict[str, str], superuser_name: str) -> dict[str, str]:
    """Patroni's own roles' passwords, kept once made, and the part of its configuration that holds them."""
    values = {
        key: existing.get(key) or secrets.token_urlsafe(24)
        for key in ("replication-password", "rewind-password", "restapi-password")
    }
    configuration = {
        "postgresql": {
            "authentication": {
                "superuser": {"username": superuser_name},
                "replication": {"username": REPLICATION_USER, "password": values["replication-password"]},
                "rewind": {"username": REWIND_USER, "password": values["rewind-password"]},
            }
        },
        "restapi": {"authentication": {"username": "patroni", "password": values["restapi-password"]}},
    }
    return {**values, "patroni.yml": json.dumps(configuration, sort_keys=True)}


def patroni_passwords(kube: Kube, namespace: str, name: str) -> dict[str, str]:
    """The passwords of the roles which Patroni makes at the first start and does not change later.

    A volume that outlived its ParadeDB has the roles with other passwords than the new Secret.
    """
    values = readable(kube.get("v1", "Secret", namespace, patroni_name(name)))
    roles = {REPLICATION_USER: "replication-password", REWIND_USER: "rewind-password"}
    return {role: values[key] for role, key in roles.items() if key in values}


def secret_definition(name: str, values: dict[str, str], kind: str) -> Object:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind, "data": data}
