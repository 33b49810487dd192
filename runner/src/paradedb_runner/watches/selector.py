"""
Label selectors (``matchLabels``, ``matchExpressions``), evaluated here so that a deletion can bypass them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
_WITH_VALUES = ("In", "NotIn")
_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY = re.compile(rf"([a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_NAME}")
_VALUE = re.compile(rf"({_NAME})?")
_QUERY_PART = re.compile(
    r"\s*(?:(?P<absent>!)\s*(?P<without>[^\s,!=()]+)"
    r"|(?P<key>[^\s,!=()]+)(?:\s*(?P<sign>==|!=|=)\s*(?P<value>[^\s,!=()]*)"
    r"|\s+(?P<word>in|notin)\s*\((?P<values>[^()]*)\))?)\s*"
)


@dataclass(frozen=True)
class Requirement:
    """One condition on one label."""

    label: str
    operator: str
    values: frozenset[str] = frozenset()

    @classmethod
    def of(cls, label: str, operator: str, values: Iterable[str] = ()) -> "Requirement":
        """Make one of what somebody wrote. Raises ValueError: a typo must not select everything."""
        wanted = frozenset(values)
        if not _KEY.fullmatch(label):
            raise ValueError(f'"{label}" is not the key of a label')
        if operator not in _OPERATORS:
            raise ValueError(f'operator "{operator}" is none of {", ".join(_OPERATORS)}')
        if bool(wanted) != (operator in _WITH_VALUES):
            raise ValueError(f"operator {operator} {'takes no' if wanted else 'needs'} values")
        for value in wanted:
            if not _VALUE.fullmatch(value):
                raise ValueError(f'"{value}" cannot be the value of a label')
        return cls(label, operator, wanted)

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


def parse_query(text: str) -> Selector:
    """
    Read a selector as requests to the API server have it: ``a=b,c!=d,e in (x,y),!f``. Raises ValueError.
    """
    requirements, at = [], 0
    while text.strip():
        part = _QUERY_PART.match(text, at)
        if not part or text[part.end() : part.end() + 1] not in {"", ","}:
            raise ValueError(f'"{text}" is not a label selector such as app=web,tier in (a,b)')
        requirements.append(_requirement(part))
        if part.end() == len(text):
            break
        at = part.end() + 1
    return Selector(tuple(requirements))


def _requirement(part: re.Match[str]) -> Requirement:
    if part["absent"]:
        return Requirement.of(part["without"], "DoesNotExist")
    if part["sign"]:
        return Requirement.of(part["key"], "NotIn" if part["sign"] == "!=" else "In", [part["value"]])
    if part["word"]:
        values = (value.strip() for value in part["values"].split(","))
        return Requirement.of(part["key"], "In" if part["word"] == "in" else "NotIn", values)
    return Requirement.of(part["key"], "Exists")
