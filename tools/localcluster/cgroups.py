"""Control groups of a cluster: its processes are found, limited and removed through them.

Both layouts are served: one hierarchy for each controller (v1) and one for all (v2).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from .processes import Process, identify
from .shell import ClusterError

# What the kubelet wants to find in its root group, where the kernel has it.
CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "pids", "hugetlb", "io", "devices", "freezer", "blkio")
NODE_GROUP = "node"


def hierarchies(mounts: str) -> dict[Path, str]:
    """Mount points of the control group hierarchies in use, each with its kind: "v1" or "v2".

    Machines with v1 controllers often have a v2 hierarchy besides, without any: runc uses that one too.
    """
    found: dict[Path, str] = {}
    for line in mounts.splitlines():
        _, point, kind, options = line.split()[:4]
        names = set(options.split(","))
        if kind == "cgroup2":
            found[Path(point)] = "v2"
        elif kind == "cgroup" and (names & set(CONTROLLERS) or "name=systemd" in names):
            found[Path(point)] = "v1"
    return found


def _mounted() -> dict[Path, str]:
    found = hierarchies(Path("/proc/self/mounts").read_text())
    if not found:
        raise ClusterError("no control group hierarchy is mounted below /sys/fs/cgroup")
    return found


def create(group: str) -> None:
    """Create the cluster's group and the one of the node's own processes in every hierarchy."""
    for root, kind in _mounted().items():
        path = root
        for part in group.split("/"):
            if kind == "v2":
                _enable_controllers(path)
            path = path / part
            path.mkdir(exist_ok=True)
            if kind == "v1":
                _inherit_cpuset(path)
        if kind == "v2":
            _enable_controllers(path)
        (path / NODE_GROUP).mkdir(exist_ok=True)
        _inherit_cpuset(path / NODE_GROUP)


def _enable_controllers(path: Path) -> None:
    """Let groups below use every controller this one has (v2)."""
    available = (path / "cgroup.controllers").read_text().split()
    wanted = " ".join(f"+{name}" for name in available if name in CONTROLLERS)
    (path / "cgroup.subtree_control").write_text(wanted)


def _inherit_cpuset(path: Path) -> None:
    """Give a new cpuset group its parent's processors: a v1 one begins without any and takes no process."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = path / name
        if file.exists() and not file.read_text().strip():
            file.write_text((path.parent / name).read_text())


def join(group: str) -> None:
    """Move the calling process into the group of the node's own processes."""
    for root in _mounted():
        (root / group / NODE_GROUP / "cgroup.procs").write_text(str(os.getpid()))


def members(group: str) -> list[Process]:
    """All processes of the cluster, the containers' included."""
    pids: set[int] = set()
    for root in _mounted():
        for file in (root / group).rglob("cgroup.procs"):
            pids.update(_read_pids(file))
    return [process for pid in sorted(pids) if (process := identify(pid)) and _belongs(pid, group)]


def _read_pids(file: Path) -> Iterable[int]:
    try:
        return [int(line) for line in file.read_text().split()]
    except (FileNotFoundError, OSError):  # the group has just been removed
        return []


def _belongs(pid: int, group: str) -> bool:
    """Whether a process is in the group or below it; asked after its identity was taken."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return any(f"{line.split(':', 2)[2]}/".startswith(f"/{group}/") for line in lines)


def kill_all(group: str, timeout: float = 30.0) -> None:
    """End every process of the cluster.

    Raises ClusterError if some are left after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while left := members(group):
        if time.monotonic() > deadline:
            raise ClusterError(f"these processes do not end: {', '.join(str(p.pid) for p in left)}")
        for process in left:
            process.kill(timeout=1.0)


def remove(group: str, timeout: float = 10.0) -> None:
    """Remove the cluster's group everywhere, and the common parent with the last cluster.

    The kernel lets go of dead processes late: raises OSError if a group is busy for `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    for root in _mounted():
        top = root / group
        while top.exists():
            try:
                for path in sorted(top.rglob("*/"), key=lambda path: len(path.parts), reverse=True):
                    path.rmdir()
                top.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        if top.parent.is_dir() and not any(path.is_dir() for path in top.parent.iterdir()):
            top.parent.rmdir()
