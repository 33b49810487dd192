"""The table of a result: Markdown whose columns are also straight in a terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.operator import NAIVE, OURS, VARIANTS

Result = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One number of a part. ``label`` may name {resources}, ``goal`` is the most that ours should need."""

    part: str
    number: str
    label: str
    goal: float | None = None


ROWS = (
    Row("first-pass", "seconds", "first pass, s", 0.8),
    Row("first-pass", "cpu_seconds", "first pass, CPU-s"),
    Row("few-at-once", "seconds", "{resources} at once, s", 6),
    Row("few-at-once", "cpu_seconds", "{resources} at once, CPU-s"),
    Row("many-at-once", "seconds", "{resources} at once, s", 45),
    Row("many-at-once", "cpu_seconds", "{resources} at once, CPU-s"),
    Row("idle", "resources", "idle, passes every 60 s: resources"),
    Row("idle", "cpu_seconds_a_minute", "idle: CPU-s a minute", 3),
    Row("idle", "runs_a_minute", "idle: runs of Ansible a minute", 0),
    Row("idle", "memory_mib", "idle: memory, MiB", 300),
    Row("drift", "deleted_median", "deleted object is back, median, s"),
    Row("drift", "deleted_worst", "deleted object is back, worst, s", 2),
    Row("drift", "edited_median", "edited object is back, median, s"),
    Row("drift", "edited_worst", "edited object is back, worst, s", 2),
    Row("restart", "runs", "restart with {resources}: runs of Ansible", 0),
    Row("restart", "seconds", "restart with {resources}: s until idle"),
)


def table(result: Result) -> str:
    """The rows of the parts that were run, and below them why a number is missing."""
    parts, reasons = result["parts"], list[str]()
    lines = [["", *(variant.title for variant in VARIANTS), "naive / ours", "goal"]]
    for row in ROWS:
        if part := parts.get(row.part):
            label = row.label.format(resources=f"{part[OURS.key]['resources']:,}")
            cells = [_cell(part[variant.key], row.number, reasons) for variant in VARIANTS]
            lines.append([label, *cells, _ratio(part, row.number), _goal(row.goal)])
    notes = [f"[{number}] not run: {reason}" for number, reason in enumerate(reasons, 1)]
    return "\n".join([*_aligned(lines), "", *notes]).strip() + "\n"


def shown(value: float) -> str:
    """A number with as many digits as it deserves."""
    if isinstance(value, int) or value == int(value) or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _cell(numbers: dict[str, Any], name: str, reasons: list[str]) -> str:
    if reason := numbers.get("not_run"):
        if reason not in reasons:
            reasons.append(reason)
        return f"[{reasons.index(reason) + 1}]"
    return shown(numbers[name])


def _ratio(part: dict[str, Any], name: str) -> str:
    """How much more naive needs; nothing where that says nothing."""
    ours, naive = part[OURS.key], part[NAIVE.key]
    if "not_run" in naive or ours["resources"] != naive["resources"] or not ours[name]:
        return ""
    return f"{naive[name] / ours[name]:.0f}"


def _goal(goal: float | None) -> str:
    return "" if goal is None else f"≤ {goal:g}"


def _aligned(lines: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    rows = [lines[0], rule, *lines[1:]]
    return [
        "| "
        + " | ".join(
            cell.rjust(width) if position else cell.ljust(width)
            for position, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in rows
    ]
