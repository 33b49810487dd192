"""The picture of a result: what it costs against the number of resources, as SVG for light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from typing import Any

from bench.operator import NAIVE, OURS
from bench.table import Result, shown

Point = tuple[float, float]
_WIDTH, _HEIGHT = 880, 400
_PANEL = 340  # width of the space that lines are drawn in
_TOP, _BOTTOM = 84, 330
_LEAST = 0.1  # what is drawn for nothing at all, since a logarithm has no zero

_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-weight: 600; font-size: 15px; }
.quiet { fill: #59636e; }
.grid { stroke: #59636e; stroke-opacity: .22; }
.limit { stroke: #59636e; stroke-dasharray: 5 4; }
.ours { stroke: #0b69c7; fill: #0b69c7; }
.naive { stroke: #bc4c00; fill: #bc4c00; }
polyline { stroke-width: 2.5; fill: none !important; }
text.ours, text.naive { stroke: none; font-weight: 600; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .quiet { fill: #9198a1; }
  .grid, .limit { stroke: #9198a1; }
  .ours { stroke: #58a6ff; fill: #58a6ff; }
  .naive { stroke: #f0883e; fill: #f0883e; }
}
"""


@dataclass(frozen=True)
class Panel:
    """One diagram with logarithmic axes. ``limit`` is a line across it, with what it means."""

    title: str
    unit: str
    lines: dict[str, list[Point]]
    limit: tuple[float, str] | None = None


def picture(result: Result) -> str:
    """The whole file. The parts first-pass, few-at-once, many-at-once and idle must have been run."""
    panels = [_idle(result), _at_once(result)]
    spaces = [_panel(panel, 64 + number * (_PANEL + 96)) for number, panel in enumerate(panels)]
    legend = _legend(64)
    label = escape("Cost of the operator against the number of resources, compared with a naive one")
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"'
            f' aria-label="{label}">',
            f"<style>{_STYLE}</style>",
            *legend,
            *(line for space in spaces for line in space),
            "</svg>",
            "",
        ]
    )


def _idle(result: Result) -> Panel:
    part, cores = result["parts"]["idle"], result["machine"]["cores"]
    lines = {
        variant.key: [
            (step["resources"], step["cpu_seconds_a_minute"]) for step in part[variant.key]["steps"]
        ]
        for variant in (OURS, NAIVE)
    }
    busy = (60.0 * cores, f"all {cores} processors busy")
    return Panel("At rest, a pass due every 60 s", "CPU-seconds a minute", lines, busy)


def _at_once(result: Result) -> Panel:
    parts = result["parts"]
    lines: dict[str, list[Point]] = {OURS.key: [], NAIVE.key: []}
    for name in ("first-pass", "few-at-once", "many-at-once"):
        for key, points in lines.items():
            if "not_run" not in parts[name][key]:
                points.append((parts[name][key]["resources"], parts[name][key]["seconds"]))
    grown: dict[str, Any] = parts["idle"][OURS.key]["steps"][-1]["created"]
    lines[OURS.key].append((grown["resources"], grown["seconds"]))
    return Panel("Created at once, until all objects are there", "seconds", lines)


def _panel(panel: Panel, left: float) -> list[str]:
    points = [point for line in panel.lines.values() for point in line]
    values = [max(_LEAST, y) for _, y in points] + ([panel.limit[0]] if panel.limit else [])
    x_range, y_range = _decades([x for x, _ in points]), _decades(values)

    def x_of(value: float) -> float:
        return left + _PANEL * (log10(value) - x_range[0]) / (x_range[1] - x_range[0])

    def y_of(value: float) -> float:
        part = (log10(max(_LEAST, value)) - y_range[0]) / (y_range[1] - y_range[0])
        return _BOTTOM - (_BOTTOM - _TOP) * part

    drawn = [
        _text(left, _TOP - 30, panel.title, "title"),
        _text(left, _TOP - 12, panel.unit, "quiet"),
        _text(left + _PANEL / 2, _BOTTOM + 40, "number of resources", "quiet", "middle"),
    ]
    for value in _ticks(y_range):
        drawn.append(_line(left, y_of(value), left + _PANEL, y_of(value), "grid"))
        drawn.append(_text(left - 8, y_of(value) + 4, f"{value:,g}", "quiet", "end"))
    for value in _ticks(x_range):
        drawn.append(_line(x_of(value), _TOP, x_of(value), _BOTTOM, "grid"))
        drawn.append(_text(x_of(value), _BOTTOM + 20, f"{value:,g}", "quiet", "middle"))
    if panel.limit:
        height = y_of(panel.limit[0])
        drawn.append(_line(left, height, left + _PANEL, height, "limit"))
        drawn.append(_text(left + _PANEL, height - 6, panel.limit[1], "quiet", "end"))
    for key, line in panel.lines.items():
        drawn += _curve(key, [(x_of(x), y_of(y), y) for x, y in line])
    return drawn


def _curve(key: str, line: Sequence[tuple[float, float, float]]) -> list[str]:
    """A line with its points and their values, below it, since lines rise."""
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in line)
    drawn = [f'<polyline class="{key}" points="{corners}"/>']
    for x, y, value in line:
        drawn.append(f'<circle class="{key}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
        drawn.append(_text(x + 7, y + 18, shown(value), key))
    return drawn


def _legend(left: float) -> list[str]:
    drawn = []
    for number, (key, words) in enumerate(
        ((OURS.key, "this operator"), (NAIVE.key, "naive: one kubernetes.core.k8s task for each object"))
    ):
        x = left + number * 140
        drawn.append(f'<circle class="{key}" cx="{x + 5}" cy="20" r="5"/>')
        drawn.append(_text(x + 17, 25, words))
    return drawn


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten around some values, at least one apart."""
    low = floor(log10(min(values)))
    return low, max(low + 1, ceil(log10(max(values))))


def _ticks(span: tuple[int, int]) -> list[float]:
    return [10.0**power for power in range(span[0], span[1] + 1)]


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
