"""
Watches over what a run creates: a change to an owned object brings its owner back to the queue.

Of a dependent only a digest and its owners are remembered. That keeps the memory of a watch over every Secret
of a namespace small, and keeps their contents out of it.
"""

import hashlib
import json
from typing import Any, NamedTuple

from paradedb_runner.objects import GroupVersionKind, Key, Object, metadata

_NOISE = ("resourceVersion", "managedFields", "generation")


class Dependent(NamedTuple):
    """What is remembered of one object: a digest of all that matters, status included, and who owns it."""

    digest: bytes
    owners: frozenset[Key]


class DependentDigest:
    """
    Makes Dependent records. ``primaries`` are the kinds whose ownership counts, in the version we watch.
    """

    def __init__(self, primaries: list[GroupVersionKind]) -> None:
        self._primaries = {(gvk.group, gvk.kind): gvk for gvk in primaries}

    def __call__(self, obj: Object) -> Dependent:
        """Digest one object, leaving out what the server changes by itself."""
        meta = {name: value for name, value in metadata(obj).items() if name not in _NOISE}
        normal = json.dumps({**obj, "metadata": meta}, sort_keys=True, separators=(",", ":")).encode()
        return Dependent(hashlib.blake2b(normal, digest_size=16).digest(), frozenset(self._owners(obj)))

    def _owners(self, obj: Object) -> list[Key]:
        meta = metadata(obj)
        return [
            Key(self._primaries[kind], meta.get("namespace", ""), reference["name"])
            for reference in meta.get("ownerReferences") or []
            if (kind := _group_kind(reference)) in self._primaries
        ]


def triggered(old: Dependent | None, new: Dependent | None) -> frozenset[Key]:
    """
    The owners that want a pass: always when an object went away, never when it appeared (a run made it, and
    knows), and otherwise when it differs. Someone who lost or gained the object is told too.
    """
    if old is None:
        return frozenset()
    if new is None:
        return old.owners
    return old.owners | new.owners if old.digest != new.digest else frozenset()


def _group_kind(reference: dict[str, Any]) -> tuple[str, str]:
    return reference["apiVersion"].rpartition("/")[0], reference["kind"]
