"""
watches.yaml: which kinds are watched and what runs for each. The format is operator-sdk's, plus
``dependents``.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from paradedb_runner.durations import parse_duration
from paradedb_runner.objects import GroupVersionKind
from paradedb_runner.selector import Selector, parse_selector

_DEFAULT_COLLECTIONS = "/usr/share/ansible/collections:~/.ansible/collections"
_REFERENCE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
_KNOWN_KEYS = {
    *("version", "group", "kind", "playbook", "role", "vars", "reconcilePeriod", "maxRunnerArtifacts"),
    *("manageStatus", "watchDependentResources", "watchClusterScopedResources", "watchAnnotationsChanges"),
    *("snakeCaseParameters", "markUnsafe", "selector", "blacklist", "finalizer", "dependents"),
}


class WatchesError(ValueError):
    """watches.yaml cannot be used; the text names the entry and the key."""


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
    dependents: tuple[GroupVersionKind, ...] = ()


@dataclass(frozen=True)
class SearchPaths:
    """Where roles are looked for, in operator-sdk's order: collections, roles paths, then ``./roles``."""

    roles: tuple[Path, ...]
    collections: tuple[Path, ...]
    directory: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], directory: Path) -> "SearchPaths":
        """Read ANSIBLE_ROLES_PATH and ANSIBLE_COLLECTIONS_PATH."""
        collections = environ.get("ANSIBLE_COLLECTIONS_PATH") or _DEFAULT_COLLECTIONS
        return cls(_paths(environ.get("ANSIBLE_ROLES_PATH", "")), _paths(collections), directory)


def load_watches(path: Path, environ: Mapping[str, str] | None = None) -> list[Watch]:
    """
    Read and check a watches file. Roles and playbooks must exist now, so that a broken image fails at start.

    ``$NAME`` and ``${NAME}`` are replaced from the environment when set, and left alone when not.
    """
    environ = os.environ if environ is None else environ
    try:
        entries = yaml.safe_load(_expand(path.read_text(), environ))
    except (OSError, yaml.YAMLError) as error:
        raise WatchesError(f"cannot read {path}: {error}") from error
    if not isinstance(entries, list) or not entries:
        raise WatchesError(f"{path} must hold a list of watches")
    paths = SearchPaths.from_environment(environ, Path.cwd())
    watches = [_watch(entry, f"{path}, entry {index}", paths) for index, entry in enumerate(entries, 1)]
    _reject_duplicates(watches)
    return watches


def unknown_keys(path: Path) -> list[str]:
    """
    Keys of the file nobody reads. operator-sdk ignores them in silence; here they are at least said in the
    log.
    """
    entries = yaml.safe_load(path.read_text())
    return sorted({str(name) for entry in entries for name in entry} - _KNOWN_KEYS)


def _watch(entry: Any, where: str, paths: SearchPaths) -> Watch:
    if not isinstance(entry, dict):
        raise WatchesError(f"{where}: not a mapping")
    gvk = _gvk(entry, where)
    where = f"{where} ({gvk.kind})"
    content = _content(entry, where, paths)
    if content is None:
        raise WatchesError(f"{where}: one of role and playbook is required")
    return Watch(
        gvk=gvk,
        content=content,
        variables=_typed(entry, "vars", dict, {}, where),
        reconcile_period=_period(entry, where),
        max_runner_artifacts=_typed(entry, "maxRunnerArtifacts", int, 20, where) or 20,
        manage_status=_typed(entry, "manageStatus", bool, True, where),
        watch_dependent_resources=_typed(entry, "watchDependentResources", bool, True, where),
        watch_cluster_scoped_resources=_typed(entry, "watchClusterScopedResources", bool, False, where),
        watch_annotations_changes=_typed(entry, "watchAnnotationsChanges", bool, False, where),
        snake_case_parameters=_typed(entry, "snakeCaseParameters", bool, True, where),
        mark_unsafe=_typed(entry, "markUnsafe", bool, False, where),
        selector=_checked(parse_selector, entry.get("selector") or {}, f"{where}: selector"),
        blacklist=_gvks(entry, "blacklist", where),
        finalizer=_finalizer(entry, where, paths),
        dependents=_gvks(entry, "dependents", where),
    )


