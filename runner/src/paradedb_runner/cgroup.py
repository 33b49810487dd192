"""How many processors this container may use, which is not how many the node has."""

import math
import os
from pathlib import Path

_LEAST_SLOTS = 2  # one long run must not stop every other resource


def cpu_limit(root: Path = Path("/sys/fs/cgroup")) -> float:
    """
    The CPU limit in cores from cgroup v2 or v1; the CPUs this process may be scheduled on if there is none.
    """
    available = float(len(os.sched_getaffinity(0)))
    for quota_period in (_v2(root), _v1(root)):
        if quota_period:
            quota, period = quota_period
            return min(available, quota / period)
    return available


def default_run_slots(root: Path = Path("/sys/fs/cgroup")) -> int:
    """
    Runs at the same time when nobody says otherwise: a run is CPU bound, so one for each core we may use.
    """
    return max(_LEAST_SLOTS, math.ceil(cpu_limit(root)))


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
