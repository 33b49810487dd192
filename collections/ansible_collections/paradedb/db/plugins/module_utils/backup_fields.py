"""The fields of a ParadeDB's status about backups and recovery, and the events of what they tell."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import backup_state, backup_status, recovery_status
from ansible_collections.paradedb.db.plugins.module_utils.backup_names import (
    BASE,
    DUMP,
    TASKS,
    VERIFY,
    place_of,
)
from ansible_collections.paradedb.db.plugins.module_utils.backup_reports import Document, moment, number
from ansible_collections.paradedb.db.plugins.module_utils.backup_state import (
    ARCHIVE,
    FAILED,
    NEVER,
    RECOVERY,
    SUCCEEDED,
    Seen,
    interruption,
)
from ansible_collections.paradedb.db.plugins.module_utils.credentials import enabled
from ansible_collections.paradedb.db.plugins.module_utils.quantity import written

Fields = dict[str, Any]

NONE: Fields = dict.fromkeys(("lastBackup", "lastBackupSize", "backup", "recovery"))


def fields(seen: Seen, name: str, spec: dict[str, Any], before: Fields) -> Fields:
    """The fields as they are to be; None for one that is to go. ``before``: the status as it is."""
    recovery = _recovery(seen.document(RECOVERY)) if recovery_status.asked(spec) else None
    if not enabled(spec, "backup"):
        return NONE | {"recovery": recovery}
    newest = max((seen.last(kind) for kind in (DUMP, BASE)), key=_finished)
    size = number(newest, "bytes")
    return {
        "lastBackup": newest.get("finished"),
        "lastBackupSize": written(size) if size else None,
        "backup": _backup(seen, name, spec, before.get("backup") or {}),
        "recovery": recovery,
    }


def _finished(last: Document) -> datetime:
    return moment(last, "finished") or NEVER


def _backup(seen: Seen, name: str, spec: dict[str, Any], before: Fields) -> Fields:
    """``asked`` is a note of ``backup_jobs``, and stays."""
    asked_for = backup_status.kinds(spec)
    made = {
        "place": place_of(name, spec),
        "asked": before.get("asked"),
        "dump": _last(seen, DUMP),
        "base": _last(seen, BASE) if BASE in asked_for else None,
        "verification": _verification(seen, before) if VERIFY in asked_for else None,
        "running": [_running(seen, kind) for kind in TASKS if backup_status.is_going(seen, kind)],
        "archive": _archive(seen.document(ARCHIVE)) if BASE in asked_for else None,
    }
    return {field: value for field, value in made.items() if value}


def _last(seen: Seen, kind: str) -> Fields:
    last = seen.last(kind)
    return _only(last, ("id", "finished"), ("bytes", "durationSeconds")) if last else {}


def _running(seen: Seen, kind: str) -> Fields:
    said = seen.document(kind)
    return {"kind": kind} | _only(said, ("id", "started", "phase"), ("bytes", "percent"))


def _verification(seen: Seen, before: Fields) -> Fields:
    """The result of the last one that ended; that one is told while another runs, too."""
    said, last = seen.document(VERIFY), seen.last(VERIFY)
    if backup_status.is_going(seen, VERIFY):
        return before.get("verification") or {}
    if interruption(seen, VERIFY):
        made = _only(said, ("id",), ()) | {"finished": backup_state.ended_at(seen, VERIFY)}
        return made | {"result": FAILED}
    if said.get("state") == FAILED:
        made = _only(said, ("id", "finished"), ("durationSeconds",)) | {"result": FAILED}
    elif last:
        made = _only(last, ("id", "finished"), ("durationSeconds",)) | {"result": SUCCEEDED}
    else:
        return {}
    checks = recovery_status.sentences(said.get("checks"))
    return made | ({"checks": checks} if checks else {})


def _archive(said: Document) -> Fields:
    counts = ("pending", "failures", "freeBytes", "totalBytes")
    return _only(said, ("lastWal", "lastTime"), counts) if said else {}


def _recovery(said: Document) -> Fields | None:
    if not said:
        return None
    words = ("state", "method", "source", "backup", "phase", "reason", "message", "started", "finished")
    made = _only(said, words, ("percent",))
    if target := said.get("target"):
        made["target"] = recovery_status.sentence(target)
    begun, ended = moment(said, "started"), moment(said, "finished")
    if begun and ended:
        made["durationSeconds"] = max(int((ended - begun).total_seconds()), 0)
    checks = recovery_status.sentences(said.get("checks"))
    return made | ({"checks": checks} if checks else {})


def _only(source: Document, words: tuple[str, ...], numbers: tuple[str, ...]) -> Fields:
    """Those fields of a report that are there and of their type; times must be times."""
    times = ("started", "finished", "lastTime")
    found: Fields = {
        key: source[key]
        for key in words
        if isinstance(source.get(key), str) and source[key] and (key not in times or moment(source, key))
    }
    return found | {key: number(source, key) for key in numbers if isinstance(source.get(key), (int, float))}


def news(before: Fields, after: Fields) -> list[dict[str, str]]:
    """The events of what succeeded since: backups, verifications, a recovery. A first look is no news."""
    told = []
    for kind, what in ((DUMP, "Backup"), (BASE, "Base backup"), (VERIFY, "Verification of backup")):
        field = "verification" if kind == VERIFY else kind
        old, new = ((status.get("backup") or {}).get(field) or {} for status in (before, after))
        known = "backup" in before and old.get("finished") != new.get("finished")
        if known and new.get("finished") and new.get("result", SUCCEEDED) == SUCCEEDED:
            reason = "VerificationCompleted" if kind == VERIFY else "BackupCompleted"
            told.append(_event(reason, f"{what} {new.get('id', '')}{_measured(new)}"))
    old, new = ((status.get("recovery") or {}) for status in (before, after))
    if new.get("state") == SUCCEEDED != old.get("state"):
        told.append(_event("RecoveryCompleted", f"Recovered from {new.get('backup', '')}{_measured(new)}"))
    return told


def _measured(made: Fields) -> str:
    size = f": {written(made['bytes'])}" if made.get("bytes") else ""
    return f"{size} in {made['durationSeconds']} s" if "durationSeconds" in made else size


def _event(reason: str, message: str) -> dict[str, str]:
    return {"type": "Normal", "reason": reason, "message": message}
