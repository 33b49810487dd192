"""
Who owns what a run creates, and how the object says so: a reference that the garbage collector honours where
Kubernetes allows one, operator-sdk's annotations where it does not. Nothing here does I/O.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from paradedb_runner.kube.objects import GroupVersionKind, Key, Object

PRIMARY = "operator-sdk/primary-resource"
PRIMARY_TYPE = "operator-sdk/primary-resource-type"
_STORED = {"get", "delete"}
_EVENTS = {("", "Event"), ("events.k8s.io", "Event")}


class ManifestError(ValueError):
    """The body is no object that could say who owns it."""


class Owner(NamedTuple):
    """The resource a run is for. Without a namespace it is cluster-scoped."""

    key: Key
    uid: str


@dataclass(frozen=True)
class Claim:
    """What an object carries to belong to its owner: references or annotations, never both."""

    references: tuple[Object, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)


def is_ownable(gvk: GroupVersionKind, verbs: frozenset[str]) -> bool:
    """
    Whether objects of a kind stay, so that they can belong to somebody.

    Reviews, bindings and token requests are answers, not objects: one can create them and never see them
    again. Events go away by themselves, and watching them would bring their owner back with each one.
    """
    return verbs >= _STORED and (gvk.group, gvk.kind) not in _EVENTS


def claim(owner: Owner, dependent: Key) -> Claim | None:
    """
    What makes ``dependent`` the owner's; None if it is the owner itself.

    A reference works only towards a cluster-scoped owner or within one namespace: the garbage collector takes
    any other for one to an owner that is gone, and deletes the object.
    """
    if _same(owner.key, dependent):
        return None
    if not owner.key.namespace or owner.key.namespace == dependent.namespace:
        return Claim(references=(_reference(owner),))
    group, _, kind = owner.key.gvk
    return Claim(
        annotations={
            PRIMARY: f"{owner.key.namespace}/{owner.key.name}",
            PRIMARY_TYPE: f"{kind}.{group}" if group else kind,
        }
    )


def lacking(wanted: Claim, body: Object) -> Claim:
    """
    The part of a claim that a body does not have. A body that names a primary resource keeps it, whichever
    it is. Raises ManifestError.
    """
    meta = _part(body, "metadata", dict)
    known = {each.get("uid") for each in _part(meta, "ownerReferences", list) if isinstance(each, dict)}
    annotations = _part(meta, "annotations", dict)
    return Claim(
        tuple(reference for reference in wanted.references if reference["uid"] not in known),
        {} if {PRIMARY, PRIMARY_TYPE} & annotations.keys() else wanted.annotations,
    )


def _reference(owner: Owner) -> Object:
    """
    Neither a controller's nor blocking: the object may have a controller, and the right to block the owner's
    deletion is one that operators often lack.
    """
    gvk, _, name = owner.key
    return {"apiVersion": gvk.api_version, "kind": gvk.kind, "name": name, "uid": owner.uid}


def _same(one: Key, other: Key) -> bool:
    """Whether two keys name one object, in whichever version."""
    return (one.gvk.group, one.gvk.kind, *one[1:]) == (other.gvk.group, other.gvk.kind, *other[1:])


def _part[T: (dict[str, Any], list[Any])](obj: Object, name: str, kind: type[T]) -> T:
    """A member of an object; null is as good as none."""
    part = obj.get(name)
    if part is None:
        return kind()
    if not isinstance(part, kind):
        raise ManifestError(f"{name} is of the wrong type")
    return part
