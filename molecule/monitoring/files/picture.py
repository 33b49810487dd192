"""Draws the dashboard:  picture.py DASHBOARD URL NAMESPACE DATABASE MINUTES PICTURE

A panel is what its own queries gave the Prometheus at URL within the last MINUTES, in the place that the
dashboard gives it. Grafana is not needed; Matplotlib is (pip install matplotlib), which brings Pillow.
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("Agg")

import panels
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter, MinuteLocator
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator
from PIL import Image

WIDTH, UNIT, DPI = 14.0, 0.31, 100  # inches, inches for each of the grid's units of height, dots an inch
COLUMNS = 24
POINTS = 300  # of each series at most
STEP_LEAST = 5  # seconds
COLOURS = {"green": "#3f9b4f", "orange": "#e5963c", "red": "#cf4a46", "blue": "#4c7fbf", "text": "#b0b0b0"}
GROUND, PAPER, INK = "#eef0f3", "#ffffff", "#24292f"
SECONDS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (0.001, "ms"))
BYTES = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
COUNTS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))

Points = list[tuple[float, float]]


def scaled(value: float, steps: tuple[tuple[float, str], ...], space: str, least: str = "") -> str:
    """The value with the first unit that it is at least one of, else with ``least``."""
    for size, name in steps:
        if abs(value) >= size:
            return f"{value / size:.3g}{space}{name}"
    return f"{value:.3g}{least}"


def text(value: float, unit: str | None) -> str:
    """A value in one of Grafana's units."""
    if unit == "s":
        return scaled(value, SECONDS, " ", " s")
    if unit == "bytes":
        return scaled(value, BYTES, " ", " B")
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    return scaled(value, COUNTS, "")


def legend(template: str, labels: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), template)


class Period(NamedTuple):
    """What is drawn, in seconds, since 1970."""

    start: float
    end: float
    step: int


def series(
    url: str, panel: dict[str, Any], namespace: str, database: str, period: Period
) -> dict[str, Points]:
    """What the panel shows: name in its legend, times (seconds since 1970) and values."""
    asked = {key: str(value) for key, value in period._asdict().items()}
    found = {}
    queries = panels.queries(panel, namespace, database)
    for target, query in zip(panel["targets"], queries, strict=True):
        for answer in panels.ask(url, "query_range", query=query, **asked):
            points = [(float(at), float(value)) for at, value in answer["values"]]
            name = legend(target["legendFormat"], answer["metric"])
            found[name] = [point for point in points if not math.isnan(point[1])]
    return {name: points for name, points in found.items() if points}


def line_of(points: Points, step: int) -> tuple[list[float], list[float]]:
    """Times in days and values, broken where there was no value for a step."""
    times: list[float] = []
    values: list[float] = []
    before = points[0][0]
    for at, value in points:
        if at - before > 1.5 * step:
            times.append((before + step) / 86400)
            values.append(math.nan)
        times.append(at / 86400)
        values.append(value)
        before = at
    return times, values


def draw_lines(axes: Axes, panel: dict[str, Any], found: dict[str, Points], period: Period) -> None:
    """A line for each series, from zero, and a legend below."""
    defaults = panel["fieldConfig"]["defaults"]
    for name, points in found.items():
        times, values = line_of(points, period.step)
        (line,) = axes.plot(times, values, linewidth=1.2, label=name)
        axes.fill_between(times, values, color=line.get_color(), alpha=0.08, linewidth=0)
    most = max(value for points in found.values() for _, value in points)
    axes.set_ylim(0, defaults.get("max", most * 1.1 if most > 0 else 1))
    in_bytes = defaults.get("unit") == "bytes" and most > 0
    axes.yaxis.set_major_locator(
        MultipleLocator(2 ** math.ceil(math.log2(most / 4))) if in_bytes else MaxNLocator(4)
    )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: text(value, defaults.get("unit"))))
    axes.grid(axis="y", color="#e3e6ea", linewidth=0.6)
    clock(axes, period)
    axes.legend(
        loc="upper left", bbox_to_anchor=(-0.02, -0.12), ncols=3, fontsize=7, frameon=False, handlelength=1,
        columnspacing=1, borderaxespad=0.2,
    )  # fmt: skip


def draw_states(axes: Axes, panel: dict[str, Any], found: dict[str, Points], period: Period) -> None:
    """A bar for each series, in the colour of the state that it is in."""
    states = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
    names = sorted(found, reverse=True)
    for height, name in enumerate(names):
        points = found[name]
        for at, value in points:
            colour = COLOURS[states[f"{value:.0f}"]["color"]]
            axes.barh(height, period.step / 86400, left=at / 86400, height=0.75, color=colour, linewidth=0)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, max(len(names), 3) - 0.4)
    clock(axes, period)
    marks = [
        pyplot.Rectangle((0, 0), 1, 1, color=COLOURS[state["color"]], label=state["text"])
        for state in states.values()
    ]
    axes.legend(
        handles=marks, loc="upper left", bbox_to_anchor=(-0.02, -0.12), ncols=3, fontsize=7, frameon=False,
        handlelength=1, borderaxespad=0.2,
    )  # fmt: skip


