"""Replays an archived write-ahead log over a base backup, to its end or to a target, and says why it could
not.

PostgreSQL (13 and later) ends with FATAL when the log ends before the target; without a target it takes the
first segment that is not there for the end of the log. So what it reached is held against what the archive
has. https://www.postgresql.org/docs/17/runtime-config-wal.html#RUNTIME-CONFIG-WAL-RECOVERY-TARGET
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from paradedb_backup import postgres, scratch, times
from paradedb_backup.log_archive import Archive
from paradedb_backup.problems import REASONS, Problem

TARGETS = {"time": "recovery_target_time", "lsn": "recovery_target_lsn", "name": "recovery_target_name"}
# What `fetch` writes to stderr before it has PostgreSQL stop.
_FETCH = re.compile(r"^[0-9A-F]{8}(?:[0-9A-F]{16}|\.history): ([A-Za-z]+): (.*)$", re.MULTILINE)
_RESTORED = re.compile(r'LOG:  restored log file "([0-9A-F]{24})" from archive')
_STOPPED = re.compile(r"LOG:  recovery stopping (.*)")
_DONE = re.compile(r"LOG:  redo done at ([0-9A-F]+/[0-9A-F]+)")
_NOT_REACHED = "recovery ended before configured recovery target was reached"
_TOO_EARLY = "is before consistent recovery point"
_INCONSISTENT = "WAL ends before"
# What must not be smaller than it was in the database of the backup.
_AT_LEAST = {
    "max_connections setting": "max_connections",
    "max_worker_processes setting": "max_worker_processes",
    "max_wal_senders setting": "max_wal_senders",
    "max_prepared_xacts setting": "max_prepared_transactions",
    "max_locks_per_xact setting": "max_locks_per_transaction",
}


@dataclass
class Progress:
    """What PostgreSQL told of the replay: the farthest segment it took, where it stopped, the last record's
    LSN."""

    segment: str = ""
    stopped: str = ""
    done: str = ""
    fetching: Problem | None = None  # what kept a file of the archive from coming
    told: Callable[[str], None] = field(default=lambda _segment: None)

    def hear(self, line: str) -> None:
        if match := _RESTORED.match(line):
            self.segment = max(self.segment, match[1], key=lambda name: name[8:])  # it reads some again
            self.told(match[1])
        elif match := _STOPPED.match(line):
            self.stopped = match[1]
        elif match := _DONE.match(line):
            self.done = match[1]
        else:
            self.fetching = said_by_fetch(line) or self.fetching


def said_by_fetch(text: str) -> Problem | None:
    """The last problem that ``fetch`` wrote."""
    found = [match for match in _FETCH.findall(text) if match[0] in REASONS]
    return Problem(*found[-1]) if found else None


@contextmanager
def replayed(
    data: Path,
    user: str,
    archive: Archive,
    target: Mapping[str, str],
    restore_command: str,
    settings: Mapping[str, str],
    configuration: Path | None = None,
    told: Callable[[str], None] = lambda _segment: None,
) -> Iterator[tuple[scratch.Server, Progress]]:
    """The promoted server, at the target. ``told`` gets the name of every segment that was replayed.

    Raises Problem WALMissing, BackupDamaged or TargetNotReached.
    """
    (data / "standby.signal").unlink(missing_ok=True)
    (data / "recovery.signal").touch(mode=0o600)
    _forget_targets(data / "postgresql.auto.conf")
    own = {
        **settings,
        **_limits(data),
        **{TARGETS[kind]: _value(kind, value) for kind, value in target.items()},
        "recovery_target_timeline": _timeline(archive),
        "recovery_target_action": "promote",
        "recovery_target_inclusive": "on",
        "recovery_min_apply_delay": "0",
        "recovery_end_command": "",
        "archive_cleanup_command": "",
        "restore_command": restore_command,
    }
    progress = Progress(told=told)
    try:
        with scratch.running(data, user, own, configuration, progress.hear) as server:
            if not target:
                _check_end(progress, archive)
            yield server, progress
    except postgres.Ended as ended:
        raise _why(ended, progress, archive, target) from None


def _timeline(archive: Archive) -> str:
    """By its number PostgreSQL wants the history of a timeline, which that of the base backup may not
    have."""
    path = archive.path
    return "current" if path.newest == path.start.timeline else str(path.newest)


def _value(kind: str, value: str) -> str:
    """As PostgreSQL wants it: it knows no Z when it reads this setting."""
    return f"{times.parse(value):%Y-%m-%d %H:%M:%S.%f+00}" if kind == "time" else value


def _forget_targets(file: Path) -> None:
    """PostgreSQL takes one target and no more, wherever another one is set, empty ones too."""
    lines = file.read_text(errors="surrogateescape").splitlines(keepends=True)
    kept = [line for line in lines if not line.lstrip().lower().startswith("recovery_target")]
    file.write_text("".join(kept), errors="surrogateescape")


def _limits(data: Path) -> dict[str, str]:
    """The settings that recovery checks against those of the database which wrote the log."""
    control = postgres.output(["pg_controldata", str(data)])
    values = dict(line.partition(":")[::2] for line in control.splitlines())
    return {setting: values[label].strip() for label, setting in _AT_LEAST.items() if label in values}


def _check_end(progress: Progress, archive: Archive) -> None:
    """Whether the log was read to its end. Raises Problem for where it was not."""
    last, missing = archive.reach()
    if missing is not None:
        raise archive.lacking(missing, "although later ones are")
    if _short(progress, archive, last):
        raise _damaged(progress, archive)


def _short(progress: Progress, archive: Archive, last: str | None) -> bool:
    """Whether PostgreSQL did not even ask for the last segment. What is wrong inside of that one cannot be
    told from a log that ends there."""
    return last is not None and progress.segment[8:] < last[8:]


def _why(ended: postgres.Ended, progress: Progress, archive: Archive, target: Mapping[str, str]) -> Problem:
    """What to say of a replay that PostgreSQL ended."""
    if "could not restore file" in ended.said and progress.fetching is not None:
        return progress.fetching
    if not any(words in ended.said for words in (_NOT_REACHED, _INCONSISTENT, _TOO_EARLY)):
        return Problem("RestoreFailed", f"PostgreSQL could not replay the log: {ended.said}")
    kind, value = next(iter(target.items()), ("", ""))
    field = f"spec.bootstrap.recovery.target.{kind}"
    if _TOO_EARLY in ended.said:
        return Problem(
            "TargetNotReached",
            f"{field}: {value} lies before the end of the base backup; choose an earlier base backup "
            "(spec.bootstrap.recovery.backup)",
        )
    last, missing = archive.reach()
    if missing is not None:
        return archive.lacking(missing, f"so the log ends before {value or 'the end of the base backup'}")
    if _short(progress, archive, last):
        return _damaged(progress, archive)
    if _INCONSISTENT in ended.said:
        return archive.lacking(archive.following(last), "which the base backup needs")
    where = f"at {progress.done} in segment {progress.segment}"
    if kind == "name":
        return Problem(
            "TargetNotReached",
            f"{field}: the log from the base backup to its end, {where}, has no restore point {value}; when "
            "it is "
            "older than that base backup, choose an earlier one (spec.bootstrap.recovery.backup)",
        )
    return Problem(
        "TargetNotReached",
        f"{field}: the archived log ends before {value}, {where}; choose an earlier {kind} or none",
    )


def _damaged(progress: Progress, archive: Archive) -> Problem:
    return Problem(
        "BackupDamaged",
        f"{archive.field}: the log cannot be read beyond {progress.done or 'its start'}, in or after segment "
        f"{progress.segment or 'the first'}, although the archive has more of it; {archive.advice}",
    )
