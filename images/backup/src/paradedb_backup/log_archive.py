"""The archived log that a recovery may use, and what of it is missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from paradedb_backup import segments
from paradedb_backup.problems import Problem


@dataclass(frozen=True)
class Archive:
    """The log that a recovery may use: the way it takes and the names that are there."""

    path: segments.Path
    names: frozenset[str]
    field: str  # of the spec, where the archive is
    advice: str  # what to do about a log that is not whole

    def reach(self) -> tuple[str | None, str | None]:
        """The last segment that can be reached, and what is missing to go on; None for what is not. Without
        its history file the log of a later timeline cannot be told from another database's."""
        last, missing = segments.last_contiguous(self.path, self.names)
        return last, missing or self._lost_history()

    def _lost_history(self) -> str | None:
        later = {int(name[:8], 16) for name in self.names if segments.SEGMENT.fullmatch(name)}
        lost = [timeline for timeline in later if timeline > self.path.newest]
        known = segments.histories(self.names)
        return next((segments.history_name(item) for item in sorted(lost) if item not in known), None)

    def check(self, target: Mapping[str, str]) -> None:
        """Raises Problem WALMissing where it is certain before anything is copied: a gap before the end, or
        before the LSN of the target. A time or a name may lie before the gap."""
        last, missing = self.reach()
        if last is None:
            raise self.lacking(self.following(None), "the first one that the base backup needs")
        if missing is None or "time" in target or "name" in target:
            return
        reached = segments.parse(last, self.path.size).number
        if "lsn" not in target or segments.position(target["lsn"]) // self.path.size > reached:
            raise self.lacking(missing, "although later ones are")

    def lacking(self, name: str, words: str) -> Problem:
        """Problem WALMissing for a segment or a history file."""
        return Problem(
            "WALMissing",
            f"{self.field}: the file {name} of the write-ahead log is not in the archive, {words}; "
            f"{self.advice}",
        )

    def following(self, last: str | None) -> str:
        """The name of the segment after ``last``."""
        number = segments.parse(last, self.path.size).number + 1 if last else self.path.start.number
        return segments.text(segments.Wal(self.path.newest, number), self.path.size)


def way(
    start: segments.Wal, end: int, size: int, names: frozenset[str], read: Callable[[str], str]
) -> segments.Path:
    """The way to the newest timeline that goes on from the base backup which ends at the byte ``end``.
    ``read`` gets a history file. Not what PostgreSQL takes for the latest: that looks no farther than the
    first number that is not there, and a timeline that lived while the archive was away has none.
    """
    for timeline in reversed(segments.histories(names)):
        if timeline <= start.timeline:
            break
        left = segments.switches(read(segments.history_name(timeline)))
        if left.get(start.timeline, -1) >= end:
            return segments.Path(start, timeline, left, size)
    return segments.Path(start, start.timeline, {}, size)


def names_of(entries: Iterable[str]) -> frozenset[str]:
    """The names of segments and history files among an archive's objects: wals/0000000100000000/NAME[.gz]."""
    last = (entry.rpartition("/")[2] for entry in entries)
    found = (
        re.match(r"([0-9A-F]{8}\.history|[0-9A-F]{24})(\.(gz|bz2|xz|zst|lz4|snappy|sz))?$", name)
        for name in last
    )
    return frozenset(match[1] for match in found if match)
