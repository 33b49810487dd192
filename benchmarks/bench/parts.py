"""What is measured: each part gives numbers, or the reason for none, for every variant."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.controlplane import ControlPlane
from bench.operator import NAIVE, OURS, VARIANTS, WITHOUT_FORKS, Variant
from bench.scene import Numbers, Scene, scene

PERIOD = "60s"
_SETTLE = 5.0  # seconds in which what was found is written down, before rest is measured


@dataclass(frozen=True)
class Sizes:
    """How much of everything. ``idle`` is numbers of resources, each with the seconds to look at them."""

    repeats: int
    few: int
    many: int
    idle: Sequence[tuple[int, float]]
    naive_idle: Sequence[tuple[int, float]]
    repairs: int


FULL = Sizes(5, 12, 100, [(13, 60), (100, 60), (1000, 180)], [(1, 60), (13, 180)], 20)
QUICK = Sizes(1, 2, 4, [(1, 5), (5, 10)], [(1, 70)], 2)


class Bench:
    """The parts, on one control plane. ``say`` tells what is going on."""

    def __init__(self, plane: ControlPlane, sizes: Sizes, logs: Path, say: Callable[[str], None]) -> None:
        self._plane, self._sizes, self._logs, self._say = plane, sizes, logs, say
        self._stack = ExitStack()
        self._fleet: Scene | None = None
        self._fleet_steps: list[Numbers] = []

    def close(self) -> None:
        """End what parts share."""
        self._stack.close()

    def first_pass(self) -> dict[str, Numbers]:
        """One resource after the other, each alone; the median, after one that warms everything up."""
        return {variant.key: self._first_pass(variant) for variant in VARIANTS}

    def few_at_once(self) -> dict[str, Numbers]:
        """Some resources at the same time."""
        return {variant.key: self._at_once(variant, "few", self._sizes.few) for variant in VARIANTS}

    def many_at_once(self) -> dict[str, Numbers]:
        """Many resources at the same time."""
        others = _only_ours(f"{self._sizes.few} at once already show what each costs")
        return {OURS.key: self._at_once(OURS, "many", self._sizes.many), **others}

    def idle(self) -> dict[str, Numbers]:
        """Resources that nobody touches, with a period of a minute."""
        self._ready_fleet()
        naive = []
        with scene(self._plane, NAIVE, "idle", self._logs, PERIOD) as it:
            for count, seconds in self._sizes.naive_idle:
                self._say(f"idle: {count} of {NAIVE.title}")
                it.create(count - len(it.names))
                naive.append(it.rest(seconds))
        return {
            OURS.key: {**self._fleet_steps[-1], "steps": self._fleet_steps},
            WITHOUT_FORKS.key: {"not_run": "no engine runs when nothing changed"},
            NAIVE.key: {**naive[-1], "steps": naive},
        }

    def drift(self) -> dict[str, Numbers]:
        """Objects that somebody deletes or edits while all resources rest; each repair is waited for."""
        fleet = self._ready_fleet()
        self._say(f"drift: {self._sizes.repairs} repairs among {len(fleet.names)}")
        found: Numbers = {"resources": len(fleet.names)}
        names = itertools.cycle(fleet.names[:: max(1, len(fleet.names) // self._sizes.repairs)])
        for how, damage in (("deleted", fleet.delete_service), ("edited", fleet.edit_configuration)):
            seconds = [damage(name) for name in itertools.islice(names, self._sizes.repairs // 2)]
            found |= {f"{how}_median": median(seconds), f"{how}_worst": max(seconds)}
        return {OURS.key: found, **_only_ours("a pass as the first, at the next period")}

    def restart(self) -> dict[str, Numbers]:
        """The operator ends and starts again over the same resources."""
        fleet = self._ready_fleet()
        self._say(f"restart: with {len(fleet.names)}")
        time.sleep(_SETTLE)
        return {OURS.key: fleet.restart(), **_only_ours("a pass as the first for every resource")}

    def _first_pass(self, variant: Variant) -> Numbers:
        with scene(self._plane, variant, "first", self._logs) as it:
            self._say(f"first pass: {variant.title}")
            it.create(1)
            passes = [it.create(1) for _ in range(self._sizes.repeats)]
        return {
            "resources": 1,
            **{name: median(each[name] for each in passes) for name in passes[0] if name != "resources"},
            "all_seconds": [each["seconds"] for each in passes],
        }

    def _at_once(self, variant: Variant, part: str, count: int) -> Numbers:
        with scene(self._plane, variant, part, self._logs) as it:
            self._say(f"{count} at once: {variant.title}")
            it.create(1)
            return it.create(count)

    def _ready_fleet(self) -> Scene:
        """The many resources that several parts look at; what they cost at rest is measured as they grow."""
        if self._fleet is None:
            self._fleet = it = self._stack.enter_context(scene(self._plane, OURS, "idle", self._logs, PERIOD))
            for count, seconds in self._sizes.idle:
                self._say(f"idle: {count} of {OURS.title}")
                created = it.create(count - len(it.names))
                time.sleep(_SETTLE)
                self._fleet_steps.append({**it.rest(seconds), "created": created})
        return self._fleet


def _only_ours(reason: str) -> dict[str, Numbers]:
    return {variant.key: {"not_run": reason} for variant in (WITHOUT_FORKS, NAIVE)}


PARTS: dict[str, Callable[[Bench], dict[str, Numbers]]] = {
    "first-pass": Bench.first_pass,
    "few-at-once": Bench.few_at_once,
    "many-at-once": Bench.many_at_once,
    "idle": Bench.idle,
    "drift": Bench.drift,
    "restart": Bench.restart,
}
