"""One operator, the namespace that it works in, and what can be done there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import usage
from bench.api import Object
from bench.arrivals import Arrivals, Name, follow
from bench.controlplane import ControlPlane
from bench.kinds import COLLECTIONS, OBJECTS, PARADEDBS, objects_of, paradedb
from bench.operator import Operator, Variant, running
from bench.waiting import until

Numbers = dict[str, Any]
_POSTING = 8  # requests at a time that create resources
_LOOK_AT_MEMORY = 10.0
_REPAIR = 60.0
_RESTART = 300.0


class ContentDiffers(Exception):
    """An operator made other objects than those that are counted."""


@dataclass
class Scene:
    """``patience`` is the longest that one resource may take, in seconds, when they come all at once."""

    plane: ControlPlane
    namespace: str
    operator: Operator
    arrivals: Arrivals
    patience: float
    names: list[str] = field(default_factory=list)

    def create(self, count: int) -> Numbers:
        """Create resources at once and wait for all their objects, then until the operator has nothing to do.

        ``seconds`` ends with the last object; the CPU time is all that it took until the operator was idle.
        """
        added = [f"db-{len(self.names) + number}" for number in range(count)]
        self.names += added
        patience = 60 + count * self.patience
        runs, cpu, api_cpu, began = self._now()
        with ThreadPoolExecutor(_POSTING) as pool:
            list(pool.map(self._post, added))
        wanted = len(self.names) * len(OBJECTS)
        there = self.arrivals.wait(lambda objects: len(objects) >= wanted, patience, "the objects")
        self.operator.wait_idle(patience)
        if self.arrivals.objects.keys() != objects_of(self.names):
            raise ContentDiffers(f"benchmarks/content and bench/kinds.py differ, see {self.namespace}")
        return {"resources": count, "seconds": there - began, **self._since(runs, cpu, api_cpu)}

    def rest(self, seconds: float) -> Numbers:
        """What it costs to do nothing for some time."""
        runs, cpu, api_cpu, began = self._now()
        memory = []
        while (left := began + seconds - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK_AT_MEMORY))
            memory.append(self.operator.memory_mib())
        minutes = (time.monotonic() - began) / 60
        self.operator.read_log()
        used = self._since(runs, cpu, api_cpu)
        return {
            "resources": len(self.names),
            "cpu_seconds_a_minute": used["cpu_seconds"] / minutes,
            "api_cpu_seconds_a_minute": used["api_cpu_seconds"] / minutes,
            "runs_a_minute": used["runs"] / minutes,
            "memory_mib": max(memory),
            "minutes": minutes,
        }

    def delete_service(self, name: str) -> float:
        """Delete a Service; seconds until there is another one."""
        key, path = ("Service", f"{name}-headless"), COLLECTIONS["Service"].format(self.namespace)
        uid, began = self.arrivals.objects[key]["metadata"]["uid"], time.monotonic()
        self.plane.api.request("DELETE", f"{path}/{key[1]}")
        return self._repaired(lambda objects: key in objects and _meta(objects[key])["uid"] != uid) - began

    def edit_configuration(self, name: str) -> float:
        """Edit a ConfigMap; seconds until it is as it was."""
        key, path = ("ConfigMap", f"{name}-config"), COLLECTIONS["ConfigMap"].format(self.namespace)
        data, began = self.arrivals.objects[key]["data"], time.monotonic()
        edit = {"data": {"postgresql.conf": "port = 1\n"}}
        edited = self.plane.api.request("PATCH", f"{path}/{key[1]}", edit, "application/merge-patch+json")
        version = int(_meta(edited)["resourceVersion"])
        back = self._repaired(
            lambda objects: (
                int(_meta(objects[key])["resourceVersion"]) > version and objects[key]["data"] == data
            )
        )
        return back - began

    def restart(self) -> Numbers:
        """Stop the operator and start it again; what it does until it has nothing to do."""
        self.operator.stop()
        began = time.monotonic()
        self.operator.start()
        self.operator.wait_ready()
        through = until(self._through, _RESTART, "the operator to look at every resource")
        idle = self.operator.wait_idle(_RESTART)
        return {
            "resources": len(self.names),
            "runs": self.operator.runs,
            "seconds": max(through, idle) - began,
            "cpu_seconds": self.operator.cpu_seconds(),
        }

    def _through(self) -> float:
        """The time.monotonic at which every resource has had a run or was left alone; 0 before."""
        self.operator.read_log()
        looked_at = self.operator.metric("paradedb_runner_passes_skipped_total") + self.operator.ended
        return time.monotonic() if looked_at >= len(self.names) else 0.0

    def _repaired(self, look: Callable[[dict[Name, Object]], bool]) -> float:
        """Wait for a repair, and until the operator is idle after it; the time.monotonic of the repair."""
        there = self.arrivals.wait(look, _REPAIR, "a repair")
        self.operator.wait_idle(_REPAIR)
        return there

    def _post(self, name: str) -> None:
        self.plane.api.request("POST", PARADEDBS.format(self.namespace), paradedb(name))

    def _now(self) -> tuple[int, float, float, float]:
        return self.operator.runs, self.operator.cpu_seconds(), self._api_cpu(), time.monotonic()

    def _since(self, runs: int, cpu: float, api_cpu: float) -> Numbers:
        return {
            "cpu_seconds": self.operator.cpu_seconds() - cpu,
            "api_cpu_seconds": self._api_cpu() - api_cpu,
            "runs": self.operator.runs - runs,
        }

    def _api_cpu(self) -> float:
        return sum(map(usage.cpu_seconds, self.plane.pids))


def _meta(obj: Object) -> Object:
    meta: Object = obj["metadata"]
    return meta


@contextmanager
def scene(
    plane: ControlPlane, variant: Variant, part: str, logs: Path, period: str = "1h"
) -> Iterator[Scene]:
    """A ready operator in a namespace of its own."""
    namespace = f"{part}-{variant.key}"
    plane.api.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    arrivals = follow(plane.api, namespace)
    with running(plane, variant, namespace, period, logs / f"{namespace}.log") as operator:
        yield Scene(plane, namespace, operator, arrivals, variant.patience)
