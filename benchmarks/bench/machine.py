"""What a result was measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path


def describe(root: Path) -> dict[str, str | int | float]:
    """Processors, memory, load at the start, and versions."""
    return {
        "cpu": _after_colon("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(_after_colon("/proc/meminfo", "MemTotal").split()[0]) / (1 << 20)),
        "load_before": os.getloadavg()[0],
        "linux": platform.release(),
        "python": platform.python_version(),
        "ansible_core": version("ansible-core"),
        "kubernetes_client": version("kubernetes"),
        "commit": _commit(root),
    }


def _after_colon(file: str, name: str) -> str:
    for line in Path(file).read_text().splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return "unknown 0"


def _commit(root: Path) -> str:
    command = ["git", "-C", str(root), "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
