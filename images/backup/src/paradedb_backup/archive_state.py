"""What is told of archiving: noted in a file of this machine by each call, in the state's ConfigMap on
changes and now and then."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from paradedb_backup import report, times
from paradedb_backup.config import Config, root, where
from paradedb_backup.problems import Problem

# Seconds between two reports of the same state, shorter while many files wait, and after which the owner of
# the place is looked at again.
_REPORT, _REPORT_LATE = 300, 60
_MANY = 16
_CLAIM = 600

Noted = dict[str, Any]


def read(config: Config) -> Noted:
    """What was noted by the call before; of another place or database nothing counts."""
    place = where(config)
    try:
        noted = json.loads(_file().read_text())
    except (OSError, ValueError):
        noted = {}
    if not isinstance(noted, dict) or noted.get("place") != place:
        return {"place": place}
    return noted


def claim_is_old(noted: Noted) -> bool:
    """Whether the owner of the place has to be looked at."""
    return not 0 <= time.time() - noted.get("claimed", 0) < _CLAIM


def claimed(noted: Noted) -> None:
    """The place is this database's."""
    noted["claimed"] = time.time()


def succeeded(config: Config, noted: Noted, path: Path) -> None:
    """The file is in the archive."""
    noted.update(lastWal=path.name, lastTime=times.text(times.now()))
    _tell(config, noted, path, "archiving", "", "")


def failed(config: Config, noted: Noted, path: Path, problem: Problem) -> None:
    """The file is not in the archive."""
    if problem.reason == "PlaceTaken":
        noted.pop("claimed", None)
    noted["failures"] = noted.get("failures", 0) + 1
    _tell(config, noted, path, "failing", problem.reason, problem.message)


def _tell(config: Config, noted: Noted, path: Path, state: str, reason: str, message: str) -> None:
    changed = (state, reason) != (noted.get("state"), noted.get("reason"))
    if state != noted.get("state"):
        noted.update(since=times.text(times.now()))
    if state == "archiving":
        noted["failures"] = 0
    noted.update(state=state, reason=reason, message=message)
    seen = volume(path.parent, state == "archiving")
    due = changed or _is_due(noted, seen.get("pending", 0))
    if due:
        noted.update(reported=time.time(), told=seen.get("pending", 0))
    _write(noted)
    if due:
        fields = ("state", "since", "reason", "message", "lastWal", "lastTime", "failures", "place")
        # The report's own line is for a run's log; this one's is the database's.
        with contextlib.redirect_stdout(io.StringIO()):
            report.writer(config)("archive", {field: noted.get(field) for field in fields} | seen)


def _is_due(noted: Noted, pending: int) -> bool:
    """Whether the same state is to be told again: also when nothing waits any more, for nothing may follow
    for long."""
    often = pending >= _MANY or noted["state"] == "failing"
    late = not 0 <= time.time() - noted.get("reported", 0) < (_REPORT_LATE if often else _REPORT)
    return late or bool(not pending and noted.get("told"))


def volume(folder: Path, stored: bool) -> dict[str, int]:
    """How many files of the log wait, without the one just `stored`, and the room on their volume."""
    with contextlib.suppress(OSError):
        waiting = sum(1 for _ in (folder / "archive_status").glob("*.ready"))
        size = os.statvfs(folder)
        return {
            "pending": max(0, waiting - stored),
            "freeBytes": size.f_bavail * size.f_frsize,
            "totalBytes": size.f_blocks * size.f_frsize,
        }
    return {}


def _file() -> Path:
    run = root() / "run/paradedb"
    return (run if run.is_dir() else Path(tempfile.gettempdir())) / "archive.json"


def _write(noted: Noted) -> None:
    """In one step. What cannot be noted is noted by the next call."""
    with contextlib.suppress(OSError):
        part = _file().with_suffix(".part")
        part.write_text(json.dumps(noted))
        part.replace(_file())
