"""
Metrics that playbooks publish: JSON over HTTP in, values in the runner's own /metrics out.

The body is the one of ansible-operator, so that ``operator_sdk.util.osdk_metric`` works as it is:
``{"name": ..., "description": ..., "gauge": {"set": 5}}``. Whoever reaches the port may write, so it is on
loopback only; in a pod that is every container of the pod.
"""

import ipaddress
import json
import logging
import math
import re
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
    UnknownMetricFamily,
)
from prometheus_client.registry import Collector

from paradedb_runner.observe.http_server import parse_address, serving

log = logging.getLogger(__name__)

_MOST_METRICS = 1000
_MOST_BYTES = 64 * 1024
_LONGEST_NAME = 200
_LONGEST_DESCRIPTION = 1024
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, math.inf)  # as in Go's client

# What each kind may be asked: an operation with a number, or with true.
_NUMBER, _FLAG = "number", "flag"
_OPERATIONS = {
    "counter": {"increment": _FLAG, "add": _NUMBER},
    "gauge": {
        "set": _NUMBER,
        "increment": _FLAG,
        "decrement": _FLAG,
        "add": _NUMBER,
        "subtract": _NUMBER,
        "set_to_current_time": _FLAG,
    },
    "histogram": {"observe": _NUMBER},
    "summary": {"observe": _NUMBER},
}
_SUFFIXES = {
    "counter": ("", "_total"),
    "gauge": ("",),
    "histogram": ("", "_bucket", "_count", "_sum"),
    "summary": ("", "_count", "_sum"),
}


class Invalid(ValueError):
    """What was sent is refused; the words are for whoever sent it."""


def loopback_address(text: str) -> str:
    """The text when it is an address of this machine alone, or ``0``, which is none. Raises ValueError."""
    place = parse_address(text)
    if place is not None and not _is_loopback(place[0] or ""):
        raise ValueError(f'"{text}" is not a loopback address such as 127.0.0.1:5050')
    return text


@asynccontextmanager
async def serving_user_metrics(registry: CollectorRegistry, address: str) -> AsyncIterator[bool]:
    """
    Take metrics at ``address`` into ``registry`` while the block runs; whether that works. A runner without
    them is better than none, so a port that is taken is only logged.
    """
    async with AsyncExitStack() as stack:
        yield await _start(stack, registry, address)


async def _start(stack: AsyncExitStack, registry: CollectorRegistry, address: str) -> bool:
    if parse_address(loopback_address(address)) is None:
        return False
    try:
        await stack.enter_async_context(serving(user_metrics_app(UserMetrics(registry)), address))
    except OSError as error:
        log.warning("playbooks cannot publish metrics: %s", error)
        return False
    return True


def user_metrics_app(metrics: "UserMetrics") -> web.Application:
    """POST /metrics: 200 when the metric was taken, else 4xx with the reason as text."""

    async def post(request: web.Request) -> web.Response:
        if request.content_type != "application/json":  # a page in somebody's browser cannot send this
            return web.Response(status=415, text="send Content-Type: application/json")
        try:
            metrics.apply(_parse(await request.read()))
        except web.RequestPayloadError:
            return web.Response(status=400, text="the body cannot be read")
        except Invalid as error:
            return web.Response(status=400, text=str(error))
        return web.Response()

    app = web.Application(client_max_size=_MOST_BYTES)
    app.router.add_post("/metrics", post)
    return app


@dataclass
class _Metric:
    """One metric. Of observations, ``counts`` are their numbers by bucket and ``value`` is their sum."""

    kind: str
    description: str
    value: float = 0.0
    counts: list[int] = field(default_factory=lambda: [0] * len(_BUCKETS))


class UserMetrics(Collector):
    """The metrics that were sent, as part of a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._metrics: dict[str, _Metric] = {}
        self._registry = registry
        registry.register(self)

    def apply(self, body: Mapping[str, Any]) -> None:
        """Create the metric that the body names, or change it. Raises Invalid, and then nothing changed."""
        name, kind = _name(body), _kind(body)
        operation = _operation(kind, body[kind])
        metric = self._metrics.get(name) or self._new(name, kind, body)
        if metric.kind != kind:
            raise Invalid(f"{name} is a {metric.kind} and cannot become a {kind}")
        if operation is not None:
            _change(name, metric, *operation)
        self._metrics[name] = metric

    def describe(self) -> list[Metric]:
        """Nothing is there from the start."""
        return []

    def collect(self) -> Iterator[Metric]:
        for name, metric in self._metrics.items():
            yield _family(name, metric)

    def _new(self, name: str, kind: str, body: Mapping[str, Any]) -> _Metric:
        if len(self._metrics) >= _MOST_METRICS:
            raise Invalid(f"there are {_MOST_METRICS} metrics already, which is the limit")
        if taken := sorted(_series(name, kind) & self._taken()):
            raise Invalid(f"{taken[0]} is the name of another metric")
        return _Metric(kind, _description(body))

    def _taken(self) -> set[str]:
        """Every name that /metrics shows, the runner's own included."""
        return {
            name
            for family in self._registry.collect()
            for name in (_series(family.name, family.type) | {sample.name for sample in family.samples})
        }


