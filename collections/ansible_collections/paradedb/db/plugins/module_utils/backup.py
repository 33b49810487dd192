"""Backups: what the programs in the pods are told.

The programs are images/backup of the repository; decision 0014 tells how they are run.
"""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.backup_names import archive_state_name, state_name
from ansible_collections.paradedb.db.plugins.module_utils.credentials import PORT, enabled
from ansible_collections.paradedb.db.plugins.module_utils.settings import (
    preload_libraries,
    user_libraries,
)

# Where a volume with backups is mounted: this database's own, and the one it is made from.
VOLUME, RECOVERY_VOLUME = "/backups", "/recovery"


def is_continuous(spec: dict[str, Any]) -> bool:
    """Whether the write-ahead log is archived and base backups are made."""
    return enabled(spec, "backup") and enabled(spec["backup"], "continuous")


def backup_document(
    spec: dict[str, Any], name: str, namespace: str, superuser: str, tls: bool, archiving: bool
) -> dict[str, Any]:
    """/etc/backup/backup.json, in the pods of backups or, ``archiving``, in those of the database.

    ``tls``: whether every instance serves encrypted connections.
    """
    given = spec.get("backup") or {}
    store = {"s3": _s3(given["s3"])} if given.get("s3") else {"volume": VOLUME}
    return {
        **_common(spec, name, namespace, superuser, tls),
        "server": name,
        "state": archive_state_name(name) if archiving else state_name(name),
        "store": store,
        "retention": given.get("retentionPolicy") or {},
        "recoveryWindowDays": given["continuous"].get("recoveryWindowDays") if is_continuous(spec) else None,
        "deadlineSeconds": given.get("activeDeadlineSeconds"),
    }


def recovery_document(
    spec: dict[str, Any], name: str, namespace: str, superuser: str, recovery: dict[str, Any]
) -> dict[str, Any]:
    """/etc/recovery/recovery.json. ``recovery``: what the database is made from, see preflight's plan."""
    store = recovery["store"]
    return {
        **_common(spec, name, namespace, superuser, tls=False),
        "server": recovery["server"],
        "state": archive_state_name(name),
        "store": {"s3": _s3(store["s3"])} if store.get("s3") else {"volume": RECOVERY_VOLUME},
        "method": recovery["method"],
        "backup": recovery.get("backup") or None,
        "target": recovery.get("target") or {},
    }


def _common(spec: dict[str, Any], name: str, namespace: str, superuser: str, tls: bool) -> dict[str, Any]:
    given = spec.get("backup") or {}
    libraries = preload_libraries(spec.get("extensions") or {}, spec.get("databases") or [])
    libraries += user_libraries(spec.get("postgresConfig") or {})
    return {
        "namespace": namespace,
        "name": name,
        "jobs": given.get("jobs", 2),
        "database": {
            "host": f"{name}.{namespace}.svc",
            "port": PORT,
            "user": superuser,
            "tls": tls,
            # A user's own certificate need not have the name of the Service.
            "named": not (spec.get("tls") or {}).get("secretRef"),
        },
        "preload": ",".join(dict.fromkeys(libraries)),
        "version": str(spec["postgresVersion"]),
    }


def _s3(given: dict[str, Any]) -> dict[str, Any]:
    """The place in an object store. The Secrets are mounted and not named."""
    defaults = {"path": "", "region": "", "pathStyle": True}
    return {key: given.get(key, defaults.get(key)) for key in ("endpoint", "bucket", *defaults)}


def document(content: dict[str, Any]) -> str:
    """A document as it stands in a ConfigMap, for people too."""
    return json.dumps(content, indent=2, sort_keys=True) + "\n"
