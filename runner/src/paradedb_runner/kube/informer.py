"""
A reflector and its store: the state of one kind, kept current by list and watch, with changes told as old and
new.

What it guarantees: every difference between two moments is told, also those missed while disconnected, and a
deletion is never lost, because after a gap the list is compared with the store. What came and went within the
gap shows in no list; so a gap is told as well.
"""

import asyncio
import logging
import math
import random
from collections.abc import Callable, Iterator
from contextlib import aclosing
from typing import Any, NamedTuple, Protocol, TypedDict

import aiohttp

from paradedb_runner.kube.api import PAGE_SIZE, Api, ApiError, Resource
from paradedb_runner.kube.backoff import Backoff
from paradedb_runner.kube.objects import GroupVersionKind, Object, metadata
from paradedb_runner.logs import fields

log = logging.getLogger(__name__)

_SERVER_TIMEOUT = (300, 600)  # seconds, chosen at random so that watches do not all end together
_READ_TIMEOUT = 120.0  # twice the interval of bookmarks
_SETTLED = 30.0  # a watch that lived this long was a good one, even if nothing happened


class Change[T](Protocol):
    """
    Told about one object: ``old`` None means it appeared, ``new`` None that it is gone.

    ``first`` marks what the very first list found, which is not news.
    """

    def __call__(self, name: tuple[str, str], old: T | None, new: T | None, *, first: bool) -> None: ...


class Gap(Protocol):
    """
    Told that what was there since loop time ``since`` may have been taken back before anybody saw it: told
    after the differences that a list showed.
    """

    def __call__(self, since: float) -> None: ...


class _StatusHiddenError(Exception):
    """Metadata turned out not to be enough: from now on objects are asked for as a whole."""


class _View(TypedDict):
    """What of the objects the server is asked for."""

    selector: str
    metadata_only: bool


class _Entry[T](NamedTuple):
    uid: str
    resource_version: str
    record: T


