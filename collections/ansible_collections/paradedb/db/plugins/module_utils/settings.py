"""PostgreSQL settings of an instance: derived from the container's limits, then the user's on top.

Sizing follows ParadeDB's published tuning rules
(https://docs.paradedb.com/documentation/performance-tuning/overview); what Patroni refuses or replaces
follows https://patroni.readthedocs.io/en/latest/patroni_configuration.html.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.quantity import parse_quantity

MEGABYTE = 2**20
GIGABYTE = 2**30

PRELOAD = "shared_preload_libraries"

# A segment of the write-ahead log, as initdb makes them; PostgreSQL needs two of them at least.
SEGMENT = 16 * MEGABYTE
SMALLEST_WAL = 2 * SEGMENT

# A volume below this would not hold PostgreSQL's default of max_wal_size, 1 GB, beside anything else.
SMALLEST_UNBOUND_VOLUME = 5 * GIGABYTE

# Seconds after which a segment is archived though it is not full: what a lost volume costs at most.
ARCHIVE_TIMEOUT = 300

# Below this the tuning rules give values smaller than PostgreSQL's own defaults.
SMALLEST_TUNED_MEMORY = 512 * MEGABYTE

# Who decides these instead of the user, for the message that refuses them.
_OWNED = {
    "the operator sets it": (
        "listen_addresses port data_directory config_file hba_file ident_file external_pid_file "
        "unix_socket_directories unix_socket_group unix_socket_permissions logging_collector log_destination "
        "log_directory log_filename event_source allow_system_table_mods "
        "include include_dir include_if_exists"
    ),
    "Patroni sets it": (
        "cluster_name hot_standby primary_conninfo primary_slot_name promote_trigger_file "
        "synchronous_standby_names wal_log_hints restart_after_crash recovery_target recovery_target_action "
        "recovery_target_inclusive recovery_target_lsn recovery_target_name recovery_target_time "
        "recovery_target_timeline recovery_target_xid recovery_end_command recovery_min_apply_delay"
    ),
    "use spec.backup.continuous": (
        "archive_mode archive_command archive_library archive_cleanup_command restore_command"
    ),
    "a library that is missing would refuse every connection; use shared_preload_libraries": (
        "session_preload_libraries local_preload_libraries"
    ),
    "use spec.tls": (
        "ssl ssl_ca_file ssl_cert_file ssl_crl_dir ssl_crl_file ssl_key_file ssl_passphrase_command"
    ),
}
OWNED = {name: why for why, names in _OWNED.items() for name in names.split()}

# Values that lose data or open a door, by setting.
_ONLY = {
    "fsync": (("on", "true", "yes", "1"), "turning it off loses data in a crash"),
    "full_page_writes": (("on", "true", "yes", "1"), "turning it off loses data in a crash"),
    "password_encryption": (("scram-sha-256",), "roles are kept with SCRAM verifiers"),
    "wal_level": (("replica", "logical"), "replicas and backups need the write-ahead log"),
}

# Patroni passes these on the command line and silently puts its default in place of a smaller value.
PATRONI_MINIMUM = {
    "max_connections": 25,
    "max_wal_senders": 3,
    "max_replication_slots": 4,
    "max_worker_processes": 2,
    "max_prepared_transactions": 0,
    "max_locks_per_transaction": 32,
}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")
_MEMORY_UNITS = {"B": 1, "kB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}


def check_settings(config: dict[str, str], resources: dict[str, Any]) -> None:
    """Refuse what cannot be told from PostgreSQL's own check of the file. Raises Refused."""
    for name, value in config.items():
        problem = _problem(name, str(value), _hard_memory_limit(resources))
        if problem:
            raise Refused("InvalidSetting", f"spec.postgresConfig.{name}", problem)
    _check_reserved({name.lower(): str(value) for name, value in config.items()})


def _check_reserved(config: dict[str, str]) -> None:
    """The connections kept for superusers must leave some for others, or PostgreSQL does not start."""
    names = ("superuser_reserved_connections", "reserved_connections")
    numbers = [config.get(name, default) for name, default in zip(names, ("3", "0"), strict=True)]
    if not all(number.isdecimal() for number in numbers):
        return  # PostgreSQL's own check says so
    most = int(config.get("max_connections", 100))
    if sum(map(int, numbers)) >= most:
        field = next((name for name in names if name in config), "max_connections")
        raise Refused(
            "InvalidSetting",
            f"spec.postgresConfig.{field}",
            f"{' + '.join(numbers)} reserved connections must be fewer than max_connections, {most}",
        )


