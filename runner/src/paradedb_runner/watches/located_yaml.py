"""YAML that knows the line of every value, so that whoever reads it can say where something is wrong."""

import difflib
import json
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from paradedb_runner.watches.problems import Problem, Severity

_TIMESTAMP = "tag:yaml.org,2002:timestamp"
Place = tuple[str | int, ...]


class YamlError(ValueError):
    """Text that is no YAML; ``line`` counts from 1. The text shows nothing of the document itself."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


@dataclass
class Document:
    """A parsed document: its value, and line and original text by place."""

    value: Any
    lines: dict[Place, int] = field(default_factory=dict)
    texts: dict[Place, str] = field(default_factory=dict)
    repeated: list[tuple[int, str]] = field(default_factory=list)

    def line(self, place: Place) -> int:
        """The line of a place, or of the closest one around it that has a line."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


class _Loader(yaml.SafeLoader):
    """Keeps dates as the text they are, since no consumer of ours knows dates, and notes repeated keys."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.repeated: list[tuple[int, str]] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """As SafeLoader; called before merge keys are resolved, which may repeat what they override."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen and key.value != "<<":
                self.repeated.append((key.start_mark.line, key.value))
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else None)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_document(text: str, line_of: Callable[[int], int] = lambda line: line + 1) -> Document:
    """
    Parse one document; raises YamlError. ``line_of`` turns a line of ``text``, counted from 0, into what a
    person counts.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        document = Document(loader.construct_document(node) if node else None)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(line_of(mark.line if mark else 0), error.problem or "not YAML") from error
    except yaml.reader.ReaderError as error:
        line = line_of(text.count("\n", 0, error.position))
        raise YamlError(line, "there is a character that YAML does not allow") from error
    document.repeated = [(line_of(line), name) for line, name in loader.repeated]
    if node:
        _index(document, node, (), line_of, frozenset())
    return document


def _index(
    document: Document,
    node: yaml.Node,
    place: Place,
    line_of: Callable[[int], int],
    around: frozenset[int],
) -> None:
    """Note line and text of a node and of all inside it; an alias to a node around it is not followed."""
    document.lines.setdefault(place, line_of(node.start_mark.line))
    if isinstance(node, yaml.ScalarNode):
        document.texts[place] = node.value
    if id(node) in around:
        return
    around |= {id(node)}
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            _index(document, child, (*place, index), line_of, around)
    elif isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            if isinstance(key, yaml.ScalarNode):
                inside = (*place, key.value)
                document.lines[inside] = line_of(key.start_mark.line)
                _index(document, child, inside, line_of, around)


@dataclass
class Report:
    """Collects the problems of one document."""

    file: Path
    document: Document
    problems: list[Problem] = field(default_factory=list)

    def add(self, place: Place, severity: Severity, text: str) -> None:
        """Note one problem at a place."""
        self.problems.append(Problem(self.file, self.document.line(place), severity, text))


@dataclass(frozen=True)
class Node:
    """
    A value of a document with its place. What is asked of it in vain is noted in the report, and the default
    returned, so that one look finds all problems.
    """

    value: Any
    place: Place
    report: Report

    def complain(self, text: str, name: str = "", severity: Severity = Severity.ERROR) -> None:
        """Note a problem with the key ``name`` of this mapping, or with the value as a whole."""
        place = (*self.place, name) if name else self.place
        keys = _dotted(place[1:])  # the first step is the entry's number, and the line says that better
        self.report.add(place, severity, f"{keys}: {text}" if keys else text)

    def keys(self, known: Iterable[str], unknown: Severity) -> "Node":
        """
        This mapping with its keys written as ``known``: case does not count, as it does not in operator-sdk.

        Keys that are unknown even so are noted as ``unknown``.
        """
        known = list(known)
        spelled = {name.lower(): name for name in known}
        value = {}
        for raw, item in self.value.items():
            name = spelled.get(str(raw).lower())
            if name is None:
                close = difflib.get_close_matches(str(raw), known, n=1)
                hint = f', did you mean "{close[0]}"?' if close else ""
                self.complain(f"unknown key{hint}", str(raw), unknown)
                continue
            if name != raw:
                self.complain(f'should be written "{name}"', str(raw), Severity.WARNING)
                self._respell(str(raw), name)
            value[name] = item
        return Node(value, self.place, self.report)

    def _respell(self, raw: str, name: str) -> None:
        """Let what is below a key be found under its right name too."""
        document, old, new = self.report.document, (*self.place, raw), (*self.place, name)
        for places in (document.lines, document.texts):
            below = {place: each for place, each in places.items() if place[: len(old)] == old}
            places.update({new + place[len(old) :]: each for place, each in below.items()})  # type: ignore[misc]

    def child(self, name: str) -> "Node":
        """The value of a key; None if there is no such key."""
        return Node(self.value.get(name), (*self.place, name), self.report)

    def text(self, name: str, *, required: bool = False) -> str:
        """A string; numbers and booleans count as the text they were written as."""
        value = self.value.get(name)
        if isinstance(value, (dict, list)):
            self.complain("must be a string", name)
            return ""
        if value is None or value == "":
            if required:
                self.complain(f"{name} is required")
            return ""
        return self.report.document.texts.get((*self.place, str(name)), str(value))

    def flag(self, name: str, default: bool) -> bool:
        """A boolean."""
        value = self.value.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.complain(f"must be true or false, not {self._shown(name)}", name)
            return default
        return value

    def count(self, name: str, default: int) -> int:
        """A whole number, zero or more."""
        value = self.value.get(name)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            self.complain(f"must be a whole number, not {self._shown(name)}", name)
            return default
        return value

    def mapping(self, name: str) -> dict[str, Any]:
        """A mapping of anything that JSON can hold."""
        value = self.value.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.complain("must be a mapping", name)
            return {}
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            self.complain("holds something that JSON cannot express", name)
            return {}
        return value

    def items(self, name: str) -> list["Node"]:
        """A list of mappings."""
        children = self._list(name)
        for child in children:
            if not isinstance(child.value, dict):
                child.complain("must be a mapping")
        return [child for child in children if isinstance(child.value, dict)]

    def texts(self, name: str) -> list[str]:
        """A list of strings."""
        children = self._list(name)
        return [self.report.document.texts.get(child.place, str(child.value)) for child in children]

    def _list(self, name: str) -> list["Node"]:
        value = self.value.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            self.complain("must be a list", name)
            return []
        return [Node(item, (*self.place, name, index), self.report) for index, item in enumerate(value)]

    def _shown(self, name: str) -> str:
        """A scalar as written; of anything larger only what it is."""
        value: Any = self.value[name]
        if isinstance(value, Mapping):
            return "a mapping"
        return "a list" if isinstance(value, list) else json.dumps(value, default=str)


def _dotted(place: Place) -> str:
    """``finalizer.name``, ``dependents[0].kind``."""
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")
