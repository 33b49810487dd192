"""The private directory of a run: input files that hold secrets, and Ansible's own temporary files."""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paradedb_runner.control.discovery_cache import shared_discovery
from paradedb_runner.kube.objects import Key
from paradedb_runner.watches.model import Content, Playbook

_PREFIX = "paradedb-runner-"
ARTIFACT_BYTES = 256 << 20  # kept of all runs together
IDENT_LENGTH = 12  # of a run, which names its directory
_SOCKET_LIMIT = 107  # longest path of a Unix socket
_SOCKET = "/tmp/pymp-xxxxxxxx/listener-xxxxxxxx"  # noqa: S108  (what Ansible makes below a run's directory)
_DEPTH = 6  # of a run's artifacts: group, version, kind, namespace, name, run
_LOCALHOST = "localhost ansible_connection=local ansible_python_interpreter={{ansible_playbook_python}}\n"


@dataclass(frozen=True)
class InputDirectory:
    """Paths inside one run directory."""

    root: Path
    playbook: Path
    inventory: Path
    extra_vars: Path
    temporary: Path
    kubeconfig: Path  # not written here: whether a run has one of its own is the caller's to know


@contextmanager
def private_base() -> Iterator[Path]:
    """
    A 0700 directory under $TMPDIR for all runs of this process, gone when it ends.

    A killed process cannot clean up, so what earlier ones left is removed first; a lock tells who still
    lives.
    """
    parent = Path(tempfile.gettempdir())
    for left in parent.glob(f"{_PREFIX}*"):
        _remove_if_abandoned(left)
    base = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    if len(str(base)) + 1 + IDENT_LENGTH + len(_SOCKET) > _SOCKET_LIMIT:
        base.rmdir()
        raise OSError(errno.ENAMETOOLONG, f"the path of $TMPDIR is too long for Ansible's sockets: {parent}")
    with (base / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield base
        finally:
            shutil.rmtree(base, ignore_errors=True)


@contextmanager
def input_directory(
    base: Path, ident: str, content: Content, variables: Mapping[str, Any], inventory: Path | None
) -> Iterator[InputDirectory]:
    """
    Write the input of one run; everything is removed at the end. ``inventory`` is a file or directory to copy
    instead of the generated localhost, since group_vars beside it count too.
    """
    root = base / ident
    main = content.path if isinstance(content, Playbook) else root / "project" / "main.yml"
    directory = InputDirectory(
        root=root,
        playbook=main,
        inventory=root / "inventory",
        extra_vars=root / "env" / "extravars",
        temporary=root / "tmp",
        kubeconfig=root / "kubeconfig",
    )
    try:
        for path in (root, root / "project", root / "env", root / "tmp"):
            path.mkdir(mode=0o700)
        _write(directory.extra_vars, json.dumps(variables))
        _write_inventory(directory.inventory, inventory)
        if not isinstance(content, Playbook):
            _write(main, json.dumps(role_play(content.name)))
        with shared_discovery(base / "discovery", directory.temporary):
            yield directory
    finally:
        shutil.rmtree(root, ignore_errors=True)


def role_play(role: str) -> list[dict[str, Any]]:
    """
    The play that runs one role. The import is static, so an error in the role fails before anything happened.
    Facts are gathered only if ANSIBLE_GATHERING says so, since that takes longer than most roles.
    """
    gather = os.environ.get("ANSIBLE_GATHERING", "explicit") != "explicit"
    task = {"name": f"Run role {role}", "ansible.builtin.import_role": {"name": role}}
    return [{"name": "Reconcile", "hosts": "localhost", "gather_facts": gather, "tasks": [task]}]


class ArtifactStore:
    """
    Artifacts of runs, kept only if somebody named a directory for them, until the resource is gone: so many
    of each resource, and of all together no more bytes than the limit.
    """

    def __init__(self, directory: Path | None, limit: int = ARTIFACT_BYTES) -> None:
        """``limit`` is in bytes. What an earlier process left in ``directory`` counts too."""
        self.directory, self._limit = directory, limit
        self._sizes: dict[Path, int] = {}  # of runs, the oldest first
        if directory:
            runs = sorted(directory.glob("*/" * _DEPTH), key=lambda path: path.stat().st_mtime)
            self._sizes = {run: _size(run) for run in runs}

    def keep(self, key: Key, run: Path, ident: str, count: int) -> None:
        """
        Move the artifacts of a run to the resource's directory and drop its oldest beyond ``count`` (0:
        none), then the oldest of all beyond the limit.
        """
        source = run / "artifacts" / ident
        if self.directory is None or not source.is_dir():
            return
        target = self._of(key)
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.move(source, target / ident)
        self._sizes[target / ident] = _size(target / ident)
        if count:
            self._drop([each for each in self._sizes if each.parent == target][:-count])
        surplus = sum(self._sizes.values()) - self._limit
        for oldest, size in list(self._sizes.items()):
            if surplus <= 0:
                break
            self._drop([oldest])
            surplus -= size

    def forget(self, key: Key) -> None:
        """Remove what was kept of a resource that is gone."""
        if self.directory:
            target = self._of(key)
            self._drop([each for each in self._sizes if each.parent == target])
            shutil.rmtree(target, ignore_errors=True)

    def _drop(self, runs: list[Path]) -> None:
        for run in runs:
            shutil.rmtree(run, ignore_errors=True)
            del self._sizes[run]

    def _of(self, key: Key) -> Path:
        assert self.directory
        parts = (
            key.gvk.group or "core",
            key.gvk.version,
            key.gvk.kind,
            key.namespace or "_cluster",
            key.name,
        )
        return self.directory.joinpath(*parts)


def _size(directory: Path) -> int:
    return sum(path.lstat().st_size for path in directory.rglob("*"))


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _write_inventory(target: Path, source: Path | None) -> None:
    if source is None:
        target.mkdir(mode=0o700)
        _write(target / "hosts", _LOCALHOST)
    elif source.is_dir():
        shutil.copytree(source, target)
    else:
        target.mkdir(mode=0o700)
        shutil.copy(source, target / source.name)


def _remove_if_abandoned(directory: Path) -> None:
    with contextlib.suppress(OSError), (directory / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(directory, ignore_errors=True)