def _problem(name: str, value: str, memory: int | None) -> str | None:
    if not _NAME.fullmatch(name):
        return "is not the name of a setting"
    key = name.lower()
    if key in OWNED:
        return f"cannot be set here: {OWNED[key]}; remove it"
    if any(unicodedata.category(char) == "Cc" for char in value):
        return "the value must be one line, without control characters"
    allowed, why = _ONLY.get(key, ((), ""))
    if allowed and value.lower() not in allowed:
        return f"must be {' or '.join(allowed[:1] if len(allowed) > 2 else allowed)}: {why}"
    if key in PATRONI_MINIMUM and not re.fullmatch(r"0|[1-9][0-9]{0,8}", value):
        return f"{value!r} is not a whole number"
    if key in PATRONI_MINIMUM and int(value) < PATRONI_MINIMUM[key]:
        return f"{value} is below {PATRONI_MINIMUM[key]}, the least that Patroni runs with"
    if key == "wal_keep_size" and (size := _wal_size(value)) is not None and size < 16 * MEGABYTE:
        return f"{value} is below 16MB, the least that Patroni runs with"
    if key in ("min_wal_size", "max_wal_size") and (size := _wal_size(value)) and size < SMALLEST_WAL:
        return f"{value} is below 32MB, two segments; PostgreSQL would not start again"
    if key == "shared_buffers" and memory and (parse_memory(value) or 0) >= memory:
        return f"{value} does not fit into spec.resources.limits.memory; PostgreSQL could not start"
    return None


def _wal_size(value: str) -> int | None:
    """Bytes of wal_keep_size, min_wal_size or max_wal_size: a bare number counts megabytes."""
    return parse_memory(f"{value}MB" if value.strip().isdecimal() else value)


def parse_memory(value: str) -> int | None:
    """Bytes of a PostgreSQL memory value ("128MB"; a bare number counts 8 kB pages), None for others."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(B|kB|MB|GB|TB)?\s*", value)
    if not match:
        return None
    return int(Decimal(match.group(1)) * (_MEMORY_UNITS[match.group(2)] if match.group(2) else 8192))


def memory_limit(resources: dict[str, Any]) -> int | None:
    """The container's memory in bytes: its limit, else its request."""
    value = _limit(resources, "memory")
    return int(value) if value else None


def _hard_memory_limit(resources: dict[str, Any]) -> int | None:
    """Bytes at which the container is killed; None when nothing limits it."""
    value = (resources.get("limits") or {}).get("memory")
    return int(parse_quantity(value)) if value is not None else None


def _limit(resources: dict[str, Any], name: str) -> Decimal | None:
    for kind in ("limits", "requests"):
        value = (resources.get(kind) or {}).get(name)
        if value is not None:
            return parse_quantity(value)
    return None


def instance_settings(spec: dict[str, Any]) -> dict[str, str]:
    """Every setting of an instance, sorted by name: defaults, derived ones, the user's last.

    Without ``shared_preload_libraries``: what the image really has of them is found out in the pod, see
    ``prepare.sh`` of the statefulset role.
    """
    config = {name.lower(): str(value) for name, value in (spec.get("postgresConfig") or {}).items()}
    resources = spec.get("resources") or {}
    settings = {"password_encryption": "scram-sha-256", "unix_socket_directories": "/run/postgresql"}
    settings |= _cpu_settings(resources)
    settings |= _memory_settings(resources, config, int(settings.get("max_parallel_maintenance_workers", 2)))
    settings |= _wal_settings(spec.get("storage") or {}, spec.get("replicas", 1))
    settings |= _archive_settings(spec.get("backup") or {})
    settings |= config
    settings.pop(PRELOAD, None)
    return dict(sorted(settings.items()))


