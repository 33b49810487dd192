"""The names by which the parts of one ParadeDB find each other."""

from __future__ import annotations

API_VERSION = "database.paradedb.io/v1alpha1"
KIND = "ParadeDB"

MANAGED_BY = "paradedb-operator"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
INSTANCE = "app.kubernetes.io/instance"
COMPONENT = "app.kubernetes.io/component"
ROLE = "database.paradedb.io/role"
SCOPE = "database.paradedb.io/scope"
# On an object whose data are the word of programs about themselves: the role makes it, and leaves them alone.
REPORT = "database.paradedb.io/report"

# The component of backups; it alone has a volume that is not an instance's.
BACKUP = "backup"


def instance_labels(name: str) -> dict[str, str]:
    """Labels of everything that belongs to the ParadeDB ``name``."""
    return {
        "app.kubernetes.io/name": "paradedb",
        INSTANCE: name,
        MANAGED_BY_LABEL: MANAGED_BY,
    }


def instance_selector(name: str) -> str:
    return ",".join(f"{key}={value}" for key, value in instance_labels(name).items())


def scope(name: str) -> str:
    """Patroni's name for the cluster: its own ConfigMaps are ``<scope>-config``, ``<scope>-leader`` ..."""
    return f"{name}-patroni"


def database_selector(name: str) -> str:
    return f"app.kubernetes.io/name=paradedb,{INSTANCE}={name},{COMPONENT}=database"
