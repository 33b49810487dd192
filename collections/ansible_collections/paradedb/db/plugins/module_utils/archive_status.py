"""What is to be said of the archive of a ParadeDB's write-ahead log: failing, late, or filling the volume."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.backup_reports import Document, moment, number
from ansible_collections.paradedb.db.plugins.module_utils.backup_state import ARCHIVE, Seen
from ansible_collections.paradedb.db.plugins.module_utils.quantity import written
from ansible_collections.paradedb.db.plugins.module_utils.settings import SEGMENT

# What waits for the archive stays on the volume. It is warned of while there is time to mend the archive:
# when less than a quarter of the volume is free, or less than 64 segments (1 GiB; half a small volume).
_SHARE, _SEGMENTS = 4, 64
_MANY = 16  # segments that wait: more than one checkpoint leaves behind at once
_LATE = timedelta(minutes=15)  # three times archive_timeout

Finding = tuple[bool, str, str]


def judge(seen: Seen, spec: dict[str, Any], now: datetime) -> Finding | None:
    """Ok, reason and message; None while the database sleeps and what was told before holds."""
    said = seen.document(ARCHIVE)
    if not said:
        return False, "ArchivingStarting", "No write-ahead log was archived yet"
    if spec.get("hibernate"):
        return None
    problem = _failing(said) or _late(said, now)
    if problem and (room := _filling(said)):
        return False, "WALVolumeFilling", f"{room}. {problem[1]}"
    if problem:
        return False, *problem
    return True, "Archiving", f"The write-ahead log is archived in {said.get('place') or 'its place'}"


def _failing(said: Document) -> tuple[str, str] | None:
    if said.get("state") != "failing":
        return None
    since = f" since {said['since']}" if moment(said, "since") else ""
    message = f"{said.get('message') or 'the archive command fails'}{since}; {_waiting(said)}"
    return str(said.get("reason") or "ArchivingFailed"), message


def _late(said: Document, now: datetime) -> tuple[str, str] | None:
    """More waits than is usual, or anything for longer: what fails for good is told by the program itself."""
    last, pending = moment(said, "lastTime"), number(said, "pending")
    if pending >= _MANY:
        return "ArchivingLags", f"The archive does not keep up: {_waiting(said)}"
    if pending and last and now - last > _LATE:
        return "ArchivingLags", f"Nothing was archived since {said['lastTime']}: {_waiting(said)}"
    return None


def _waiting(said: Document) -> str:
    count = number(said, "pending")
    return f"{count} {'segment waits' if count == 1 else 'segments wait'} to be archived"


def _filling(said: Document) -> str:
    """What to say of a volume with little room; empty when there is enough, or nothing is known of it."""
    free, total = number(said, "freeBytes"), number(said, "totalBytes")
    if not total or free >= max(total // _SHARE, min(_SEGMENTS * SEGMENT, total // 2)):
        return ""
    return f"Only {written(free)} of {written(total)} are free for the write-ahead log, and nothing leaves it"
