"""Processes known by more than their number, so that never another one is taken for ours."""

from __future__ import annotations

import json
import os
import select
import signal
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process: its number, when it was started (clock ticks since boot) and in which boot."""

    pid: int
    started: int
    boot: str

    def alive(self) -> bool:
        """Whether this very process still runs."""
        return _start_ticks(self.pid) == self.started and boot_id() == self.boot

    def kill(self, timeout: float = 10.0) -> bool:
        """End the process at once and wait for its end.

        Returns whether it is gone after at most `timeout` seconds.
        """
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            # The handle names one process for good; look only now whether it is the one meant.
            if not self.alive():
                return True
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            ended, _, _ = select.select([handle], [], [], timeout)
            return bool(ended)
        finally:
            os.close(handle)


def identify(pid: int) -> Process | None:
    """The running process of that number, or None."""
    started = _start_ticks(pid)
    return None if started is None else Process(pid, started, boot_id())


def record(path: Path, process: Process) -> None:
    """Remember a process in a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(process)))


def recorded(path: Path) -> Process | None:
    """The process remembered in a file if it still runs, else None."""
    try:
        process = Process(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return process if process.alive() else None


def boot_id() -> str:
    """Identity of the present boot: start times begin again with each."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _start_ticks(pid: int) -> int | None:
    """Start time of a running process; None for one that does not exist or has ended (a zombie)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name, in parentheses, may hold spaces and parentheses itself.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
