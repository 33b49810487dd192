"""
Label selectors (``matchLabels``, ``matchExpressions``), evaluated here so that a deletion can bypass them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_OPERATORS = {"In", "NotIn", "Exists", "DoesNotExist"}


@dataclass(frozen=True)
class Requirement:
    """One condition on one label."""

    label: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """As the API server decides: a missing label satisfies NotIn."""
        present = self.label in labels
        match self.operator:
            case "Exists":
                return present
            case "DoesNotExist":
                return not present
            case "In":
                return present and labels[self.label] in self.values
            case _:
                return not present or labels[self.label] not in self.values


@dataclass(frozen=True)
class Selector:
    """All requirements must hold; no requirement matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        """Whether an object with these labels is selected."""
        return all(requirement.matches(labels or {}) for requirement in self.requirements)


def parse_selector(raw: Mapping[str, Any]) -> Selector:
    """
    Read a metav1.LabelSelector. Raises ValueError for unknown keys or operators: a typo must not select
    everything.
    """
    if unknown := set(raw) - {"matchLabels", "matchExpressions"}:
        raise ValueError(f"unknown keys {sorted(unknown)}")
    labels, expressions = raw.get("matchLabels") or {}, raw.get("matchExpressions") or []
    equal = [Requirement(name, "In", frozenset([value])) for name, value in labels.items()]
    return Selector((*equal, *map(_requirement, expressions)))


def _requirement(raw: Mapping[str, Any]) -> Requirement:
    operator, values = raw.get("operator"), frozenset(raw.get("values") or [])
    if not raw.get("key") or operator not in _OPERATORS:
        raise ValueError(f"{dict(raw)} needs a key and an operator of {sorted(_OPERATORS)}")
    if bool(values) != (operator in {"In", "NotIn"}):
        raise ValueError(f"operator {operator} of label {raw['key']} has the wrong number of values")
    return Requirement(raw["key"], operator, values)
