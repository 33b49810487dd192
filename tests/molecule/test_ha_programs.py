"""The programs of the scenario `ha`: what they compute from the writers' records, and the table."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

FILES = Path(__file__).parents[2] / "molecule/ha/files"


def load(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"ha_{name}", FILES / f"{name}.py")
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def report() -> ModuleType:
    return load("report")


@pytest.fixture(scope="module")
def table() -> ModuleType:
    return load("table")


@pytest.mark.parametrize(
    ("times", "begin", "end", "gap", "began"),
    [
        ([1, 2, 3, 6, 7], 0, 8, 3, 3),
        ([9, 1, 6], 0, 10, 5, 1),  # in any order
        ([1, 9, 10], 5, 10, 8, 1),  # began before the window
        ([1, 2, 9, 10], 9, 10, 7, 2),  # ended as the window began
        ([1, 6, 7.5, 8], 7, 8, 1.5, 6),  # earlier ones are another window's
        ([1, 2], 2, 30, 28, 2),  # lasts still
        ([], 5, 9, 4, 5),
        ([1, 2, 50], 2, 4, 2, 2),  # what came after the window
    ],
)
def test_longest_gap(
    report: ModuleType, times: list[float], begin: float, end: float, gap: float, began: float
) -> None:
    assert report.longest_gap(times, begin, end) == (gap, began)


def test_lost_are_acknowledged_rows_that_are_not_there(report: ModuleType) -> None:
    assert report.lost([1, 2, 3], [1, 3, 4]) == [2]
    assert report.lost([], [1]) == []
    assert report.lost([3, 1], []) == [1, 3]


def test_rows_of_one_copy_only_diverge_whichever_has_them(report: ModuleType) -> None:
    assert report.divergent([[1, 2], [2, 1], [1, 2]]) == 0
    assert report.divergent([[1, 2], [1], [1, 2, 3]]) == 2
    assert report.divergent([[1]]) == 0


def test_a_record_is_read_up_to_its_last_whole_line(report: ModuleType) -> None:
    assert report.acknowledged("10 1.5\n20 2.5\n") == {10: 1.5, 20: 2.5}
    assert report.acknowledged("10 1.5\n20 2.") == {10: 1.5}
    assert report.acknowledged("") == {}


RESULT = {
    "text": "primary frozen",
    "goal": "25 s",
    "gap": 21.04,
    "lost": 0,
    "divergent": 0,
    "acknowledged": 120,
    "seconds": 41,
}


def test_the_table_lines_up_and_leaves_out_what_was_not_tried(table: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "frozen.json").write_text(json.dumps(RESULT))
    found = table.read(tmp_path, ["deleted", "frozen"])
    heading, row = table.lines(found)
    assert len(heading) == len(row)
    assert row.split("  ")[0] == "primary frozen"
    assert "21.0 s" in row


@pytest.mark.parametrize(("what", "number"), [("lost", 1), ("divergent", 2)])
def test_what_was_lost_or_differs_is_told_by_the_exit_code(table: ModuleType, what: str, number: int) -> None:
    assert table.is_whole([RESULT])
    assert not table.is_whole([RESULT, {**RESULT, what: number}])
