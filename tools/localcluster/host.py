"""What a native node needs of its host, and what it changes there until the last cluster is gone."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from . import network
from .capsule import PRIVATE_DIRS
from .instance import STATE_ROOT, existing
from .shell import ClusterError, Progress, environment, run

LOCK = Path("/run/lock/paradedb-localcluster.lock")
CHANGES = STATE_ROOT / "host-changes.json"

# Commands and the Debian package each comes from.
COMMANDS = {
    "containerd": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "ctr": "containerd",
    "ip": "iproute2",
    "losetup": "mount",
    "mkfs.xfs": "xfsprogs",
    "modprobe": "kmod",
    "mount": "mount",
    "nft": "nftables",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "runc": "runc",
    "xfs_growfs": "xfsprogs",
}
# Debian's place, and the one the network plugins' own releases use.
CNI_DIRS = ("/usr/lib/cni", "/opt/cni/bin")
CNI_PLUGINS = ("bridge", "host-local", "loopback")
CNI_PACKAGE = "containernetworking-plugins"

MODULES = ("br_netfilter", "loop", "nf_tables", "overlay", "veth", "xfs")
FILESYSTEMS = ("overlay", "xfs")

# Settings of the whole machine that a kubelet changes when it starts.
SETTINGS = Path("/proc/sys")
KUBELET_SETTINGS = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)


@contextmanager
def lock(progress: Progress) -> Iterator[None]:
    """Let one command at a time change the clusters of this machine; the others wait."""
    with LOCK.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say("waiting for another localcluster command to finish ...")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def cni_plugins() -> str | None:
    """Directory of the network plugins, or None when they are not installed."""
    for directory in CNI_DIRS:
        if all((Path(directory) / plugin).exists() for plugin in CNI_PLUGINS):
            return directory
    return None


def missing_packages() -> list[str]:
    """Debian names of the packages that are not installed."""
    path = environment()["PATH"]
    missing = {package for command, package in COMMANDS.items() if not shutil.which(command, path=path)}
    if cni_plugins() is None:
        missing.add(CNI_PACKAGE)
    return sorted(missing)


def install_packages(progress: Progress) -> None:
    """Install what is missing, on Debian and its relatives.

    Raises ClusterError elsewhere, naming what to install.
    """
    missing = missing_packages()
    if not missing:
        return
    names = " ".join(missing)
    if not shutil.which("apt-get", path=environment()["PATH"]):
        raise ClusterError(f"install what these Debian packages hold, then try again: {names}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with progress.step(f"installing {names}"):
        run(["apt-get", "update"], env=quiet)
        run(["apt-get", "install", "--yes", "--no-install-recommends", *missing], env=quiet)
    if left := missing_packages():
        raise ClusterError(f"still missing after installing: {' '.join(left)}")


def prepare_kernel() -> None:
    """Load the kernel modules that do not load themselves, and check that the kernel has what is needed.

    A kernel with everything built in has no module to load, so that only the check decides.
    """
    for module in MODULES:
        with suppress(ClusterError):
            run(["modprobe", "--quiet", module])
    known = Path("/proc/filesystems").read_text().split()
    if missing := [name for name in FILESYSTEMS if name not in known]:
        raise ClusterError(f"this kernel lacks the file systems: {', '.join(missing)}")
    network.check_kernel()


def note_changes() -> None:
    """Make the directories a node needs, and remember what to undo after the last cluster.

    Call with the lock held.
    """
    if CHANGES.exists():
        changes = json.loads(CHANGES.read_text())
    else:
        changes = {"directories": [], "settings": _read_settings()}
    changes["directories"] += [d for d in _missing_directories() if d not in changes["directories"]]
    STATE_ROOT.mkdir(parents=True, exist_ok=True)
    CHANGES.write_text(json.dumps(changes))
    for directory in changes["directories"]:
        Path(directory).mkdir(exist_ok=True)


def _missing_directories() -> list[str]:
    """Directories to be made, parents first."""
    wanted = [path for place in PRIVATE_DIRS for path in (*reversed(Path(place).parents), Path(place))]
    return list(dict.fromkeys(str(path) for path in wanted if not path.exists()))


def _read_settings() -> dict[str, str]:
    files = {name: SETTINGS / name for name in KUBELET_SETTINGS}
    return {name: file.read_text().strip() for name, file in files.items() if file.exists()}


def undo_changes() -> None:
    """Put the machine's settings back once no cluster is left. Call with the lock held."""
    if existing():
        return
    if CHANGES.exists():
        changes = json.loads(CHANGES.read_text())
        for name, value in changes["settings"].items():
            (SETTINGS / name).write_text(value)
        for directory in reversed(changes["directories"]):
            _remove_if_empty(Path(directory))
        CHANGES.unlink()
    _remove_if_empty(STATE_ROOT)


def _remove_if_empty(directory: Path) -> None:
    """Remove a directory we made, unless someone else uses it by now."""
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()


def require_root() -> None:
    """Raise ClusterError unless run by root."""
    if os.geteuid() != 0:
        raise ClusterError("a native node needs root: run with sudo, or start Docker to use kind instead")
