"""
Names for Kubernetes things. Objects themselves stay raw dicts: no model can lose a field it does not know.
"""

from typing import Any, NamedTuple

Object = dict[str, Any]


class GroupVersionKind(NamedTuple):
    """The type of a resource; ``group`` is empty for core types."""

    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        """The ``apiVersion`` value as manifests write it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def __str__(self) -> str:
        """The form controller metrics use as label value."""
        return f"{self.api_version}, Kind={self.kind}"


class Key(NamedTuple):
    """One resource. ``namespace`` is empty for cluster-scoped ones."""

    gvk: GroupVersionKind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.gvk.kind}.{self.gvk.group} {self.namespace}/{self.name}"


def metadata(obj: Object) -> Object:
    """The metadata of an object; empty if the server sent none."""
    return obj.get("metadata") or {}


def is_deleting(obj: Object) -> bool:
    """Whether the object waits for its finalizers."""
    return bool(metadata(obj).get("deletionTimestamp"))
