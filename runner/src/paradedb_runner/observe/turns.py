"""
How each resource fares: when its last turn went well, and how many went wrong since.

A counter of failures of all resources together hides one that always fails behind many that never do. A turn
is a pass, a refresh, or a pass left out because it would have found nothing to do: all of them say that the
resource is looked after.

Every replica may remember turns from when it led; only the leader shows them, as with the fields of resources
(field_metrics.py). A restart forgets them, and the next turn, which comes within a period, brings them back.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from paradedb_runner.kube.objects import Key

_LABELS = ("group", "version", "kind", "namespace", "name")


@dataclass
class _Turns:
    good: float | None = None
    failures: int = 0


class TurnCollector(Collector):
    """Remembers turns by resource. ``shown`` tells whether to show them."""

    def __init__(self, shown: Callable[[], bool]) -> None:
        self._shown = shown
        self._of: dict[Key, _Turns] = {}

    def ended(self, key: Key, *, failed: bool) -> None:
        """A turn of a resource ended."""
        turns = self._of.setdefault(key, _Turns())
        if failed:
            turns.failures += 1
        else:
            turns.good, turns.failures = time.time(), 0

    def forget(self, key: Key) -> None:
        """The resource is gone."""
        self._of.pop(key, None)

    def collect(self) -> Iterator[Metric]:
        """All series there are now."""
        good = GaugeMetricFamily(
            "paradedb_runner_resource_last_success_timestamp_seconds",
            "When a pass or refresh over the resource last ended well, or was left out with nothing to do",
            labels=_LABELS,
        )
        failures = GaugeMetricFamily(
            "paradedb_runner_resource_failures",
            "Passes and refreshes over the resource in a row that failed",
            labels=_LABELS,
        )
        for key, turns in list(self._of.items()) if self._shown() else []:
            labels = (*key.gvk, key.namespace, key.name)
            failures.add_metric(labels, turns.failures)
            if turns.good is not None:
                good.add_metric(labels, turns.good)
        yield from (good, failures)
