"""What a process and everything below it uses."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, what it has waited for, and all that descend from it.

    Complete for trees that adopt and collect their orphans, as the runner's does.
    """
    return sum(sum(_times(each)) for each in [pid, *descendants(pid)]) / _TICKS


def memory_mib(pid: int) -> float:
    """Memory of the tree in MiB, with pages that several share counted once (PSS)."""
    return sum(map(_pss_kib, [pid, *descendants(pid)])) / 1024


def descendants(pid: int) -> list[int]:
    """All processes below one."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        if fields := _stat(int(path.name)):
            children.setdefault(int(fields[1]), []).append(int(path.name))
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _times(pid: int) -> list[int]:
    """utime, stime, cutime and cstime in ticks, all 0 for a process that is gone."""
    return [int(ticks) for ticks in _stat(pid)[11:15]]


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _pss_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
