"""All watches of a controller together: the resources, what they own and name, and what surrounds them."""

import asyncio
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from paradedb_runner.control.fingerprint import Fingerprint, fingerprint
from paradedb_runner.control.references import named_objects
from paradedb_runner.control.related import Related, RelatedWatches
from paradedb_runner.control.surroundings import Surroundings
from paradedb_runner.control.watch_digest import WatchDigests
from paradedb_runner.kube.api import Api
from paradedb_runner.kube.informer import Change, Informer
from paradedb_runner.kube.objects import GroupVersionKind, Key, Object, is_deleting, metadata
from paradedb_runner.observe.field_metrics import Named, measure
from paradedb_runner.settings import Settings
from paradedb_runner.watches.model import Watch


class Listener(Related, Protocol):
    """Told what happens. ``first`` marks what a watch's very first list found, which is not news."""

    def resource_changed(
        self, watch: Watch, key: Key, old: Object | None, new: Object | None, *, first: bool
    ) -> None:
        """A resource changed; of objects only the metadata is known."""

    def surroundings_changed(self, gvk: GroupVersionKind) -> None:
        """Something changed that concerns all resources of a kind."""


class Watched:
    """Keeps the watches and answers from their stores."""

    def __init__(
        self, api: Api, watches: Mapping[GroupVersionKind, Watch], settings: Settings, listener: Listener
    ) -> None:
        self._watches, self._settings, self._listener = watches, settings, listener
        namespaces = settings.namespaces or ("",)
        self._resources = {
            gvk: [
                Informer[Object](
                    api,
                    gvk,
                    namespace,
                    partial(_essentials, watch),
                    self._handler(watch),
                    gap=partial(listener.missed, gvk),
                )
                for namespace in namespaces
            ]
            for gvk, watch in watches.items()
        }
        self.related = RelatedWatches(api, watches, namespaces, listener)
        self.surroundings = Surroundings(api, watches, listener.surroundings_changed, listener.missed)
        self._digests: dict[GroupVersionKind, str] = {}

    def informers(self) -> list[Informer[Any]]:
        """All watches there are now."""
        return [*self._of_resources(), *self.related.informers, *self.surroundings.informers]

    async def follow(self) -> None:
        """Keep all watches going; those of dependents start when their owners are known."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.surroundings.follow())
            for informer in self._of_resources():
                group.create_task(informer.run())
            for informer in self._of_resources():
                await informer.synced.wait()
            await self.related.follow()

    async def synced(self) -> None:
        """Wait until every watch holds the current state."""
        for informer in self.informers():
            await informer.synced.wait()

    def find(self, key: Key) -> Object | None:
        """The metadata of a resource."""
        found = (informer.get((key.namespace, key.name)) for informer in self._resources[key.gvk])
        return next((obj for obj in found if obj is not None), None)

    def keys(self, gvk: GroupVersionKind) -> dict[str, Key]:
        """All resources of a kind, by uid."""
        return {
            metadata(obj)["uid"]: Key(gvk, *name)
            for informer in self._resources[gvk]
            for name, obj in informer.items()
        }

    def measured(self, gvk: GroupVersionKind) -> Iterator[Named]:
        """What the metrics of the watch show of each of its resources."""
        selector = self._watches[gvk].selector
        for informer in self._resources[gvk]:
            for name, obj in informer.items():
                if selector.matches(metadata(obj).get("labels")):
                    yield name, obj["measured"]

    async def digest_contents(self) -> None:
        """Read what the watches run; before this no fingerprint can be taken."""
        digests = WatchDigests(self._settings, Path.cwd())
        for gvk, watch in self._watches.items():
            if watch.skip_unchanged:
                self._digests[gvk] = await asyncio.to_thread(digests.of, watch)

    def look(self, key: Key) -> Fingerprint | None:
        """The fingerprint of a resource now; None if it is gone or going."""
        obj, finalizer = self.find(key), self._watches[key.gvk].finalizer
        if obj is None or is_deleting(obj):
            return None
        named = self.related.references.named(key)
        return fingerprint(
            obj,
            self._digests[key.gvk],
            finalizer.name if finalizer else None,
            self.related.dependents.of(key),
            [(target, self.related.find(target)) for target in named],
            self.surroundings.digest(key.gvk),
            self.related.absent(key.gvk),
        )

    def _of_resources(self) -> list[Informer[Object]]:
        return [informer for informers in self._resources.values() for informer in informers]

    def _handler(self, watch: Watch) -> Change[Object]:
        def changed(name: tuple[str, str], old: Object | None, new: Object | None, *, first: bool) -> None:
            key = Key(watch.gvk, *name)
            self.related.references.put(key, new["named"] if new else frozenset())
            self._listener.resource_changed(watch, key, old, new, first=first)

        return changed


def _essentials(watch: Watch, obj: Object) -> Object:
    """
    What is remembered of a resource: who changed what of it, its spec and its status are not, except what
    metrics show.
    """
    meta = {name: value for name, value in metadata(obj).items() if name != "managedFields"}
    named = named_objects(watch, obj, meta.get("namespace", ""))
    return {"metadata": meta, "named": named, "measured": measure(watch.metrics, obj)}
