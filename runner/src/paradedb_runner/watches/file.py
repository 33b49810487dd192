"""Reading watches.yaml: every problem of the file is found in one go, each with its line."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from paradedb_runner.kube.objects import GroupVersionKind
from paradedb_runner.watches.content import SearchPaths, find_playbook, find_role
from paradedb_runner.watches.durations import parse_duration
from paradedb_runner.watches.located_yaml import Document, Node, Report, YamlError, parse_document
from paradedb_runner.watches.metrics import MetricsReader
from paradedb_runner.watches.model import (
    Content,
    DependentKind,
    Finalizer,
    Reference,
    Refresh,
    Surrounding,
    Watch,
)
from paradedb_runner.watches.problems import Problem, Severity
from paradedb_runner.watches.selector import Requirement, Selector, parse_query

_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([^{}\s]+)\})")
_GROUP = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_VERSION = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_QUALIFIED = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_STEP = r"[A-Za-z_][-A-Za-z0-9_]*(\[\])?"
_FIELD = re.compile(rf"spec(\.{_STEP})+")
_PATH = re.compile(rf"{_STEP}(\.{_STEP})*")
_OF_EVERY_WRITE = re.compile(r"metadata(\.(resourceVersion|managedFields)\b.*)?")
_FULL_NAME = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*){2,}")

_GVK_KEYS = ("group", "version", "kind")
KEYS = (
    *_GVK_KEYS,
    *("playbook", "role", "vars", "reconcilePeriod", "maxRunnerArtifacts", "manageStatus"),
    *("watchDependentResources", "watchClusterScopedResources", "watchAnnotationsChanges"),
    *("snakeCaseParameters", "markUnsafe", "selector", "blacklist", "finalizer"),
    *("dependents", "references", "surroundings", "skipUnchanged", "refresh", "metrics", "injectOwnerRef"),
)
_DEFAULT_ARTIFACTS = 20


def read_watches(
    path: Path, environ: Mapping[str, str] | None = None, unknown: Severity = Severity.WARNING
) -> tuple[list[Watch], list[Problem]]:
    """
    Read and check a watches file: the watches that are complete, and all problems in order of their lines.

    ``$NAME`` and ``${NAME}`` are replaced from the environment when set, and left alone when not. Roles and
    playbooks must exist now, so that a broken image fails at start. ``unknown`` is the severity of keys that
    nothing reads; operator-sdk ignores them in silence.
    """
    environ = os.environ if environ is None else environ
    try:
        text, origins, replaced = _expand(path.read_text(encoding="utf-8"), environ)
        document = parse_document(text, lambda line: origins[min(line, len(origins) - 1)])
    except YamlError as error:
        # What YAML says may quote the line, and what the environment put there may be a secret.
        text = "not YAML with its variables replaced" if error.line in replaced else str(error)
        return [], [Problem(path, error.line, Severity.ERROR, text)]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        return [], [Problem(path, 1, Severity.ERROR, f"cannot read the file: {reason}")]
    report = Report(path, document)
    watches = _Reader(report, SearchPaths.from_environment(environ, Path.cwd()), unknown).read()
    report.problems += [
        Problem(path, line, Severity.WARNING, f'"{name}" is there twice, the last one counts')
        for line, name in document.repeated
    ]
    for place, name in _unset(document):
        report.add(
            place, Severity.WARNING, f"${name} is not set in the environment, so it is taken literally"
        )
    return watches, sorted(report.problems, key=lambda problem: problem.line)


class _Reader:
    """Goes through the entries of one file."""

    def __init__(self, report: Report, paths: SearchPaths, unknown: Severity) -> None:
        self._report, self._paths, self._unknown = report, paths, unknown
        self._metrics = MetricsReader(unknown)

    def read(self) -> list[Watch]:
        entries = self._report.document.value
        if not isinstance(entries, list) or not entries:
            self._report.add((), Severity.ERROR, "the file must hold a list of watches")
            return []
        watches: list[Watch] = []
        seen: list[GroupVersionKind] = []
        for index, entry in enumerate(entries):
            node = Node(entry, (index,), self._report)
            if not isinstance(entry, dict):
                node.complain("must be a mapping")
                continue
            node = node.keys(KEYS, self._unknown)
            if gvk := _gvk(node):
                _compare(node, gvk, seen)
                seen.append(gvk)
            if watch := self._watch(node, gvk):
                watches.append(watch)
        return watches

    def _watch(self, node: Node, gvk: GroupVersionKind | None) -> Watch | None:
        content = self._content(node)
        if content is None and not node.value.get("playbook") and not node.value.get("role"):
            node.complain("one of role and playbook is required")
        rest: dict[str, Any] = {
            "variables": node.mapping("vars"),
            "reconcile_period": _period(node),
            "max_runner_artifacts": node.count("maxRunnerArtifacts", 0) or _DEFAULT_ARTIFACTS,
            "manage_status": node.flag("manageStatus", True),
            "watch_dependent_resources": node.flag("watchDependentResources", True),
            "watch_cluster_scoped_resources": node.flag("watchClusterScopedResources", False),
            "watch_annotations_changes": node.flag("watchAnnotationsChanges", False),
            "snake_case_parameters": node.flag("snakeCaseParameters", True),
            "mark_unsafe": node.flag("markUnsafe", False),
            "selector": self._selector(node),
            "blacklist": tuple(gvk for _, gvk in self._kinds(node, "blacklist")),
            "finalizer": self._finalizer(node),
            "dependents": self._dependents(node),
            "references": self._references(node),
            "surroundings": self._surroundings(node),
            "skip_unchanged": node.flag("skipUnchanged", False),
            "refresh": self._refresh(node),
            "metrics": self._metrics.read(node),
            "inject_owner_ref": node.flag("injectOwnerRef", True),
        }
        return Watch(gvk, content, **rest) if gvk and content else None

    def _content(self, node: Node) -> Content | None:
        """The playbook, or the role; the playbook wins if both are there."""
        playbook, role = node.text("playbook"), node.text("role")
        if playbook:
            if role:
                node.complain("is ignored, since there is a playbook too", "role", Severity.WARNING)
            return _checked(node, "playbook", find_playbook, playbook, self._paths)
        return _checked(node, "role", find_role, role, self._paths) if role else None

    def _finalizer(self, node: Node) -> Finalizer | None:
        raw = self._sub(node, "finalizer", ("name", "playbook", "role", "vars"))
        if raw is None:
            return None
        name, content, variables = raw.text("name", required=True), self._content(raw), raw.mapping("vars")
        if name and not _QUALIFIED.fullmatch(name):
            raw.complain(f'"{name}" is not allowed as the name of a finalizer', "name")
        elif name and "/" not in name:
            text = f'"{name}" should be domain/name, such as example.com/finalizer; the API server warns'
            raw.complain(text, "name", Severity.WARNING)
        if not any(raw.value.get(key) for key in ("playbook", "role", "vars")):
            raw.complain("one of role, playbook and vars is required")
        return Finalizer(name, content, variables)

    def _selector(self, node: Node) -> Selector:
        raw = self._sub(node, "selector", ("matchLabels", "matchExpressions"))
        if raw is None:
            return Selector()
        found: list[Requirement | None] = []
        labels = raw.child("matchLabels")
        for label in raw.mapping("matchLabels"):
            value = labels.text(label)
            found.append(_checked(labels, str(label), Requirement.of, str(label), "In", [value]))
        for item in raw.items("matchExpressions"):
            one = item.keys(("key", "operator", "values"), Severity.ERROR)
            label, operator, values = one.text("key"), one.text("operator"), one.texts("values")
            found.append(_checked(one, "", Requirement.of, label, operator, values))
        return Selector(tuple(each for each in found if each))

    def _dependents(self, node: Node) -> tuple[DependentKind, ...]:
        dependents = []
        for item, gvk in self._kinds(node, "dependents", "selector", "report"):
            selector = item.text("selector")
            _checked(item, "selector", parse_query, selector)
            dependents.append(DependentKind(gvk, selector, item.flag("report", default=False)))
        return tuple(dependents)

    def _references(self, node: Node) -> tuple[Reference, ...]:
        references = []
        for item, gvk in self._kinds(node, "references", "field"):
            path = item.text("field", required=True)
            if path and not _FIELD.fullmatch(path):
                item.complain(f'"{path}" is not a path such as spec.auth.secretRef.name', "field")
            references.append(Reference(gvk, path))
        return tuple(references)

    def _surroundings(self, node: Node) -> tuple[Surrounding, ...]:
        surroundings = []
        for item, gvk in self._kinds(node, "surroundings", "fields"):
            paths = item.texts("fields")
            if not paths and isinstance(item.value.get("fields") or [], list):
                item.complain("fields is required, since not every change may count")
            for index, path in enumerate(paths):
                if problem := _path_problem(path):
                    Node(path, (*item.place, "fields", index), item.report).complain(f'"{path}" {problem}')
            surroundings.append(Surrounding(gvk, tuple(paths)))
        return tuple(surroundings)

    def _refresh(self, node: Node) -> Refresh | None:
        raw = self._sub(node, "refresh", ("module", "args", "period"))
        if raw is None:
            return None
        if not node.value.get("skipUnchanged"):
            raw.complain("is never run without skipUnchanged", severity=Severity.WARNING)
        module = raw.text("module", required=True)
        if module and not _FULL_NAME.fullmatch(module):
            raw.complain(f'"{module}" is not the full name of a module, namespace.collection.name', "module")
        period = _checked(raw, "period", parse_duration, raw.text("period") or "0s") or 0.0
        return Refresh(module, raw.mapping("args"), period)

    def _kinds(self, node: Node, name: str, *more: str) -> Iterator[tuple[Node, GroupVersionKind]]:
        """Items of a list that name a kind."""
        for item in node.items(name):
            known = item.keys((*_GVK_KEYS, *more), self._unknown)
            if gvk := _gvk(known):
                yield known, gvk

    def _sub(self, node: Node, name: str, known: tuple[str, ...]) -> Node | None:
        """A mapping below the entry; None if it is missing, empty or none."""
        if not node.mapping(name):
            return None
        return node.child(name).keys(known, Severity.ERROR if name == "selector" else self._unknown)


def _gvk(node: Node) -> GroupVersionKind | None:
    group, version, kind = node.text("group"), *(node.text(key, required=True) for key in ("version", "kind"))
    if not version or not kind:
        return None
    wrong = [
        name
        for name, text, pattern in (
            ("group", group, _GROUP),
            ("version", version, _VERSION),
            ("kind", kind, _KIND),
        )
        if text and not pattern.fullmatch(text)
    ]
    for name in wrong:
        node.complain(f'"{node.text(name)}" cannot be the {name} of a kind', name)
    return None if wrong else GroupVersionKind(group, version, kind)


def _path_problem(path: str) -> str:
    """What is wrong with a path to a field whose changes count."""
    if not _PATH.fullmatch(path):
        return "is not a path such as spec.unschedulable"
    return "changes whenever the status does" if _OF_EVERY_WRITE.fullmatch(path) else ""


def _compare(node: Node, gvk: GroupVersionKind, others: list[GroupVersionKind]) -> None:
    if gvk in others:
        node.complain(f"{gvk} is watched twice", "kind")
    elif any((gvk.group, gvk.kind) == (other.group, other.kind) for other in others):
        twice = f"{gvk.kind} is watched in two versions, so two passes work on every resource"
        node.complain(twice, "version", Severity.WARNING)


def _period(node: Node) -> float | None:
    """The period in seconds. ``0s`` means no periodic pass, which operator-sdk ignores by mistake (D14)."""
    text = node.text("reconcilePeriod")
    if not text:
        return None
    period = _checked(node, "reconcilePeriod", parse_duration, text)
    if period == 0:
        node.complain(
            "0s turns periodic passes off; operator-sdk takes it for unset", "reconcilePeriod", Severity.NOTE
        )
    return period


def _checked[**P, T](
    node: Node, name: str, parse: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T | None:
    """What ``parse`` makes of a value; its ValueError is a problem of the key ``name``."""
    try:
        return parse(*args, **kwargs)
    except ValueError as error:
        node.complain(str(error), name)
    return None


def _expand(text: str, environ: Mapping[str, str]) -> tuple[str, list[int], set[int]]:
    """
    The text with variables replaced, for each of its lines the line of the file it comes from, and the lines
    of the file that had variables to replace.
    """
    expanded, origins, replaced = "", [], set()
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        new = _VARIABLE.sub(lambda match: environ.get(match[1] or match[2], match[0]), line)
        expanded += new
        if new != line:
            replaced.add(number)
        origins += [number] * (new.count("\n") or 1)
    return expanded, origins or [1], replaced


def _unset(document: Document) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """References that were left: what is set was replaced before, and comments are no longer there."""
    for place, text in document.texts.items():
        for match in _VARIABLE.finditer(text):
            yield place, match[1] or f"{{{match[2]}}}"
