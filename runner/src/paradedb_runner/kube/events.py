"""Kubernetes Events about a resource, so that ``kubectl describe`` says what went wrong."""

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

import aiohttp

from paradedb_runner.engine.interface import shorten
from paradedb_runner.kube.api import Api, ApiError
from paradedb_runner.kube.objects import Key, Object, metadata
from paradedb_runner.logs import fields

log = logging.getLogger(__name__)

_COMPONENT = "paradedb-runner"
_FORGET_AFTER = 600.0
_REMEMBERED = 1000
_DISTINCT = 10
_COMBINED = "(combined from similar events): "


@dataclass
class _Sent:
    name: str
    count: int = 1


@dataclass
class _Series:
    """Events of one reason about one resource, by message."""

    at: float
    sent: dict[str, _Sent] = field(default_factory=dict)


class EventRecorder:
    """
    Writes events. A repeated one raises the count of the first, and many different ones of the same reason
    are combined, so that a resource failing for days is a handful of objects. A lost event is only logged.
    """

    def __init__(self, api: Api, instance: str) -> None:
        self._api, self._instance = api, instance
        self._series: OrderedDict[tuple[str, str], _Series] = OrderedDict()

    async def warn(self, key: Key, obj: Object, reason: str, message: str) -> None:
        """Publish a Warning about the object."""
        series = self._recent((metadata(obj).get("uid", ""), reason))
        text = shorten(message)
        slot = text if text in series.sent or len(series.sent) < _DISTINCT else _COMBINED
        if slot is _COMBINED:
            text = shorten(_COMBINED + message)
        try:
            await self._publish(key, obj, reason, text, series, slot)
        except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("could not publish event %s: %s", reason, error, extra=fields(key))

    async def _publish(
        self, key: Key, obj: Object, reason: str, text: str, series: _Series, slot: str
    ) -> None:
        namespace = key.namespace or "default"
        path = f"/api/v1/namespaces/{namespace}/events"
        if sent := series.sent.get(slot):
            try:
                body = {"count": sent.count + 1, "lastTimestamp": _now(), "message": text}
                await self._api.patch(f"{path}/{sent.name}", body)
            except ApiError as error:
                if error.status != 404:  # the server forgets events after an hour
                    raise
            else:
                sent.count += 1
                return
        event = self._event(key, obj, reason, text, namespace)
        await self._api.create(path, event)
        series.sent[slot] = _Sent(event["metadata"]["name"])

    def _event(self, key: Key, obj: Object, reason: str, text: str, namespace: str) -> Object:
        meta, now = metadata(obj), _now()
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{key.name[:200]}.{uuid4().hex[:16]}", "namespace": namespace},
            "involvedObject": {
                "apiVersion": key.gvk.api_version,
                "kind": key.gvk.kind,
                "namespace": key.namespace,
                "name": key.name,
                "uid": meta.get("uid", ""),
                "resourceVersion": meta.get("resourceVersion", ""),
            },
            "type": "Warning",
            "reason": reason,
            "message": text,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": _COMPONENT},
            "reportingComponent": _COMPONENT,
            "reportingInstance": self._instance,
        }

    def _recent(self, about: tuple[str, str]) -> _Series:
        now = asyncio.get_running_loop().time()
        series = self._series.pop(about, None)
        if series is None or now - series.at > _FORGET_AFTER:
            series = _Series(now)
        series.at = now
        self._series[about] = series
        if len(self._series) > _REMEMBERED:
            self._series.popitem(last=False)
        return series


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
