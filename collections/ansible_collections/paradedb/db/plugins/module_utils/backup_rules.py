"""The CRD's rules about backups and recoveries, for a spec that no API server has checked."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.credentials import enabled
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused

BACKUP, RECOVERY = "spec.backup", "spec.bootstrap.recovery"

_SOURCES = ("source", "s3", "pvc")
_TARGETS = ("time", "lsn", "name")
_BACKUP_ID = re.compile(r"[0-9]{8}T[0-9]{6}(Z-[0-9a-f]{4})?")
_LSN = re.compile(r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}")
# As PostgreSQL's configuration takes it between quotes.
_RESTORE_POINT = re.compile(r"[ -&(-\[\]-~]{1,63}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)


def check_rules(name: str, spec: dict[str, Any]) -> None:
    """Raises Refused for the first field that contradicts another, or cannot be what it stands for."""
    _check_backup(spec.get("backup") or {})
    recovery = (spec.get("bootstrap") or {}).get("recovery")
    if recovery is not None:
        _check_recovery(name, recovery)


def _check_backup(backup: dict[str, Any]) -> None:
    on = bool(backup.get("enabled"))
    continuous = enabled(backup, "continuous")
    if "s3" in backup and "pvc" in backup:
        raise _invalid(BACKUP, "has both s3 and pvc; remove one")
    if on and "s3" not in backup and "pvc" not in backup:
        raise _invalid(f"{BACKUP}.enabled", "needs a place for the backups; set backup.s3 or backup.pvc")
    if continuous and not on:
        raise _invalid(f"{BACKUP}.continuous.enabled", "needs backup.enabled; set both to true or to false")
    if continuous and "s3" not in backup:
        raise _invalid(f"{BACKUP}.continuous.enabled", "needs a bucket; set backup.s3, or set it to false")
    if "verify" in backup and not on:
        raise _invalid(f"{BACKUP}.verify", "needs backup.enabled; set it to true, or remove verify")


def _check_recovery(name: str, recovery: dict[str, Any]) -> None:
    given = [field for field in _SOURCES if field in recovery]
    if len(given) != 1:
        raise _invalid(RECOVERY, "needs exactly one of source, s3 and pvc; set one, remove the others")
    if recovery.get("source") == name:
        fix = "for a database that was deleted, use s3 or pvc with serverName"
        raise _invalid(f"{RECOVERY}.source", f"must be another ParadeDB; {fix}")
    if ("source" in recovery) == ("serverName" in recovery):
        raise _invalid(f"{RECOVERY}.serverName", "goes with s3 or pvc, which need it, and not with source")
    continuous = recovery.get("method") == "continuous"
    if continuous and "pvc" in recovery:
        raise _invalid(f"{RECOVERY}.method", "continuous needs source or s3; set it to dump")
    if "target" in recovery and not continuous:
        raise _invalid(f"{RECOVERY}.target", "needs method continuous; set method, or remove target")
    if "backup" in recovery and not _BACKUP_ID.fullmatch(recovery["backup"]):
        raise _invalid(f"{RECOVERY}.backup", "must be the id of a backup; remove it for the newest")
    _check_target(recovery.get("target") or {})


def _check_target(target: dict[str, Any]) -> None:
    if len([field for field in _TARGETS if field in target]) > 1:
        raise _invalid(f"{RECOVERY}.target", "takes one of time, lsn and name; remove the others")
    if "time" in target and not _is_moment(target["time"]):
        raise _invalid(
            f"{RECOVERY}.target.time",
            "must be a date and time that exists, with its zone, such as 2026-11-24T01:30:00Z",
        )
    if "lsn" in target and not _LSN.fullmatch(target["lsn"]):
        raise _invalid(
            f"{RECOVERY}.target.lsn", "must be a position in the write-ahead log, such as 0/3000028"
        )
    if "name" in target and not _RESTORE_POINT.fullmatch(target["name"]):
        raise _invalid(
            f"{RECOVERY}.target.name", "must have only printable ASCII characters, and neither ' nor \\"
        )


def _is_moment(text: str) -> bool:
    """Whether it is RFC 3339 with a zone; the API server does not know how many days a month has."""
    if not _TIME.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _invalid(field: str, problem: str) -> Refused:
    return Refused("InvalidSpec", field, problem)
