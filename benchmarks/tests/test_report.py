"""What the benchmark makes of its numbers. No test measures anything."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest
from bench.picture import picture
from bench.publish import with_result
from bench.table import shown, table

_SVG = "{http://www.w3.org/2000/svg}"


def _created(resources: int, seconds: float) -> dict[str, Any]:
    return {"resources": resources, "seconds": seconds, "cpu_seconds": 2 * seconds}


def _step(resources: int, cost: float) -> dict[str, Any]:
    return {
        "resources": resources,
        "cpu_seconds_a_minute": cost,
        "runs_a_minute": 0.0,
        "memory_mib": 200.4,
        "created": _created(resources, 300.0),
    }


@pytest.fixture
def result() -> dict[str, Any]:
    """A whole result with numbers that can be told apart."""
    ours, naive = [_step(13, 0.0), _step(1000, 1.9)], [_step(1, 8.4), _step(13, 111.0)]
    nothing = {"not_run": "it would take hours"}
    drift = {"resources": 1000, "deleted_median": 0.6, "deleted_worst": 0.7}
    drift |= {"edited_median": 0.8, "edited_worst": 0.9}
    return {
        "date": "2026-01-02T03:04:05+00:00",
        "machine": {
            "cpu": "Abacus",
            "cores": 2,
            "memory_gib": 8,
            "python": "3.12.1",
            "ansible_core": "2.21.5",
            "commit": "abc",
        },
        "parts": {
            "first-pass": _three(_created(1, 0.5), _created(1, 4.0), _created(1, 9.0)),
            "few-at-once": _three(_created(12, 4.5), _created(12, 30.0), _created(12, 60.0)),
            "many-at-once": _three(_created(100, 40.0), nothing, nothing),
            "idle": _three({**ours[-1], "steps": ours}, nothing, {**naive[-1], "steps": naive}),
            "drift": _three(drift, nothing, nothing),
            "restart": _three({"resources": 1000, "runs": 0, "seconds": 4.2}, nothing, nothing),
        },
    }


def _three(ours: dict[str, Any], middle: dict[str, Any], naive: dict[str, Any]) -> dict[str, Any]:
    return {"ours": ours, "ours-ansible-runner": middle, "naive": naive}


def _drawn(result: dict[str, Any]) -> ElementTree.Element:
    return ElementTree.fromstring(picture(result))  # noqa: S314 - of our own making


def _cells(text: str, label: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {label} "))
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_a_row_has_all_variants_how_much_worse_naive_is_and_the_goal(result: dict[str, Any]) -> None:
    assert _cells(table(result), "first pass, s") == ["0.50", "4", "9", "18", "≤ 0.8"]


def test_a_label_names_how_many_resources_there_were(result: dict[str, Any]) -> None:
    assert _cells(table(result), "restart with 1,000: runs of Ansible")[0] == "0"


def test_what_was_not_run_says_why_once(result: dict[str, Any]) -> None:
    text = table(result)
    assert _cells(text, "100 at once, s")[1:3] == ["[1]", "[1]"]
    assert text.count("it would take hours") == 1


def test_costs_of_different_numbers_of_resources_are_not_divided(result: dict[str, Any]) -> None:
    assert _cells(table(result), "idle: CPU-s a minute") == ["1.90", "[1]", "111", "", "≤ 3"]


def test_parts_that_were_not_asked_for_have_no_rows(result: dict[str, Any]) -> None:
    del result["parts"]["drift"]
    assert "deleted" not in table(result)


def test_all_lines_of_the_table_are_equally_wide(result: dict[str, Any]) -> None:
    assert len({len(line) for line in table(result).splitlines() if line.startswith("|")}) == 1


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (0.0, "0"), (0.456, "0.46"), (12.34, "12.3"), (1234.5, "1,234")]
)
def test_numbers_have_the_digits_they_deserve(number: float, text: str) -> None:
    assert shown(number) == text


def test_the_picture_shows_every_point_inside_its_frame(result: dict[str, Any]) -> None:
    drawing = _drawn(result)
    _, _, width, height = map(float, drawing.attrib["viewBox"].split())
    points = [
        (float(x), float(y))
        for line in drawing.iter(f"{_SVG}polyline")
        for x, y in (corner.split(",") for corner in line.attrib["points"].split())
    ]
    assert len(points) == 2 + 2 + 4 + 2
    assert all(0 < x < width and 0 < y < height for x, y in points)


def test_more_costs_are_drawn_higher(result: dict[str, Any]) -> None:
    drawing = _drawn(result)
    lines = {line.attrib["class"]: line.attrib["points"].split() for line in drawing.iter(f"{_SVG}polyline")}
    highest = {key: min(float(corner.split(",")[1]) for corner in line[:2]) for key, line in lines.items()}
    assert highest["naive"] < highest["ours"]


def test_a_page_gets_the_result_between_its_marks_and_keeps_the_rest(result: dict[str, Any]) -> None:
    page = "# Title\n<!-- result -->\nold\n<!-- end of result -->\nrest\n"
    once = with_result(page, result)
    assert "| first pass, s" in once
    assert "Abacus" in once
    assert "old" not in once
    assert (once.startswith("# Title\n"), once.endswith("rest\n")) == (True, True)
    assert with_result(once, result) == once