class Informer[T]:
    """
    Watches one kind in one namespace (or all). ``keep`` decides what is remembered of an object, so that a
    watch over Secrets need not hold secrets. With ``metadata_only`` they are not even sent, unless objects of
    the kind have a status but no generation: of their metadata a change of the status looks like any other.
    ``optional`` kinds count as synced while the server does not serve them or does not let us see them.
    ``page_size`` is how many objects are in memory at once, as a whole, while they are listed.
    ``came_or_went`` hears when ``served`` changes.
    """

    def __init__(
        self,
        api: Api,
        gvk: GroupVersionKind,
        namespace: str,
        keep: Callable[[Object], T],
        change: Change[T],
        *,
        gap: Gap = lambda since: None,
        came_or_went: Callable[[], None] = lambda: None,
        selector: str = "",
        metadata_only: bool = False,
        optional: bool = False,
        page_size: int = PAGE_SIZE,
        read_timeout: float = _READ_TIMEOUT,
        backoff: Backoff | None = None,
    ) -> None:
        self.gvk, self.namespace, self.selector = gvk, namespace, selector
        self._api, self._keep, self._change, self._optional = api, keep, change, optional
        self._gap, self._came_or_went = gap, came_or_went
        self._metadata_only, self._needs_generation = metadata_only, False
        self._forbidden, self._page_size = False, page_size
        self._read_timeout, self._backoff = read_timeout, backoff or Backoff()
        self._store: dict[tuple[str, str], _Entry[T]] = {}
        self._version: str | None = None
        self._listed_once = False
        self._seen = -math.inf
        self.served = True
        """Whether the server has the kind, as far as we know."""
        self.synced = asyncio.Event()
        self.heard = math.inf
        """Loop time of the last sign of life from the server, once it was asked."""

    def __len__(self) -> int:
        return len(self._store)

    def get(self, name: tuple[str, str]) -> T | None:
        """What is remembered of the object called (namespace, name)."""
        entry = self._store.get(name)
        return entry.record if entry else None

    def items(self) -> Iterator[tuple[tuple[str, str], T]]:
        """Names and what is remembered of them."""
        return ((name, entry.record) for name, entry in self._store.items())

    async def run(self) -> None:
        """Follow the kind for ever; every failure is logged and followed by a growing pause."""
        self._heard()
        while True:
            started, pause_asked = _now(), 0.0
            try:
                await self._follow()
            except _StatusHiddenError:
                self._metadata_only, self._version = False, None
                continue
            except ApiError as error:
                pause_asked = error.retry_after or 0.0
                self._refused(error)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                log.warning("the watch broke: %s", _text(error), extra=self._fields())
            if _now() - started > _SETTLED:
                self._backoff.reset()
            await asyncio.sleep(max(self._backoff.next(), pause_asked))

    async def _follow(self) -> None:
        resource = await self._api.resource(self.gvk)
        path = resource.collection(self.namespace)
        view: _View = {
            "selector": self.selector,
            "metadata_only": self._metadata_only and not resource.hides_status,
        }
        self._needs_generation = view["metadata_only"] and resource.has_status
        if self._version is None:
            await self._list(resource, path, view)
        assert self._version is not None
        server_timeout = random.randint(*_SERVER_TIMEOUT)  # noqa: S311  (spreads load, keeps no secret)
        stream = self._api.watch(
            path, self._version, server_timeout=server_timeout, read_timeout=self._read_timeout, **view
        )
        async with aclosing(stream) as events:
            async for event in events:
                self._apply(event["type"], event["object"])

    async def _list(self, resource: Resource, path: str, view: _View) -> None:
        asked = _now()
        try:
            items, version = await self._read_pages(path, self._page_size, view)
        except ApiError as error:
            if error.status != 410:
                raise
            log.info("the list expired between pages, asking for all at once", extra=self._fields())
            items, version = await self._read_pages(path, 0, view)
        self._replace(items, asked)
        self._version = version
        self._heard()
        self._listed_once, self._forbidden = True, False
        self._serves(True)
        self.synced.set()
        log.info("listed %d objects of %s", len(items), resource.plural, extra=self._fields())

    async def _read_pages(
        self, path: str, page_size: int, view: _View
    ) -> tuple[dict[tuple[str, str], _Entry[T]], str]:
        items: dict[tuple[str, str], _Entry[T]] = {}
        version = ""
        async for page in self._api.pages(path, page_size=page_size, **view):
            version = page["metadata"]["resourceVersion"]
            items.update((_name(obj), self._entry(obj)) for obj in page.get("items") or [])
        return items, version

    def _replace(self, items: dict[tuple[str, str], _Entry[T]], seen: float) -> None:
        """
        Make the store equal to a list that was true at ``seen`` or later, telling every difference, deletions
        first, and then the gap. No event arrives later than a stream may be quiet, so it is no longer.
        """
        for name in [name for name in self._store if name not in items]:
            self._remove(name)
        for name, entry in items.items():
            self._put(name, entry)
        if self._listed_once:
            self._gap(self._seen - self._read_timeout)
        self._seen = seen

    def _apply(self, kind: str, obj: Object) -> None:
        """Take one watch event. Raises ApiError for an ERROR event."""
        self._heard()
        if kind == "ERROR":
            raise ApiError(int(obj.get("code") or 500), str(obj.get("message") or obj.get("reason")))
        self._seen = self.heard
        self._backoff.reset()
        if kind == "DELETED":
            self._remove(_name(obj))
        elif kind != "BOOKMARK":
            self._put(_name(obj), self._entry(obj))
        self._version = metadata(obj)["resourceVersion"]

    def _put(self, name: tuple[str, str], entry: _Entry[T]) -> None:
        old = self._store.get(name)
        if old and old.uid != entry.uid:  # deleted and made again while nobody looked
            self._remove(name)
            old = None
        if old and old.resource_version == entry.resource_version:
            return
        self._store[name] = entry
        self._change(name, old.record if old else None, entry.record, first=not self._listed_once)

    def _remove(self, name: tuple[str, str]) -> None:
        entry = self._store.pop(name, None)
        if entry:
            self._change(name, entry.record, None, first=False)

    def _entry(self, obj: Object) -> _Entry[T]:
        meta = metadata(obj)
        if self._needs_generation and "generation" not in meta:
            raise _StatusHiddenError
        return _Entry(meta["uid"], meta["resourceVersion"], self._keep(obj))

    def _refused(self, error: ApiError) -> None:
        if error.status == 410:
            self._version = None
            log.info("the watch is too old, listing again", extra=self._fields())
        elif error.status == 404:
            self._missing(error)
        elif error.status == 403:
            self._not_allowed(error)
        else:
            log.warning("the API server refused the watch: %s", error, extra=self._fields())

    def _missing(self, error: ApiError) -> None:
        """The kind is not served: not installed yet, or removed, and then its objects are gone as well."""
        self._api.forget_resource(self.gvk)
        self._version = None
        self._heard()
        if self.served:
            self._replace({}, self.heard)
        if self._optional:
            self.synced.set()
            self._listed_once = True
            if self.served:
                log.info("not served, waiting for it: %s", error.message, extra=self._fields())
        else:
            self.synced.clear()
            log.warning("waiting for the kind to be installed: %s", error.message, extra=self._fields())
        self._serves(False)

    def _not_allowed(self, error: ApiError) -> None:
        """
        The server speaks, only not about this kind. What was seen before stays: rights that are being
        replaced are no deletions.
        """
        self._heard()
        self._version = None
        if self._optional:
            self.synced.set()
        else:
            self.synced.clear()
        if not self._forbidden:
            log.warning("may not watch the kind, will ask again: %s", error.message, extra=self._fields())
        self._forbidden = True

    def _serves(self, served: bool) -> None:
        if self.served != served:
            self.served = served
            self._came_or_went()

    def _heard(self) -> None:
        self.heard = _now()

    def _fields(self) -> dict[str, Any]:
        return fields(kind=self.gvk.kind, group=self.gvk.group, namespace=self.namespace)


def _name(obj: Object) -> tuple[str, str]:
    meta = metadata(obj)
    return meta.get("namespace", ""), meta["name"]


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__


def _now() -> float:
    return asyncio.get_running_loop().time()
