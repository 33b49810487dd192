"""
Gauges that show fields of the watched resources, as the key ``metrics`` of watches.yaml asks for.

Nothing is pushed and nothing can be out of date: a value is taken from the resource whenever a watch shows
it, and all that is kept of the resource for it are these values. What is shown is what the store of the watch
holds at that moment. So a restart forgets nothing, and the series of a resource end with the resource.

Every replica watches, but only the leader shows the values: so a sum over all replicas counts each resource
once.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from paradedb_runner.control.references import values_at
from paradedb_runner.kube.objects import Object
from paradedb_runner.watches.model import FieldMetric, Reading

_LABELS = ("namespace", "name")
_MORE = {Reading.STATE: ("state",), Reading.CONDITIONS: ("condition",)}
_STATUS = {"True": 1, "False": 0, "Unknown": -1}  # of a condition

Value = float | str | Mapping[str, int] | None
"""A number, a state, or the value of each condition; None if the field is missing or something else."""

Values = tuple[Value, ...]
Named = tuple[tuple[str, str], Values]


def measure(metrics: Sequence[FieldMetric], obj: Object) -> Values:
    """What is to be remembered of a resource: for each metric its value."""
    return tuple(_value(metric, next(values_at(obj, metric.field), None)) for metric in metrics)


class FieldCollector(Collector):
    """
    The metrics of one watch. ``resources`` gives (namespace, name) and values of all resources, ``shown``
    tells whether to show them.
    """

    def __init__(
        self,
        metrics: Sequence[FieldMetric],
        resources: Callable[[], Iterable[Named]],
        shown: Callable[[], bool],
    ) -> None:
        self._metrics, self._resources, self._shown = metrics, resources, shown

    def collect(self) -> Iterator[Metric]:
        """Also metrics without a series, so that their names are known to be taken."""
        resources = list(self._resources()) if self._shown() else []
        for index, metric in enumerate(self._metrics):
            labels = (*_LABELS, *_MORE.get(metric.reading, ()))
            family = GaugeMetricFamily(metric.name, metric.description, labels=labels)
            for name, values in resources:
                for more, number in _series(metric, values[index]):
                    family.add_metric((*name, *more), number)
            yield family


def _value(metric: FieldMetric, found: Any) -> Value:
    match metric.reading:
        case Reading.NUMBER:
            return float(found) if isinstance(found, (int, float)) else None
        case Reading.TIMESTAMP:
            return _timestamp(found)
        case Reading.STATE:
            return sys.intern(found) if isinstance(found, str) else None
        case Reading.CONDITIONS:
            return dict(_conditions(found)) if isinstance(found, list) else None


def _timestamp(found: Any) -> float | None:
    """Seconds since 1970 of a time in the API's notation (RFC 3339), which always has an offset."""
    try:
        time = datetime.fromisoformat(found)
    except (TypeError, ValueError):
        return None
    return time.timestamp() if time.tzinfo else None


def _conditions(found: list[Any]) -> Iterator[tuple[str, int]]:
    for condition in found:
        if isinstance(condition, dict) and isinstance(condition.get("type"), str):
            status = _STATUS.get(str(condition.get("status")))
            if status is not None:
                yield sys.intern(condition["type"]), status


def _series(metric: FieldMetric, value: Value) -> Iterator[tuple[tuple[str, ...], float]]:
    """Values with the labels that tell them apart, beyond those that tell the resource."""
    if isinstance(value, str):
        yield from (((state,), float(state == value)) for state in metric.states)
    elif isinstance(value, Mapping):
        yield from (((condition,), float(status)) for condition, status in value.items())
    elif value is not None:
        yield (), value
