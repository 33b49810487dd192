"""
The watches over what resources own and what they name, and who is told when such an object changes.

One watch serves everybody who wants the same kind, namespace and label selector. A kind that some want
selected and others whole has two: what a selector leaves out shall not reach those who asked for it. Kinds
that runs turn out to touch are added while the controller works.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Protocol

import aiohttp

from paradedb_runner.control.dependents import Dependent, DependentDigest, Effect, effect_of, owners_of
from paradedb_runner.control.references import ReferenceIndex
from paradedb_runner.kube.api import Api, ApiError
from paradedb_runner.kube.informer import Informer
from paradedb_runner.kube.objects import GroupVersionKind, Key
from paradedb_runner.logs import fields
from paradedb_runner.watches.model import Watch

log = logging.getLogger(__name__)


class Related(Protocol):
    """Told what happens to dependents and named objects."""

    def related_changed(self, key: Key, cause: Key, effect: Effect, *, first: bool) -> None:
        """
        ``cause``, which the resource ``key`` owns or names, changed. ``first`` marks what a watch's very
        first list found, which is not news.
        """

    def kinds_changed(self, gvk: GroupVersionKind) -> None:
        """A kind that resources of the kind ``gvk`` own or name is served now, or no longer."""

    def missed(self, gvk: GroupVersionKind, since: float) -> None:
        """
        Since loop time ``since`` objects may have come and gone that resources of the kind ``gvk`` own or
        name.
        """


class DependentIndex:
    """
    Owner to its dependents. A dependent that two watches show, by different selectors, is there twice.
    """

    def __init__(self) -> None:
        self._of: dict[Key, dict[tuple[Key, str], Dependent]] = {}

    def put(self, owner: Key, dependent: Key, selector: str, record: Dependent | None) -> None:
        """Remember a dependent of an owner, or with ``record`` None forget it."""
        if record is not None:
            self._of.setdefault(owner, {})[dependent, selector] = record
        elif owner in self._of:
            self._of[owner].pop((dependent, selector), None)
            if not self._of[owner]:
                del self._of[owner]

    def of(self, owner: Key) -> Mapping[tuple[Key, str], Dependent]:
        """All dependents of an owner, by themselves and the selector that showed them."""
        return self._of.get(owner, {})


class _Source:
    """
    One kind under one selector. ``serves`` are the kinds of owners that depend on it, ``named_by`` the kinds
    whose resources may name its objects.
    """

    def __init__(self, watches: "RelatedWatches", gvk: GroupVersionKind, selector: str) -> None:
        self.gvk, self.selector, self._watches = gvk, selector, watches
        self.serves: set[GroupVersionKind] = set()
        self.named_by: set[GroupVersionKind] = set()
        self.served = True
        self.informers: dict[str, Informer[Dependent]] = {}

    def __call__(
        self, name: tuple[str, str], old: Dependent | None, new: Dependent | None, *, first: bool
    ) -> None:
        cause, effect = Key(self.gvk, *name), effect_of(old, new)
        for owner in owners_of(old, new):
            if owner.gvk in self.serves:
                record = new if new and owner in new.owners else None
                self._watches.dependents.put(owner, cause, self.selector, record)
                self._watches.listener.related_changed(owner, cause, effect, first=first)
        if self.named_by and effect is not Effect.VERSION:
            for key in self._watches.references.namers(cause):
                self._watches.listener.related_changed(key, cause, Effect.CONTENT, first=first)

    def gap(self, since: float) -> None:
        """See informer.Gap."""
        for gvk in self.serves | self.named_by:
            self._watches.listener.missed(gvk, since)

    def came_or_went(self) -> None:
        """The server has the kind now in one of the namespaces, or no longer."""
        served = any(informer.served for informer in self.informers.values())
        if served != self.served:
            self.served = served
            for gvk in self.serves | self.named_by:
                self._watches.listener.kinds_changed(gvk)

    def serve(self, owners: GroupVersionKind) -> None:
        """Count objects for one more kind of owner, those seen before as well."""
        self.serves.add(owners)
        for informer in self.informers.values():
            for name, record in informer.items():
                for owner in record.owners:
                    if owner.gvk == owners:
                        cause = Key(self.gvk, *name)
                        self._watches.dependents.put(owner, cause, self.selector, record)
                        self._watches.listener.related_changed(owner, cause, Effect.APPEARED, first=True)


class RelatedWatches:
    """All watches over dependents and named objects. ``informers`` grows when kinds are added."""

    def __init__(
        self,
        api: Api,
        watches: Mapping[GroupVersionKind, Watch],
        namespaces: tuple[str, ...],
        listener: Related,
    ) -> None:
        self.listener = listener
        self.dependents, self.references = DependentIndex(), ReferenceIndex()
        self.informers: list[Informer[Dependent]] = []
        self._api, self._watches, self._namespaces = api, watches, namespaces
        self._digests = {
            report: DependentDigest(list(watches), api.known_namespaced, reports=report)
            for report in (False, True)
        }
        self._sources: dict[tuple[GroupVersionKind, str], _Source] = {}  # by kind and selector
        self._known: set[tuple[GroupVersionKind, GroupVersionKind]] = set()
        self._group: asyncio.TaskGroup | None = None
        for gvk, watch in watches.items():
            for dependent in watch.dependents:
                source = self._source(dependent.gvk, dependent.selector, namespaces, report=dependent.report)
                source.serves.add(gvk)
            for reference in watch.references:
                self._source(reference.gvk, "", namespaces).named_by.add(gvk)

    async def follow(self) -> None:
        """Keep all watches going, those added later as well."""
        async with asyncio.TaskGroup() as self._group:
            for informer in self.informers:
                self._group.create_task(informer.run())
            await asyncio.Event().wait()

    def find(self, target: Key) -> Dependent | None:
        """What is remembered of a named object."""
        source = self._sources.get((target.gvk, ""))
        if source is None:
            return None
        name = (target.namespace, target.name)
        found = (informer.get(name) for informer in source.informers.values())
        return next((record for record in found if record is not None), None)

    def absent(self, gvk: GroupVersionKind) -> set[GroupVersionKind]:
        """The kinds among ``dependents`` and ``references`` of a watch that the server does not have."""
        watch = self._watches[gvk]
        declared = [(each.gvk, each.selector) for each in watch.dependents]
        declared += [(each.gvk, "") for each in watch.references]
        return {each[0] for each in declared if not self._sources[each].served}

    def depend_on(self, owner: GroupVersionKind, dependent: GroupVersionKind) -> None:
        """
        A run of an ``owner`` created or read a ``dependent``: watch the kind from now on, unless the watch
        forbids it or declares the kind itself, perhaps under a selector.
        """
        watch = self._watches.get(owner)
        if watch is None or self._group is None or (owner, dependent) in self._known:
            return
        self._known.add((owner, dependent))
        declared = [*(each.gvk for each in watch.dependents), *watch.blacklist]
        if watch.watch_dependent_resources and _group_kind(dependent) not in map(_group_kind, declared):
            self._group.create_task(self._add(watch, dependent))

    async def _add(self, watch: Watch, dependent: GroupVersionKind) -> None:
        try:
            resource = await self._api.resource(dependent)
        except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
            self._known.discard((watch.gvk, dependent))
            log.debug("cannot find out about %s yet: %s", dependent, error)
            return
        if not (resource.namespaced or watch.watch_cluster_scoped_resources):
            return
        log.info(
            "watching a kind that a run touched", extra=fields(kind=str(dependent), owner=watch.gvk.kind)
        )
        before = len(self.informers)
        namespaces = self._namespaces if resource.namespaced else ("",)
        self._source(dependent, "", namespaces).serve(watch.gvk)
        assert self._group
        for informer in self.informers[before:]:
            self._group.create_task(informer.run())

    def _source(
        self, gvk: GroupVersionKind, selector: str, namespaces: tuple[str, ...], *, report: bool = False
    ) -> _Source:
        if source := self._sources.get((gvk, selector)):
            return source
        source = self._sources[gvk, selector] = _Source(self, gvk, selector)
        for namespace in namespaces:
            source.informers[namespace] = informer = Informer[Dependent](
                self._api,
                gvk,
                namespace,
                self._digests[report],
                source,
                gap=source.gap,
                came_or_went=source.came_or_went,
                selector=selector,
                metadata_only=True,
                optional=True,
            )
            self.informers.append(informer)
        return source


def _group_kind(gvk: GroupVersionKind) -> tuple[str, str]:
    return gvk.group, gvk.kind