def _gvk(entry: Mapping[str, Any], where: str) -> GroupVersionKind:
    for name in ("version", "kind"):
        if not entry.get(name):
            raise WatchesError(f"{where}: {name} is required")
    return GroupVersionKind(str(entry.get("group") or ""), str(entry["version"]), str(entry["kind"]))


def _gvks(entry: Mapping[str, Any], name: str, where: str) -> tuple[GroupVersionKind, ...]:
    return tuple(_gvk(item, f"{where}: {name}") for item in _typed(entry, name, list, [], where))


def _finalizer(entry: Mapping[str, Any], where: str, paths: SearchPaths) -> Finalizer | None:
    raw = _typed(entry, "finalizer", dict, {}, where)
    if not raw:
        return None
    where = f"{where}: finalizer"
    if not raw.get("name"):
        raise WatchesError(f"{where}: name is required")
    content, variables = _content(raw, where, paths), _typed(raw, "vars", dict, {}, where)
    if content is None and not variables:
        raise WatchesError(f"{where}: one of role, playbook and vars is required")
    return Finalizer(raw["name"], content, variables)


def _content(entry: Mapping[str, Any], where: str, paths: SearchPaths) -> Content | None:
    """The playbook, or the role; the playbook wins if both are there."""
    if playbook := entry.get("playbook"):
        path = paths.directory / playbook
        if not path.is_file():
            raise WatchesError(f"{where}: playbook {path} does not exist")
        return Playbook(path)
    if role := entry.get("role"):
        return find_role(role, paths, where)
    return None


def find_role(role: str, paths: SearchPaths, where: str) -> Role:
    """
    Find a role by absolute path, collection name, roles path or ``./roles``. Raises WatchesError if it is
    nowhere.
    """
    if Path(role).is_absolute():
        candidates: Iterable[Path] = [Path(role)]
    else:
        if role.count(".") == 2:
            namespace, collection, name = role.split(".")
            inside = Path("ansible_collections", namespace, collection, "roles", name)
            if any((root / inside).is_dir() for root in paths.collections):
                return Role(role, None)
        candidates = [
            *(found for root in paths.roles for found in (root / role, root / "roles" / role)),
            paths.directory / "roles" / role,
        ]
    for candidate in candidates:
        if candidate.is_dir():
            return Role(candidate.name, candidate.parent)
    raise WatchesError(
        f"{where}: role {role} was not found in {', '.join(map(str, candidates))} or a collection"
    )


def _period(entry: Mapping[str, Any], where: str) -> float | None:
    """
    The period in seconds. ``0s`` means what it says, no periodic pass: operator-sdk ignores it by mistake.
    """
    text = _typed(entry, "reconcilePeriod", str, "", where)
    return _checked(parse_duration, text, f"{where}: reconcilePeriod") if text else None


def _typed[T](entry: Mapping[str, Any], name: str, wanted: type[T], default: T, where: str) -> T:
    value = entry.get(name)
    if value is None:
        return default
    if not isinstance(value, wanted) or (wanted is int and (isinstance(value, bool) or int(str(value)) < 0)):
        raise WatchesError(f"{where}: {name} must be of type {wanted.__name__}, not {value!r}")
    return value


def _checked[A, B](parse: Callable[[A], B], value: A, where: str) -> B:
    try:
        return parse(value)
    except ValueError as error:
        raise WatchesError(f"{where}: {error}") from error


def _reject_duplicates(watches: list[Watch]) -> None:
    seen: set[GroupVersionKind] = set()
    for watch in watches:
        if watch.gvk in seen:
            raise WatchesError(f"{watch.gvk} is watched twice")
        seen.add(watch.gvk)


def _expand(text: str, environ: Mapping[str, str]) -> str:
    return _REFERENCE.sub(lambda match: environ.get(match[1] or match[2], match[0]), text)


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(Path(part).expanduser() for part in text.split(":") if part)