def preload_libraries(extensions: dict[str, Any], databases: list[dict[str, Any]]) -> list[str]:
    """Libraries which the wanted extensions need at start; one that the image lacks is left out in the pod.

    ``extensions`` and ``databases`` are those fields of the spec. pg_search since 0.23.2 on every PostgreSQL
    version: https://docs.paradedb.com/deploy/self-hosted/extension
    """
    named = {name for item in databases for name in item.get("extensions") or []}
    named |= {*(extensions.get("additional") or []), "pg_stat_statements"}
    named |= {"pg_search"} if extensions.get("pgSearch", True) else set()
    named |= {"pg_analytics"} if extensions.get("pgAnalytics") else set()
    return [name for name in ("pg_search", "pg_analytics", "pg_stat_statements", "pg_cron") if name in named]


def user_libraries(config: dict[str, str]) -> list[str]:
    """Libraries which the user wants loaded besides; one that the image lacks is an error."""
    values = [str(value) for name, value in config.items() if name.lower() == PRELOAD]
    return [name.strip().strip('"') for name in ",".join(values).split(",") if name.strip()]


def _memory_settings(resources: dict[str, Any], config: dict[str, str], workers: int) -> dict[str, str]:
    memory = memory_limit(resources)
    if not memory or memory < SMALLEST_TUNED_MEMORY:
        return {}
    shared_buffers = min(memory // 4, 16 * GIGABYTE)
    work_mem = max(
        (memory - shared_buffers) // (3 * int(config.get("max_connections") or 100)), 15 * MEGABYTE
    )
    # An index build shares this among its workers and fails when one has less than 15 MB.
    maintenance = min(max(memory // 16, 64 * MEGABYTE, 16 * MEGABYTE * workers), 2 * GIGABYTE)
    return {
        "shared_buffers": _megabytes(shared_buffers),
        "effective_cache_size": _megabytes(memory * 3 // 4),
        "maintenance_work_mem": _megabytes(maintenance),
        "work_mem": _megabytes(work_mem),
    }


def _cpu_settings(resources: dict[str, Any]) -> dict[str, str]:
    cpu = _limit(resources, "cpu")
    if not cpu:
        return {}
    cores = max(int(cpu), 1)
    workers = min(5 * cores, 1024)  # PostgreSQL takes no more
    return {
        "max_parallel_workers": str(workers),
        "max_worker_processes": str(workers + 8),
        "max_parallel_workers_per_gather": str(min(max(cores // 2, 1), 1024)),
        "max_parallel_maintenance_workers": str(min(max(cores // 2, 2), 8)),
    }


def _wal_settings(storage: dict[str, Any], replicas: int) -> dict[str, str]:
    """What keeps the write-ahead log from filling the volume it is on."""
    size = (storage.get("walStorage") or storage).get("size")
    if size is None:
        return {}
    volume = int(parse_quantity(size))
    # A replica that is lost may hold back so much of the log and no more; it is cloned anew afterwards.
    settings = {"max_slot_wal_keep_size": _megabytes(volume // 4)} if replicas > 1 else {}
    if volume >= SMALLEST_UNBOUND_VOLUME:
        return settings
    most = max(min(volume // 5, GIGABYTE), SMALLEST_WAL)
    settings["max_wal_size"] = _megabytes(most)
    # Where the defaults of PostgreSQL (80 MB) and Patroni (128 MB) are too much for the volume.
    if most < 80 * MEGABYTE:
        settings["min_wal_size"] = _megabytes(most)
    if most // 2 < 128 * MEGABYTE:
        settings["wal_keep_size"] = _megabytes(max(most // 2, 16 * MEGABYTE))
    return settings


def _archive_settings(backup: dict[str, Any]) -> dict[str, str]:
    """Archiving of the write-ahead log. Taking it up or giving it up restarts PostgreSQL."""
    if not (backup.get("enabled") and (backup.get("continuous") or {}).get("enabled")):
        return {}
    return {
        "archive_mode": "on",
        "archive_command": '/opt/backup/paradedb-backup archive "%p"',
        "archive_timeout": str(ARCHIVE_TIMEOUT),
    }


def _megabytes(size: int) -> str:
    return f"{size // MEGABYTE}MB"


def conf_lines(settings: dict[str, str]) -> list[str]:
    """The settings in the syntax of postgresql.conf, every value quoted."""
    return [f"{name} = {conf_quote(value)}" for name, value in settings.items()]


def conf_quote(value: str) -> str:
    """A value as a postgresql.conf string: https://www.postgresql.org/docs/17/config-setting.html"""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
