"""Where on disk the roles and playbooks of watches.yaml are."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from paradedb_runner.watches.model import Playbook, Role

_DEFAULT_COLLECTIONS = "/usr/share/ansible/collections:~/.ansible/collections"


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


def find_playbook(playbook: str, paths: SearchPaths) -> Playbook:
    """A playbook by its path, relative to the working directory. Raises ValueError."""
    path = paths.directory / playbook
    if not path.is_file():
        raise ValueError(f"{path} does not exist")
    return Playbook(path)


def find_role(role: str, paths: SearchPaths) -> Role:
    """Find a role by absolute path, collection name, roles path or ``./roles``. Raises ValueError."""
    inside = _in_collections(role, paths)
    if any(path.is_dir() for path in inside):
        return Role(role, None)
    candidates = _in_roles_paths(role, paths)
    for path in candidates:
        if path.is_dir():
            return Role(path.name, path.parent)
    places = ", ".join(map(str, [*inside, *candidates]))
    raise ValueError(f'there is no role "{role}", looked for {places}')


def role_directory(role: Role, paths: SearchPaths) -> Path:
    """Where the files of a role that was found are."""
    return role.directory or next(path for path in _in_collections(role.name, paths) if path.is_dir())


def _in_collections(role: str, paths: SearchPaths) -> list[Path]:
    """Where ``namespace.collection.role`` may be; nowhere for any other name."""
    if role.count(".") != 2:
        return []
    namespace, collection, name = role.split(".")
    inside = Path("ansible_collections", namespace, collection, "roles", name)
    return [root / inside for root in paths.collections]


def _in_roles_paths(role: str, paths: SearchPaths) -> list[Path]:
    if Path(role).is_absolute():
        return [Path(role)]
    named = [found for root in paths.roles for found in (root / role, root / "roles" / role)]
    return [*named, paths.directory / "roles" / role]


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(Path(part).expanduser() for part in text.split(":") if part)