def _parse(raw: bytes) -> Mapping[str, Any]:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise Invalid("the body is not JSON") from None
    if not isinstance(body, dict):
        raise Invalid("the body is not a JSON object")
    return body


def _name(body: Mapping[str, Any]) -> str:
    name = body.get("name")
    if not isinstance(name, str) or len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise Invalid(
            f"name must be up to {_LONGEST_NAME} letters, digits and underscores, not beginning with a digit"
        )
    return name


def _description(body: Mapping[str, Any]) -> str:
    """One line of printable text: whatever else it holds would break the page for every reader."""
    text = body.get("description", "")
    if not isinstance(text, str) or len(text) > _LONGEST_DESCRIPTION:
        raise Invalid(f"description must be a text of up to {_LONGEST_DESCRIPTION} characters")
    return "".join(char if char.isprintable() else " " for char in text)


def _kind(body: Mapping[str, Any]) -> str:
    kinds = [kind for kind in _OPERATIONS if body.get(kind) is not None]
    if len(kinds) != 1:
        raise Invalid(f"send exactly one of {', '.join(_OPERATIONS)}")
    return kinds[0]


def _operation(kind: str, asked: object) -> tuple[str, float] | None:
    """The operation and its number, None when only the metric shall exist."""
    if not isinstance(asked, dict):
        raise Invalid(f"{kind} is not an object")
    known = _OPERATIONS[kind]
    if unknown := sorted(asked.keys() - known.keys()):
        raise Invalid(f"{kind} has no {unknown[0][:50]!r}, it has {', '.join(known)}")
    given = {
        name: _argument(kind, name, value)
        for name, value in asked.items()
        if value is not None and value is not False
    }
    if len(given) > 1:
        raise Invalid(f"{kind} takes one of {', '.join(known)} at a time")
    return next(iter(given.items()), None)


def _argument(kind: str, name: str, value: object) -> float:
    if _OPERATIONS[kind][name] is _FLAG:
        if value is not True:
            raise Invalid(f"{kind}.{name} must be true or false")
        return 1.0
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Invalid(f"{kind}.{name} must be a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Invalid(f"{kind}.{name} must be a finite number")
    return number


def _change(name: str, metric: _Metric, operation: str, number: float) -> None:
    if metric.kind == "counter" and number < 0:
        raise Invalid(f"{name} is a counter, it cannot decrease")
    match operation:
        case "set":
            value = number
        case "set_to_current_time":
            value = time.time()
        case "decrement" | "subtract":
            value = metric.value - number
        case _:
            value = metric.value + number
    if not math.isfinite(value):
        raise Invalid(f"{name} would no longer be a finite number")
    metric.value = value
    if operation == "observe":
        metric.counts[bisect_left(_BUCKETS, number)] += 1


def _family(name: str, metric: _Metric) -> Metric:
    if metric.kind == "histogram":
        bounds = [f"{bound:g}" for bound in _BUCKETS[:-1]] + ["+Inf"]
        buckets = list(zip(bounds, accumulate(metric.counts), strict=True))
        return HistogramMetricFamily(name, metric.description, buckets, sum_value=metric.value)
    if metric.kind == "summary":
        return SummaryMetricFamily(name, metric.description, sum(metric.counts), metric.value)
    if metric.kind == "gauge":
        return GaugeMetricFamily(name, metric.description, metric.value)
    if name.endswith("_total"):
        return CounterMetricFamily(name, metric.description, metric.value)
    # The client library knows no counter without _total; untyped keeps the name, which dashboards go by.
    return UnknownMetricFamily(name, metric.description, metric.value)


def _series(name: str, kind: str) -> set[str]:
    """The names that a metric takes."""
    return {name + suffix for suffix in _SUFFIXES.get(kind, ("",))}


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
