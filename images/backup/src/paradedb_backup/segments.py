"""Names in the archive of the write-ahead log: which segments a recovery needs, and which of them are not
there.

https://www.postgresql.org/docs/17/continuous-archiving.html; a segment's name is timeline, high and low part,
8 hexadecimal digits each, and a timeline's history file tells where it left the one before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

SEGMENT = re.compile(r"[0-9A-F]{24}")
_HISTORY = re.compile(r"([0-9A-F]{8})\.history")


@dataclass(frozen=True)
class Wal:
    """Where in the log a segment lies: its timeline and its number, counted from the log's start."""

    timeline: int
    number: int


def position(lsn: str) -> int:
    """The byte of an LSN such as 0/3000060; ValueError for what is none."""
    high, slash, low = lsn.partition("/")
    if not slash:
        raise ValueError(f"{lsn} is no LSN")
    return (int(high, 16) << 32) + int(low, 16)


def parse(name: str, size: int) -> Wal:
    """The place of the segment with this name, in a log of segments of ``size`` bytes."""
    each = 2**32 // size
    return Wal(int(name[:8], 16), int(name[8:16], 16) * each + int(name[16:24], 16))


def text(wal: Wal, size: int) -> str:
    """The reverse of ``parse``."""
    each = 2**32 // size
    return f"{wal.timeline:08X}{wal.number // each:08X}{wal.number % each:08X}"


def histories(names: Iterable[str]) -> list[int]:
    """The timelines that have a history file, the newest last."""
    return sorted(int(match[1], 16) for name in names if (match := _HISTORY.fullmatch(name)))


def history_name(timeline: int) -> str:
    """The name of a timeline's history file."""
    return f"{timeline:08X}.history"


def switches(history: str) -> dict[int, int]:
    """A history file's content: the byte at which each earlier timeline was left."""
    found = {}
    for line in history.splitlines():
        fields = line.split("#")[0].split()
        if len(fields) >= 2:
            found[int(fields[0])] = position(fields[1])
    return found


@dataclass(frozen=True)
class Path:
    """The way of a recovery: from a segment over timelines. ``left``: the byte where each earlier one is
    left."""

    start: Wal
    newest: int
    left: dict[int, int]
    size: int

    def timelines(self, number: int) -> list[int]:
        """The timelines whose log holds the segment, that which PostgreSQL takes first."""
        found, begins = [], 0
        for timeline in [*sorted(self.left), self.newest]:
            ends = (self.left[timeline] - 1) // self.size if timeline in self.left else number
            if timeline >= self.start.timeline and begins // self.size <= number <= ends:
                found.append(timeline)
            begins = self.left.get(timeline, 0)
        return found[::-1]


def last_contiguous(path: Path, names: Iterable[str]) -> tuple[str | None, str | None]:
    """The last segment that can be reached without a gap, and the first one that is missing although a later
    one is there; None for what is not."""
    present = {parse(name, path.size) for name in names if SEGMENT.fullmatch(name)}
    numbers = {
        wal.number
        for wal in present
        if wal.number >= path.start.number and wal.timeline in path.timelines(wal.number)
    }
    if not numbers:
        return None, None
    number, last = path.start.number, None
    while number in numbers:
        timeline = next(item for item in path.timelines(number) if Wal(item, number) in present)
        last = text(Wal(timeline, number), path.size)
        number += 1
    missing = text(Wal(path.timelines(number)[0], number), path.size) if number < max(numbers) else None
    return last, missing
