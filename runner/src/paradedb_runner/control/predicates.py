"""Which changes of a watched resource are worth a pass."""

from paradedb_runner.kube.objects import Object, is_deleting, metadata
from paradedb_runner.watches.model import Watch


def wants_pass(watch: Watch, old: Object | None, new: Object | None) -> bool:
    """
    A new resource, a new generation, the start of a deletion and the end of the resource count; a status does
    not.

    Kinds without generations count on every change, and annotations where the watch says so. A deletion
    counts whatever the selector says, or its finalizer would wait for ever.
    """
    if new is None:
        return True
    if is_deleting(new):
        return old is None or not is_deleting(old) or _matters(old) != _matters(new)
    labels = metadata(new).get("labels")
    if not watch.selector.matches(labels):
        return False
    if old is None or not watch.selector.matches(metadata(old).get("labels")):
        return True
    generation = metadata(new).get("generation")
    if generation is None:
        return True
    if generation != metadata(old).get("generation"):
        return True
    return watch.watch_annotations_changes and _annotations(old) != _annotations(new)


def _annotations(obj: Object) -> dict[str, str]:
    return metadata(obj).get("annotations") or {}


def _matters(obj: Object) -> tuple[int | None, list[str]]:
    """What may let a finalizer succeed that failed before: a repaired spec, or the end of somebody else's."""
    return metadata(obj).get("generation"), metadata(obj).get("finalizers") or []
