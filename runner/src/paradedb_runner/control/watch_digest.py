"""
A digest of what a watch runs: its files, the collections they use, its variables and our environment.

A new image, another argument or another variable of the operator's pod changes it, and with it what is known
about every resource of the watch. It is computed once, at start.
"""

import hashlib
import json
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from paradedb_runner.settings import Settings
from paradedb_runner.version import VERSION
from paradedb_runner.watches.content import SearchPaths
from paradedb_runner.watches.model import Content, Playbook, Watch

_PACKAGES = ("ansible-core", "ansible", "kubernetes")
_OF_THE_POD = re.compile(
    r"(HOSTNAME|PWD|OLDPWD|SHLVL|_|TMPDIR|.*_SERVICE_(HOST|PORT(_.*)?)|.*_PORT_\d+_(TCP|UDP|SCTP)(_.*)?)=.*"
    r"|.*_PORT=(tcp|udp|sctp)://.*",
    re.DOTALL,
)


class WatchDigests:
    """Computes digests; trees that several watches share are read once."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        """``directory`` is what relative paths start from."""
        self._settings, self._directory = settings, directory
        self._paths = SearchPaths.from_environment(settings.environ, directory)
        self._trees: dict[Path, str] = {}

    def of(self, watch: Watch) -> str:
        """The digest of one watch."""
        about = [
            VERSION,
            [_version(name) for name in _PACKAGES],
            sorted(_telling(self._settings.environ).items()),
            self._settings.ansible_arguments,
            watch.variables,
            [str(watch.content), watch.snake_case_parameters, watch.mark_unsafe, self._injects(watch)],
            [(str(root), self._tree(root)) for root in self._roots(watch.content)],
        ]
        return hashlib.blake2b(json.dumps(about, default=str).encode(), digest_size=16).hexdigest()

    def _injects(self, watch: Watch) -> bool:
        return watch.inject_owner_ref and self._settings.inject_owner_ref

    def _roots(self, content: Content) -> Iterator[Path]:
        if isinstance(content, Playbook):
            yield content.path if content.path.parent == Path("/") else content.path.parent
        elif content.directory:
            yield content.directory
        yield from self._paths.roles
        yield self._directory / "roles"
        yield from _settings_files(self._settings.environ)
        yield from _named_files(self._settings.ansible_arguments, self._directory)
        yield from (root / "ansible_collections" for root in self._paths.collections)
        if self._settings.inventory:
            yield self._settings.inventory

    def _tree(self, root: Path) -> str:
        if root not in self._trees:
            digest = hashlib.blake2b(digest_size=16)
            for file in _files(root, set()):
                digest.update(f"{file.relative_to(root)}\0".encode() + _file(file))
            self._trees[root] = digest.hexdigest()
        return self._trees[root]


def _settings_files(environ: Mapping[str, str]) -> list[Path]:
    """Where Ansible looks for its settings; runs start in a directory that has none."""
    named = environ.get("ANSIBLE_CONFIG")
    return [Path(each).expanduser() for each in (named, "~/.ansible.cfg", "/etc/ansible/ansible.cfg") if each]


def _named_files(arguments: Iterable[str], directory: Path) -> list[Path]:
    """Files among the arguments of Ansible, as in ``-e @vars.yml`` and ``--vault-password-file=secret``."""
    words = [word.rpartition("=")[2].removeprefix("@") for word in arguments]
    return [directory / word for word in words if word and (directory / word).is_file()]


def _files(path: Path, seen: set[Path]) -> Iterator[Path]:
    """All files below a path, or the file itself; nothing hidden, nothing compiled, no directory twice."""
    if path.is_file():
        yield path
    elif path.is_dir() and (real := path.resolve()) not in seen:
        seen.add(real)
        for child in _children(path):
            if not child.name.startswith(".") and child.name != "__pycache__":
                yield from _files(child, seen)


def _children(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:  # nor could Ansible read it
        return []


def _file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").digest()
    except OSError as error:
        return str(error).encode()


def _telling(environ: Mapping[str, str]) -> dict[str, str]:
    """Roles may look at any variable, except at those that every pod of a Deployment has its own of."""
    host = socket.gethostname()
    return {
        name: value
        for name, value in environ.items()
        if host not in value and not _OF_THE_POD.fullmatch(f"{name}={value}")
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
