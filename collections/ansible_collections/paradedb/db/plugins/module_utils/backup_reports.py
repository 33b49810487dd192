"""What the programs of backups report, as far as it can be believed.

Whoever may write the reports may write anything: what the status could not hold is left out or cut.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.backup_names import (
    TASKS,
    archive_state_name,
    state_name,
)
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube

Document = dict[str, Any]

_TIMES = ("started", "finished", "since", "lastTime")
_LONGEST = {"id": 64, "backup": 64, "phase": 128}  # characters of other words: 1000
_MOST = {"percent": 100}  # of other numbers: 2^53, which every reader of JSON can hold
_REASON = re.compile(r"[A-Z][A-Za-z0-9]{0,99}")
_DEPTH, _ITEMS = 4, 20
_OF_INSTANCES = ("archive", "recovery")


def documents(kube: Kube, namespace: str, name: str) -> dict[str, Document]:
    """The reports by kind of work. What is none, or stands in the wrong ConfigMap, is left out."""
    found = {}
    for report, kinds in ((state_name(name), TASKS), (archive_state_name(name), _OF_INSTANCES)):
        config_map = kube.get("v1", "ConfigMap", namespace, report) or {}
        data = config_map.get("data") or {}
        found |= _documents({kind: data[kind] for kind in kinds if kind in data})
    return found


def _documents(data: dict[str, str]) -> dict[str, Document]:
    found = {}
    for kind, text in data.items():
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(document, dict):
            found[kind] = _clean("", document, _DEPTH)
    return found


def _clean(key: str, value: Any, depth: int) -> Any:
    """A value of a report in its bounds; None for what is nothing to go by."""
    if isinstance(value, (dict, list)):
        return _clean_all(key, value, depth - 1) if depth else None
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return max(0, min(int(value), _MOST.get(key, 2**53))) if math.isfinite(value) else None
    if not isinstance(value, str):
        return None
    if key in _TIMES:
        found = moment({key: value}, key)
        return written_time(found) if found else None
    if key == "reason":
        return value if _REASON.fullmatch(value) else None
    return value[: _LONGEST.get(key, 1000)]


def _clean_all(key: str, value: Any, depth: int) -> Any:
    if isinstance(value, list):
        items = [_clean(key, item, depth) for item in value[:_ITEMS]]
        return [item for item in items if item is not None]
    fields = {str(name)[:64]: _clean(str(name), item, depth) for name, item in list(value.items())[:_ITEMS]}
    return {name: item for name, item in fields.items() if item is not None}


def moment(source: Document, key: str) -> datetime | None:
    """The time in a report or a status, in UTC; None when there is none, or it is none."""
    try:
        found = datetime.fromisoformat(source[key])
        found = found.astimezone(UTC) if found.tzinfo else found
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return found if found.tzinfo and found.year >= 1970 else None


def written_time(time: datetime) -> str:
    """A time as the API takes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def number(source: Document, key: str) -> int:
    """The number in a report, 0 when there is none."""
    found = source.get(key)
    return found if isinstance(found, int) else 0
