"""What an earlier primary had not archived when it was lost.

A standby marks all that it receives as archived, so PostgreSQL archives none of it after a promotion, whose
first file is the history of the new timeline: that is when this is made up for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paradedb_backup import segments
from paradedb_backup.archive_put import is_stored, key, put
from paradedb_backup.config import S3Place


def complete(store: Any, place: S3Place, server: str, history: Path) -> None:
    """Archives of earlier timelines what `pg_wal` has and the archive has not: segments and history files."""
    for file in left(history):
        name = key(place, server, file.name)
        if not is_stored(store, place, name):
            put(store, place, name, file.read_bytes())


def left(history: Path) -> Iterator[Path]:
    """The whole files of the timelines that a history tells of, the oldest first."""
    switches = segments.switches(history.read_text())
    for timeline, end in sorted(switches.items()):
        earlier = history.with_name(segments.history_name(timeline))
        if earlier.is_file():
            yield earlier
        for file in sorted(history.parent.glob(f"{timeline:08X}*")):
            if not segments.SEGMENT.fullmatch(file.name):
                continue
            size = file.stat().st_size
            # The one in which the timeline was left goes on in the next one; its own part is archived as
            # `.partial`.
            if size and segments.parse(file.name, size).number < end // size:
                yield file
