"""What this container may use, which is not what the node has, and how many runs fit into it."""

import math
import os
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_WANTED_SLOTS = 2  # one long run must not stop every other resource
_MIB = 1 << 20
_OWN_MEMORY = 250 * _MIB  # the runner itself, the fork server and the caches of its watches
_RUN_MEMORY = 150 * _MIB  # one run with its worker processes
_NO_LIMIT = 1 << 60  # cgroup v1 writes a number near 2^63 for none


def cpu_limit(root: Path = _ROOT) -> float:
    """
    The CPU limit in cores from cgroup v2 or v1; the CPUs this process may be scheduled on if there is none.
    """
    available = float(len(os.sched_getaffinity(0)))
    for quota_period in (_v2(root), _v1(root)):
        if quota_period:
            quota, period = quota_period
            return min(available, quota / period)
    return available


def memory_limit(root: Path = _ROOT) -> int | None:
    """The memory limit in bytes from cgroup v2 or v1; None if there is none."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limit = int((root / name).read_text())
        except (OSError, ValueError):  # no such file, or "max"
            continue
        return limit if limit < _NO_LIMIT else None
    return None


def default_run_slots(root: Path = _ROOT) -> int:
    """
    Runs at the same time when nobody says otherwise (D10): one for each core we may use, since a run is CPU
    bound, and at least two, but no more than the memory holds: a run that is killed for want of it is worse
    than one that waits.
    """
    slots = max(_WANTED_SLOTS, math.ceil(cpu_limit(root)))
    memory = memory_limit(root)
    if memory is None:
        return slots
    return max(1, min(slots, (memory - _OWN_MEMORY) // _RUN_MEMORY))


def _v2(root: Path) -> tuple[int, int] | None:
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else (int(quota), int(period))


def _v1(root: Path) -> tuple[int, int] | None:
    try:
        quota = int((root / "cpu" / "cpu.cfs_quota_us").read_text())
        period = int((root / "cpu" / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return (quota, period) if quota > 0 and period > 0 else None
