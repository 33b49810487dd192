"""Which segments of the log a recovery needs, over timelines."""

from __future__ import annotations

import pytest
from paradedb_backup import log_archive, segments
from paradedb_backup.problems import Problem

SIZE = 16 * 2**20
HISTORY = "1\t0/3000000\tno recovery target specified\n2\t0/5000060\tbefore 2026-11-24\n"


def path(newest: int, history: str = "") -> segments.Path:
    return segments.Path(segments.Wal(1, 2), newest, segments.switches(history), SIZE)


def name(timeline: int, number: int) -> str:
    return segments.text(segments.Wal(timeline, number), SIZE)


@pytest.mark.parametrize("text", ["000000010000000000000001", "0000000A00000003000000FF"])
def test_names(text: str) -> None:
    assert segments.text(segments.parse(text, SIZE), SIZE) == text


def test_without_a_gap() -> None:
    names = [name(1, number) for number in (1, 2, 3, 4)]
    assert segments.last_contiguous(path(1), names) == (name(1, 4), None)


def test_a_gap() -> None:
    assert segments.last_contiguous(path(1), [name(1, 2), name(1, 4)]) == (name(1, 2), name(1, 3))


def test_the_first_is_missing() -> None:
    assert segments.last_contiguous(path(1), [name(1, 3)]) == (None, name(1, 2))


def test_nothing_of_it_is_there() -> None:
    assert segments.last_contiguous(path(1), [name(1, 1), name(2, 2)]) == (None, None)


def test_over_timelines() -> None:
    names = [name(1, 2), name(2, 3), name(2, 4), name(3, 5), name(3, 6)]
    assert segments.last_contiguous(path(3, HISTORY), names) == (name(3, 6), None)


def test_what_an_earlier_timeline_went_on_with_is_not_needed() -> None:
    names = [name(1, 2), name(1, 3), name(1, 4), name(2, 3), name(2, 4), name(2, 5), name(2, 7)]
    assert segments.last_contiguous(path(3, HISTORY), names) == (name(2, 5), None)


def test_a_gap_of_a_later_timeline() -> None:
    names = [name(1, 2), name(1, 3), name(2, 4), name(3, 5)]
    assert segments.last_contiguous(path(3, HISTORY), names) == (name(1, 2), name(2, 3))


def archive(names: list[str], histories: dict[str, str], end: str = "0/2000100") -> log_archive.Archive:
    """What a recovery from a base backup of timeline 1 takes."""
    every = frozenset([*names, *histories])
    path = log_archive.way(segments.Wal(1, 2), segments.position(end), SIZE, every, histories.__getitem__)
    return log_archive.Archive(path, every, "spec.bootstrap.recovery", "mend it")


def test_a_timeline_that_left_no_history() -> None:
    names = [name(1, 2), name(2, 3), name(2, 4), name(3, 5)]
    found = archive(names, {"00000003.history": HISTORY})
    assert found.path.newest == 3
    assert found.reach() == (name(3, 5), None)


def test_a_history_that_is_missing() -> None:
    found = archive([name(1, 2), name(2, 3)], {})
    assert found.reach() == (name(1, 2), "00000002.history")
    with pytest.raises(Problem, match=r"00000002.history .* is not in the archive"):
        found.check({})
    found.check({"lsn": "0/2000200"})
    found.check({"time": "2026-11-24T00:00:00Z"})


def test_a_timeline_that_branched_off_before_the_base_backup() -> None:
    names = [name(1, 2), name(1, 3), name(2, 1), name(2, 2)]
    found = archive(names, {"00000002.history": "1\t0/1000060\tbranched\n"}, "0/2000100")
    assert (found.path.newest, found.reach()) == (1, (name(1, 3), None))
