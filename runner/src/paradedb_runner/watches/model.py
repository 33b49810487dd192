"""
What is watched and what runs for it: watches.yaml once it has been read (file.py).

The keys are operator-sdk's, plus ``dependents``, ``references``, ``surroundings``, ``skipUnchanged``,
``refresh``, ``metrics`` and ``injectOwnerRef``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from paradedb_runner.kube.objects import GroupVersionKind
from paradedb_runner.watches.selector import Selector


@dataclass(frozen=True)
class Playbook:
    """A playbook file, absolute."""

    path: Path


@dataclass(frozen=True)
class Role:
    """
    A role: ``name`` is what import_role gets, ``roles_path`` the directory it was found in (None: a
    collection).
    """

    name: str
    roles_path: Path | None

    @property
    def directory(self) -> Path | None:
        """Where its files are, unless a collection has them."""
        return self.roles_path / self.name if self.roles_path else None


Content = Playbook | Role


@dataclass(frozen=True)
class Finalizer:
    """
    What runs before a resource goes away. Without content of its own the main content runs, with
    ``variables``.
    """

    name: str
    content: Content | None
    variables: Mapping[str, Any]


@dataclass(frozen=True)
class DependentKind:
    """
    A kind whose owned objects bring their owner back to the queue; only objects that match count. With
    ``report`` what such an object says is a status: programs tell in it how they are doing.
    """

    gvk: GroupVersionKind
    selector: str = ""
    report: bool = False


@dataclass(frozen=True)
class Reference:
    """
    A kind that resources name in their spec without owning it. ``field`` is the path to the name, as in
    ``spec.auth.secretRef.name``; ``[]`` after a step goes into a list.
    """

    gvk: GroupVersionKind
    field: str


@dataclass(frozen=True)
class Surrounding:
    """
    A cluster-scoped kind whose changes concern every resource of the watch. ``fields`` are the paths that
    count, as in ``spec.unschedulable``; ``[]`` after a step goes into a list.
    """

    gvk: GroupVersionKind
    fields: tuple[str, ...]


@dataclass(frozen=True)
class Refresh:
    """
    A module that renews the status when only the status of dependents or the surroundings changed, without a
    pass. ``period`` is the longest a resource at rest goes without it or a pass, in seconds; 0 is for ever.
    """

    module: str
    arguments: Mapping[str, Any]
    period: float = 0.0


class Reading(StrEnum):
    """How a field becomes the value of a metric, or of several that a label of the same name tells apart."""

    NUMBER = "number"
    TIMESTAMP = "timestamp"
    STATE = "state"
    CONDITIONS = "conditions"


@dataclass(frozen=True)
class FieldMetric:
    """A gauge that shows a field of every resource. ``states`` are the values that a STATE may have."""

    name: str
    description: str
    field: str
    reading: Reading
    states: tuple[str, ...] = ()


@dataclass(frozen=True)
class Watch:
    """One entry of watches.yaml. ``reconcile_period`` is in seconds; None means the flag's."""

    gvk: GroupVersionKind
    content: Content
    variables: Mapping[str, Any] = field(default_factory=dict)
    reconcile_period: float | None = None
    max_runner_artifacts: int = 20
    manage_status: bool = True
    watch_dependent_resources: bool = True
    watch_cluster_scoped_resources: bool = False
    watch_annotations_changes: bool = False
    snake_case_parameters: bool = True
    mark_unsafe: bool = False
    selector: Selector = field(default_factory=Selector)
    blacklist: tuple[GroupVersionKind, ...] = ()
    finalizer: Finalizer | None = None
    dependents: tuple[DependentKind, ...] = ()
    references: tuple[Reference, ...] = ()
    surroundings: tuple[Surrounding, ...] = ()
    skip_unchanged: bool = False
    refresh: Refresh | None = None
    metrics: tuple[FieldMetric, ...] = ()
    inject_owner_ref: bool = True
