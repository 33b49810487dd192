"""Filters that turn a ParadeDB's spec into the contents of its objects."""

from __future__ import annotations

DOCUMENTATION = r"""
name: paradedb
short_description: Filters that turn a spec into the contents of objects
version_added: 0.1.0
description: Each filter takes the completed spec; see the filters' own pages.
options: {}
author: The paradedb.db maintainers
"""

import json
import re
from collections.abc import Callable
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import (
    backup,
    patroni,
    pgbouncer,
    settings,
    sql,
)
from ansible_collections.paradedb.db.plugins.module_utils.database import program_parameters
from ansible_collections.paradedb.db.plugins.module_utils.exporter_queries import sort_out


def postgresql_conf(spec: dict[str, Any]) -> str:
    """The settings of an instance as postgresql.conf."""
    return "\n".join(settings.conf_lines(settings.instance_settings(spec))) + "\n"


def pg_hba_conf(spec: dict[str, Any], superuser: str, tls_enforced: bool = False) -> str:
    """The access rules as pg_hba.conf."""
    return "\n".join(patroni.access_rules(spec, superuser, tls_enforced)) + "\n"


def init_sql(spec: dict[str, Any]) -> str:
    """The SQL program that makes the database and its extensions."""
    return sql.documented_program(program_parameters(spec))


def patroni_config(spec: dict[str, Any], superuser: str, tls_enforced: bool = False) -> str:
    """Patroni's dynamic configuration as it stands in its ConfigMap's annotation."""
    return patroni.dump(patroni.dynamic_configuration(spec, superuser, tls_enforced))


def preload_libraries(spec: dict[str, Any]) -> str:
    """Libraries which the wanted extensions need at start, separated by blanks."""
    return " ".join(settings.preload_libraries(spec.get("extensions") or {}, spec.get("databases") or []))


def user_libraries(spec: dict[str, Any]) -> str:
    """Libraries which the user wants loaded besides, separated by blanks."""
    return " ".join(settings.user_libraries(spec.get("postgresConfig") or {}))


def pgbouncer_ini(spec: dict[str, Any], name: str, namespace: str) -> str:
    """The settings of the connection pooler as pgbouncer.ini."""
    return pgbouncer.ini(spec, name, namespace)


def pgbouncer_start_ini(spec: dict[str, Any]) -> str:
    """The pooler's settings that hold for the life of a pod, as a file that pgbouncer.ini includes."""
    return pgbouncer.start_ini(spec)


def pgbouncer_tls_ini(enforced: bool, verified: bool, named: bool) -> str:
    """The pooler's encryption, as a file that pgbouncer.ini includes."""
    return pgbouncer.tls_ini(enforced, verified, named)


def exporter_queries(own: str, custom: dict[str, str]) -> str:
    """The operator's queries for the exporter and the user's, as queries.yaml."""
    usable, _faults = sort_out(custom)
    return "\n".join([own, *(f"{name}: {yaml_value(query)}" for name, query in usable.items()), ""])


def backup_json(
    spec: dict[str, Any],
    name: str,
    namespace: str,
    superuser: str,
    tls_enforced: bool,
    archiving: bool = False,
) -> str:
    """What the programs of backups are told, as /etc/backup/backup.json.

    ``archiving``: in the database's own pods.
    """
    return backup.document(backup.backup_document(spec, name, namespace, superuser, tls_enforced, archiving))


def recovery_json(
    spec: dict[str, Any], name: str, namespace: str, superuser: str, recovery: dict[str, Any]
) -> str:
    """What a new database is told of the backup it is made from, as /etc/recovery/recovery.json."""
    return backup.document(backup.recovery_document(spec, name, namespace, superuser, recovery))


def yaml_value(value: Any) -> str:
    """A value as it stands in a YAML document: JSON, all but printable ASCII escaped as YAML does.

    JSON alone is not enough: YAML knows no surrogate pairs, and takes U+2028 for a line break.
    """
    text = json.dumps(value, ensure_ascii=False)
    return re.sub(r"[^\x20-\x7e]", lambda char: f"\\U{ord(char[0]):08x}", text)


class FilterModule:
    """The collection's filters."""

    def filters(self) -> dict[str, Callable[..., str]]:
        functions = (
            postgresql_conf,
            pg_hba_conf,
            init_sql,
            patroni_config,
            preload_libraries,
            user_libraries,
            pgbouncer_ini,
            pgbouncer_start_ini,
            pgbouncer_tls_ini,
            exporter_queries,
            backup_json,
            recovery_json,
            yaml_value,
        )
        return {function.__name__: function for function in functions}
