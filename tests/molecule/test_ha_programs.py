"""The programs of the scenario `ha`: what they compute from the writers' records, and the table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Program = Callable[[str, str], ModuleType]


@pytest.fixture(scope="module")
def report(program: Program) -> ModuleType:
    return program("ha", "report")


@pytest.fixture(scope="module")
def wait(program: Program) -> ModuleType:
    return program("ha", "wait")


@pytest.fixture(scope="module")
def table(program: Program) -> ModuleType:
    return program("ha", "table")


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
    assert table.is_whole([RESULT, {**RESULT, what: number, "loses": True}])


def pod(name: str, role: str, ready: str = "True", **metadata: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"database.paradedb.io/role": role}, **metadata},
        "spec": {"containers": [{"image": "db:1"}]},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def resource(**status: Any) -> dict[str, Any]:
    instances = [
        {"name": "db-0", "ready": True, "role": "replica"},
        {"name": "db-1", "ready": True, "role": "primary"},
    ]
    well = {
        "phase": "Running",
        "observedGeneration": 4,
        "currentPrimary": "db-1",
        "readyReplicas": 2,
        "instances": instances,
    }
    return {
        "metadata": {"generation": 4},
        "spec": {"replicas": 2, "image": "db:1"},
        "status": {**well, **status},
    }


WELL = {"primaries": 1, "streaming": 1, "synchronous": 0, "divergent": 0, "restarted": []}


def test_what_is_well_lacks_nothing(wait: ModuleType) -> None:
    assert wait.check_pods([pod("db-0", "replica"), pod("db-1", "primary")], resource()) == "db-1"
    wait.check_status(resource(), "db-1")
    wait.check_report(WELL, resource(), [])
    wait.check_report({**WELL, "restarted": ["db-0"]}, resource(), ["db-0"])


@pytest.mark.parametrize(
    ("pods", "missing"),
    [
        ([pod("db-1", "primary")], "1 pods of 2"),
        ([pod("db-0", "replica", ready="False"), pod("db-1", "primary")], "db-0 is not ready"),
        ([pod("db-0", "replica", deletionTimestamp="now"), pod("db-1", "primary")], "db-0 is going"),
        ([pod("db-0", "primary"), pod("db-1", "primary")], "primaries: "),
        ([pod("db-0", "replica"), pod("db-1", "replica")], "primaries: "),
    ],
)
def test_pods_that_are_not_well_are_told(wait: ModuleType, pods: list[dict[str, Any]], missing: str) -> None:
    with pytest.raises(wait.Missing, match=missing):
        wait.check_pods(pods, resource())


@pytest.mark.parametrize(
    ("status", "missing"),
    [
        ({"phase": "Failed", "message": "full"}, "phase Failed: full"),
        ({"observedGeneration": 3}, "spec has not been seen"),
        ({"currentPrimary": "db-0"}, "primary db-0"),
        ({"readyReplicas": 1}, "instances are missing"),
        ({"instances": []}, "role of primary"),
    ],
)
def test_a_status_that_is_not_well_is_told(wait: ModuleType, status: dict[str, Any], missing: str) -> None:
    with pytest.raises(wait.Missing, match=missing):
        wait.check_status(resource(**status), "db-1")


@pytest.mark.parametrize(
    ("report", "missing"),
    [
        ({"primaries": 2}, "2 instances are out of recovery"),
        ({"streaming": 0}, "0 replicas stream"),
        ({"synchronous": 1}, "1 synchronous"),
        ({"divergent": 3}, "3 rows differ"),
        ({}, "db-0 has not been started again"),
    ],
)
def test_a_report_that_is_not_well_is_told(wait: ModuleType, report: dict[str, Any], missing: str) -> None:
    with pytest.raises(wait.Missing, match=missing):
        wait.check_report({**WELL, **report}, resource(), ["db-0"])


def test_the_wait_tells_what_it_waited_for(wait: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "PAUSE", 0)
    answers = iter(["a", "a", "b", ""])

    def look() -> dict[str, Any]:
        missing = next(answers)
        wait.need(not missing, missing)
        return {"primary": "db-0"}

    assert wait.until(look) == {"primary": "db-0", "waited": ["0 s: a", "0 s: b"]}
    monkeypatch.setattr(wait, "PATIENCE", -1)
    with pytest.raises(SystemExit, match="0 s: never"):
        wait.until(lambda: wait.need(False, "never"))
