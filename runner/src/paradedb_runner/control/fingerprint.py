"""Everything that decides what a pass over a resource does, as far as watches show it, in two digests."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from paradedb_runner.control.dependents import Dependent
from paradedb_runner.kube.objects import GroupVersionKind, Key, Object, metadata

_SIZE = 16  # bytes of a digest
_TELLING = ("uid", "annotations", "labels", "deletionTimestamp")


class Fingerprint(NamedTuple):
    """
    One moment of a resource. ``content`` covers what it wants and what its dependents and the objects it
    names are; ``versions`` moves with the status of dependents and with its surroundings as well.
    """

    uid: str
    content: str
    versions: str


def fingerprint(
    obj: Object,
    watch_digest: str,
    finalizer: str | None,
    dependents: Mapping[tuple[Key, str], Dependent],
    named: Iterable[tuple[Key, Dependent | None]],
    surroundings: bytes,
    absent: Iterable[GroupVersionKind] = (),
) -> Fingerprint:
    """
    ``obj`` needs no more than metadata. Without a generation its resourceVersion stands in. A finalizer that
    somebody took away counts as a difference. ``surroundings`` is a digest already. ``absent`` are kinds of
    dependents and named objects that the server does not have.
    """
    meta = metadata(obj)
    content, versions = hashlib.blake2b(digest_size=_SIZE), hashlib.blake2b(digest_size=_SIZE)
    about = [meta.get(name) for name in _TELLING]
    about += [watch_digest, meta.get("generation") or meta.get("resourceVersion")]
    about.append(finalizer is None or finalizer in (meta.get("finalizers") or []))
    about.append(sorted(map(str, absent)))
    content.update(json.dumps(about, sort_keys=True).encode())
    for (key, selector), record in sorted(dependents.items(), key=lambda item: item[0]):
        name = repr((key, selector)).encode()
        content.update(name + record.content)
        versions.update(name + record.version.encode())
    versions.update(surroundings)
    for key, found in sorted(named, key=lambda item: item[0]):
        content.update(repr(key).encode() + (found.content if found else b"-"))
    return Fingerprint(meta.get("uid", ""), content.hexdigest(), versions.hexdigest())
