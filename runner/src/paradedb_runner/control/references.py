"""
Objects that resources name in their spec without owning them, such as a Secret with a password.

Which resource names what is read from the resource whenever it changes, so a change of a named object is
looked up and not searched for.
"""

from collections.abc import Iterator
from typing import Any

from paradedb_runner.kube.objects import Key, Object
from paradedb_runner.watches.model import Watch


def named_objects(watch: Watch, obj: Object, namespace: str) -> frozenset[Key]:
    """The objects in the namespace that a resource names."""
    return frozenset(
        Key(reference.gvk, namespace, name)
        for reference in watch.references
        for name in names_at(obj, reference.field)
    )


def names_at(obj: Any, field: str) -> Iterator[str]:
    """
    The strings at a path such as ``spec.users[].secretRef.name``. What is missing or of another type is no
    name.
    """
    return (value for value in values_at(obj, field) if isinstance(value, str) and value)


def values_at(obj: Any, field: str) -> Iterator[Any]:
    """What is at a path; nothing where a step is missing, or is not the object or list that the path says."""
    if not field:
        yield obj
        return
    step, _, rest = field.partition(".")
    name = step.removesuffix("[]")
    if not isinstance(obj, dict) or name not in obj:
        return
    if name == step:
        yield from values_at(obj[name], rest)
    elif isinstance(obj[name], list):
        for item in obj[name]:
            yield from values_at(item, rest)


class ReferenceIndex:
    """Who names what, both ways."""

    def __init__(self) -> None:
        self._named: dict[Key, frozenset[Key]] = {}
        self._namers: dict[Key, set[Key]] = {}

    def put(self, resource: Key, named: frozenset[Key]) -> None:
        """Replace what a resource names; nothing if it is gone."""
        old = self._named.pop(resource, frozenset())
        for target in old - named:
            self._namers[target].discard(resource)
            if not self._namers[target]:
                del self._namers[target]
        for target in named - old:
            self._namers.setdefault(target, set()).add(resource)
        if named:
            self._named[resource] = named

    def named(self, resource: Key) -> frozenset[Key]:
        """What a resource names."""
        return self._named.get(resource, frozenset())

    def namers(self, target: Key) -> frozenset[Key]:
        """The resources that name an object."""
        return frozenset(self._namers.get(target, ()))