def draw_numbers(axes: Axes, panel: dict[str, Any], found: dict[str, Points], period: Period) -> None:
    """The latest values, or the names of the series where the panel shows these."""
    axes.axis("off")
    only_names = panel["options"].get("textMode") == "name"
    latest = max(points[-1][0] for points in found.values())
    present = {name: points[-1][1] for name, points in found.items() if points[-1][0] == latest}
    unit = panel["fieldConfig"]["defaults"].get("unit")
    words = [name if only_names else text(value, unit) for name, value in present.items()]
    for position, (name, word) in enumerate(zip(present, words, strict=True)):
        across = (position + 0.5) / len(words)
        axes.text(across, 0.5, word, fontsize=20, color=COLOURS["green"], ha="center", va="center")
        if len(words) > 1:
            axes.text(across, 0.0, name, fontsize=8, color=INK, ha="center", va="center")


def clock(axes: Axes, period: Period) -> None:
    """The same times below every panel."""
    axes.set_xlim(period.start / 86400, period.end / 86400)
    minutes = (period.end - period.start) / 60
    axes.xaxis.set_major_locator(MinuteLocator(interval=max(1, math.ceil(minutes / 5))))
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M"))
    axes.tick_params(labelsize=7, length=2, colors=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)


DRAW = {"timeseries": draw_lines, "state-timeline": draw_states, "stat": draw_numbers}


def draw(dashboard: dict[str, Any], found: dict[str, dict[str, Points]], period: Period) -> Figure:
    """The dashboard with what was ``found`` for each panel, by its title."""
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    figure = pyplot.figure(figsize=(WIDTH, rows * UNIT), dpi=DPI, facecolor=GROUND)

    def place(x: float, y: float) -> tuple[float, float]:
        return x / COLUMNS, 1 - y / rows

    for panel in dashboard["panels"]:
        grid = panel["gridPos"]
        left, bottom = place(grid["x"], grid["y"] + grid["h"])
        width, height = grid["w"] / COLUMNS, grid["h"] / rows
        if panel["type"] == "row":
            figure.text(left + 0.006, bottom + height / 2, panel["title"], fontsize=11, weight="bold",
                        color=INK, va="center")  # fmt: skip
            continue
        card = (left + 0.003, bottom + 0.1 / rows, width - 0.006, height - 0.2 / rows)
        figure.add_artist(
            pyplot.Rectangle(
                card[:2], card[2], card[3], facecolor=PAPER, edgecolor="#d5d9de", linewidth=0.8, zorder=-1
            )
        )
        figure.text(card[0] + 0.006, bottom + height - 0.75 / rows, panel["title"], fontsize=9, color=INK,
                    va="center")  # fmt: skip
        draw_panel(figure, panel, found[panel["title"]], period, card, rows)
    return figure


def draw_panel(
    figure: Figure,
    panel: dict[str, Any],
    found: dict[str, Points],
    period: Period,
    card: tuple[float, ...],
    rows: int,
) -> None:
    """The inside of a panel, whose ``card`` is left, bottom, width and height in shares of the figure."""
    aside = 0.085 if panel["type"] == "state-timeline" else 0.042
    below = 0.9 if panel["type"] == "stat" else 2.1
    if panel["type"] == "stat":
        aside = 0.01
    axes = figure.add_axes((card[0] + aside, card[1] + below / rows, card[2] - aside - 0.012,
                            card[3] - (below + 1.3) / rows), facecolor=PAPER)  # fmt: skip
    if found:
        DRAW[panel["type"]](axes, panel, found, period)
    else:
        axes.axis("off")
        why = panels.OPTIONAL.get(panel["title"], "")
        axes.text(0.5, 0.5, f"No data: {why}", fontsize=8, color="#6a737d", ha="center", va="center")


def write(figure: Figure, picture: Path) -> None:
    """A small PNG: 128 colours do for lines and letters."""
    page = BytesIO()
    figure.savefig(page, format="png", facecolor=GROUND)
    Image.open(page).convert("RGB").quantize(128).save(picture, optimize=True)


if __name__ == "__main__":
    content = json.loads(Path(sys.argv[1]).read_text())
    prometheus, wanted, seconds, end = sys.argv[2], sys.argv[3:5], 60 * int(sys.argv[5]), time.time()
    drawn = Period(end - seconds, end, max(STEP_LEAST, seconds // POINTS))
    answers = {panel["title"]: series(prometheus, panel, *wanted, drawn) for panel in panels.panels(content)}
    write(draw(content, answers, drawn), Path(sys.argv[6]))
