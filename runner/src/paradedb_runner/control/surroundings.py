"""
Kinds whose changes concern every resource of a watch, though nobody owns or names their objects: a node that
is cordoned, say, concerns every database.

Only the fields that the watch names count. Of each object one digest of them is kept, and of all objects
together one as well, which is part of the resources' fingerprints (fingerprint.py). It depends on the objects
alone, not on the order in which they came, so after a restart it is the same.

All resources are told in rounds: objects that change together, as the nodes of a pool do, make one round, and
objects that change without end make no more of them than the pause between two rounds allows. What is told
late is not seen late: whoever gets a turn meanwhile is compared with the digest of that moment.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping

from paradedb_runner.control.references import values_at
from paradedb_runner.kube.api import Api
from paradedb_runner.kube.informer import Informer
from paradedb_runner.kube.objects import GroupVersionKind, Object, metadata
from paradedb_runner.watches.model import Watch

_SIZE = 16  # bytes of a digest
_GATHER = 0.5  # seconds in which changes become one round
_PAUSE = 5.0  # seconds between two rounds
_SILENT = b""  # the digest of an object that has none of the fields
_PAGE_SIZE = 50  # objects are read whole, and a node's are large: it lists its images

Fields = tuple[str, ...]
Digests = tuple[bytes, ...]


class _Source:
    """One kind. ``wanted`` are the fields that count, and for which kinds of resources."""

    def __init__(
        self,
        api: Api,
        gvk: GroupVersionKind,
        changed: Callable[[GroupVersionKind, bool], None],
        missed: Callable[[GroupVersionKind, float], None],
    ) -> None:
        self._changed, self._missed = changed, missed
        self.wanted: dict[Fields, set[GroupVersionKind]] = {}
        self.informer = Informer[Digests](
            api, gvk, "", self._keep, self._compare, gap=self._gap, optional=True, page_size=_PAGE_SIZE
        )

    def digest(self, fields: Fields) -> bytes:
        """One digest of these fields of all objects."""
        index, total = list(self.wanted).index(fields), hashlib.blake2b(digest_size=_SIZE)
        for name, digests in sorted(self.informer.items()):
            if digests[index] != _SILENT:
                total.update(repr(name).encode() + digests[index])
        return total.digest()

    def _keep(self, obj: Object) -> Digests:
        return tuple(_digest(obj, fields) for fields in self.wanted)

    def _gap(self, since: float) -> None:
        for gvk in set().union(*self.wanted.values()):
            self._missed(gvk, since)

    def _compare(
        self, name: tuple[str, str], old: Digests | None, new: Digests | None, *, first: bool
    ) -> None:
        for index, resources in enumerate(self.wanted.values()):
            if (old[index] if old else _SILENT) != (new[index] if new else _SILENT):
                for gvk in resources:
                    self._changed(gvk, first)


class Surroundings:
    """
    The watches over such kinds, one for each. ``tell`` hears which kind's resources a round concerns,
    ``missed`` which kind's resources something concerned that may have come and gone since a loop time.
    """

    def __init__(
        self,
        api: Api,
        watches: Mapping[GroupVersionKind, Watch],
        tell: Callable[[GroupVersionKind], None],
        missed: Callable[[GroupVersionKind, float], None],
    ) -> None:
        self._api, self._watches, self._tell, self._missed = api, watches, tell, missed
        self._sources: dict[GroupVersionKind, _Source] = {}
        self._digests: dict[GroupVersionKind, bytes] = {}
        self._untold: set[GroupVersionKind] = set()
        self._news = asyncio.Event()
        for gvk, watch in watches.items():
            for each in watch.surroundings:
                self._source(each.gvk).wanted.setdefault(each.fields, set()).add(gvk)

    @property
    def informers(self) -> list[Informer[Digests]]:
        """All watches."""
        return [source.informer for source in self._sources.values()]

    async def follow(self) -> None:
        """Keep all watches going, and tell."""
        async with asyncio.TaskGroup() as group:
            for informer in self.informers:
                group.create_task(informer.run())
            group.create_task(self._tell_in_rounds())

    def digest(self, gvk: GroupVersionKind) -> bytes:
        """What surrounds the resources of a kind now; empty if their watch does not care."""
        if gvk not in self._digests:
            wanted = self._watches[gvk].surroundings
            parts = [repr(each).encode() + self._sources[each.gvk].digest(each.fields) for each in wanted]
            self._digests[gvk] = b"".join(parts)
        return self._digests[gvk]

    async def _tell_in_rounds(self) -> None:
        while True:
            await self._news.wait()
            await asyncio.sleep(_GATHER)
            self._news.clear()
            untold, self._untold = self._untold, set()
            for gvk in untold:
                self._tell(gvk)
            await asyncio.sleep(_PAUSE)

    def _changed(self, gvk: GroupVersionKind, first: bool) -> None:
        """As with dependents, what a watch's very first list found is not news."""
        self._digests.pop(gvk, None)
        if not first:
            self._untold.add(gvk)
            self._news.set()

    def _source(self, gvk: GroupVersionKind) -> _Source:
        if gvk not in self._sources:
            self._sources[gvk] = _Source(self._api, gvk, self._changed, self._missed)
        return self._sources[gvk]


def _digest(obj: Object, fields: Fields) -> bytes:
    """
    Of one object: whether it is still the same one, and its fields. One that has none of them says nothing,
    so that it comes and goes unnoticed: the nodes of a cluster that grows and shrinks all day, say.
    """
    values = [list(values_at(obj, field)) for field in fields]
    if not any(values):
        return _SILENT
    telling = [metadata(obj).get("uid"), values]
    return hashlib.blake2b(json.dumps(telling, sort_keys=True).encode(), digest_size=_SIZE).digest()
