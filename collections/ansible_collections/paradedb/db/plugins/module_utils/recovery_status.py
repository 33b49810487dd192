"""What is to be said of the recovery that a ParadeDB is made by."""

from __future__ import annotations

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.backup_reports import Document
from ansible_collections.paradedb.db.plugins.module_utils.backup_state import (
    FAILED,
    RECOVERY,
    SUCCEEDED,
    Seen,
)

ON_ITS_WAY = "Recovering"


def asked(spec: dict[str, Any]) -> dict[str, Any]:
    """What the spec says of a recovery; empty when it asks for none."""
    return (spec.get("bootstrap") or {}).get("recovery") or {}


def judge(seen: Seen) -> tuple[bool, str, str]:
    """Ok, reason and message."""
    said = seen.document(RECOVERY)
    if said.get("state") == SUCCEEDED:
        backup, when = said.get("backup") or "the newest backup", _ended(said)
        if said.get("reason"):  # the database serves, and something in it is to be mended
            return False, str(said["reason"]), str(said.get("message") or "")
        told = f"; {said['message']}" if said.get("message") else ""
        return True, "Recovered", f"Made from {backup}{when}{told}{_checked(said)}"
    if said.get("state") == FAILED:
        return False, str(said.get("reason") or "RestoreFailed"), str(said.get("message") or "It failed")
    return False, ON_ITS_WAY, _progress(said)


def _progress(said: Document) -> str:
    """What the recovery does now, in words."""
    percent = f", {said['percent']} %" if isinstance(said.get("percent"), int) else ""
    return f"{said.get('phase') or 'Waiting for the instance that is recovered'}{percent}"


def _ended(said: Document) -> str:
    return f", at {said['finished']}" if said.get("finished") else ""


def _checked(said: Document) -> str:
    checks = sentences(said.get("checks"))
    return "".join(f"; {name}: {text}" for name, text in checks.items())


def sentences(checks: Any) -> dict[str, str]:
    """What the checks of a restored database found, a sentence each."""
    if not isinstance(checks, dict):
        return {}
    return {str(name): sentence(found) for name, found in checks.items()}


def sentence(found: Any) -> str:
    """``{"tables": 12, "wrong": []}`` as ``12 tables, 0 wrong``; a list counts, and names its first few."""
    if not isinstance(found, dict):
        return str(found)
    parts = []
    for name, value in found.items():
        if isinstance(value, list):
            named = f" ({', '.join(map(str, value[:5]))}{' ...' if len(value) > 5 else ''})" if value else ""
            parts.append(f"{len(value)} {name}{named}")
        elif isinstance(value, bool):  # whether there is anything to check it with
            parts += [] if value else [f"not {name}"]
        elif isinstance(value, int):
            parts.append(f"{value} {name}")
        else:
            parts.append(f"{name}: {value}")
    return ", ".join(parts)
