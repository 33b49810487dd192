"""
What is remembered of an object that somebody depends on, and what a change of it means.

Of an object only digests and its owners are kept. That keeps the memory of a watch over every Secret of a
namespace small, and keeps their contents out of it.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, NamedTuple

from paradedb_runner.kube.objects import GroupVersionKind, Key, Object, metadata
from paradedb_runner.proxy.ownership import PRIMARY, PRIMARY_TYPE

_PARTIAL = "PartialObjectMetadata"
_TELLING = ("uid", "labels", "ownerReferences", "finalizers", "deletionTimestamp")
_NOTES = ("deployment.kubernetes.io/revision",)
"""Annotations that controllers write together with the status: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/"""
_NOT_CONTENT = {"apiVersion", "kind", "metadata", "status"}


class Dependent(NamedTuple):
    """
    One object. ``content`` is a digest of what people and controllers want of it, ``version`` its
    resourceVersion, which also moves with its status.
    """

    content: bytes
    version: str
    owners: tuple[Key, ...]


class Effect(Enum):
    """What happened to an object. A VERSION without its content is a status."""

    APPEARED = "appeared"
    CONTENT = "content"
    VERSION = "version"


class DependentDigest:
    """
    Makes Dependent records. ``primaries`` are the kinds whose ownership counts, in the version we watch;
    ``namespaced`` tells whether objects of such a kind live in namespaces. With ``reports`` the objects are
    written to tell how something is doing, so that all of it but who has them counts as status.
    """

    def __init__(
        self,
        primaries: list[GroupVersionKind],
        namespaced: Callable[[GroupVersionKind], bool] = lambda _: True,
        *,
        reports: bool = False,
    ) -> None:
        self._primaries = {(gvk.group, gvk.kind): gvk for gvk in primaries}
        self._namespaced, self._reports = namespaced, reports

    def __call__(self, obj: Object) -> Dependent:
        """Digest one object, leaving out its status and what the server changes by itself."""
        meta = metadata(obj)
        telling: list[Any] = [[meta.get(name) for name in _TELLING]]
        if not self._reports:
            telling += [_wanted(meta), _rest(obj)]
        normal = json.dumps(telling, sort_keys=True, separators=(",", ":")).encode()
        content = hashlib.blake2b(normal, digest_size=16).digest()
        return Dependent(content, meta.get("resourceVersion", ""), tuple(dict.fromkeys(self._owners(meta))))

    def _owners(self, meta: Object) -> Iterator[Key]:
        for reference in meta.get("ownerReferences") or []:
            group = reference["apiVersion"].rpartition("/")[0]
            if gvk := self._primaries.get((group, reference["kind"])):
                namespace = meta.get("namespace", "") if self._namespaced(gvk) else ""
                yield Key(gvk, namespace, reference["name"])
        annotations = meta.get("annotations") or {}
        kind, _, group = annotations.get(PRIMARY_TYPE, "").partition(".")
        if gvk := self._primaries.get((group, kind)):
            namespace, _, name = annotations.get(PRIMARY, "").rpartition("/")
            yield Key(gvk, namespace, name)


def effect_of(old: Dependent | None, new: Dependent | None) -> Effect:
    """What the difference between two records of one object is; at most one of them is None."""
    if old is None:
        return Effect.APPEARED
    if new is None or old.content != new.content:
        return Effect.CONTENT
    return Effect.VERSION


def owners_of(old: Dependent | None, new: Dependent | None) -> tuple[Key, ...]:
    """Everybody a change concerns: who owns the object now, and who did."""
    return tuple(dict.fromkeys([*(old.owners if old else ()), *(new.owners if new else ())]))


def _wanted(meta: Object) -> dict[str, str]:
    """Annotations without the notes of controllers."""
    return {name: text for name, text in (meta.get("annotations") or {}).items() if name not in _NOTES}


def _rest(obj: Object) -> Any:
    """
    What else tells a change of content: the generation; without one everything but the status; and where
    only metadata was sent, the resourceVersion, since such kinds have no status.
    """
    meta = metadata(obj)
    if "generation" in meta:
        return meta["generation"]
    if obj.get("kind") == _PARTIAL:
        return meta.get("resourceVersion")
    return {name: value for name, value in obj.items() if name not in _NOT_CONTENT}
