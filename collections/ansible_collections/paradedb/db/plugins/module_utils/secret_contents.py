"""What the Secrets of a ParadeDB hold, made from passwords that are given or kept."""

from __future__ import annotations

import base64
import json
import secrets
from urllib.parse import quote

from ansible_collections.paradedb.db.plugins.module_utils.credentials import (
    EXPORTER_USER,
    POOLER_USER,
    PORT,
    REPLICATION_USER,
    REWIND_USER,
)
from ansible_collections.paradedb.db.plugins.module_utils.kube import Object


def new_password() -> str:
    """192 random bits in characters that need no quoting anywhere."""
    return secrets.token_urlsafe(24)


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
        "user": username,
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
        key: existing.get(key) or new_password()
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


def pooler_secret(password: str) -> dict[str, str]:
    """PgBouncer's own role, and the file from which PgBouncer learns its password.

    https://www.pgbouncer.org/config.html#authentication-file-format: a quotation mark is doubled, and nothing
    else has a meaning between two of them.
    """
    quoted = password.replace('"', '""')
    return {
        "username": POOLER_USER,
        "password": password,
        "userlist.txt": f'"{POOLER_USER}" "{quoted}"\n',
    }


def exporter_secret(password: str) -> dict[str, str]:
    """The role with which the metrics are read."""
    return {"username": EXPORTER_USER, "password": password}


def secret_definition(name: str, values: dict[str, str], kind: str) -> Object:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind, "data": data}
