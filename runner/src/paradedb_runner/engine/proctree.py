"""
Finding and ending all processes of a run, through /proc.

Ansible's workers start sessions of their own, so neither a signal to a process nor one to its group reaches
them. A process that adopts its orphans (a subreaper) keeps its whole tree findable.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

MARK = "PARADEDB_RUNNER_RUN"  # in the environment of every process of a run, with the run's ident
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PAUSE = 0.05
_GRACE = 3.0  # seconds between SIGTERM and SIGKILL; a lost lease leaves us five
_OPEN_FILES = 4096


def with_our_programs_first(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment, with the programs beside this interpreter before any others of their names."""
    programs = Path(sys.executable).parent
    return {**environment, "PATH": f"{programs}:{environment.get('PATH', os.defpath)}"}


def adopt_orphans() -> None:
    """Make this process the parent of descendants that lose theirs."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int) -> None:
    """Receive SIGTERM when the parent ends, however it ends; at once if it already has."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def childless() -> bool:
    """
    Whether we have no children, not even ended ones; then there is nothing below us. Looks at nothing else.
    """
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


def children(parent: int) -> list[int]:
    """Live processes started by ``parent``, or left to it."""
    return [pid for pid, above in _processes() if above == parent]


def descendants(root: int) -> list[int]:
    """Live processes below ``root``, without it."""
    children: dict[int, list[int]] = {}
    for pid, parent in _processes():
        children.setdefault(parent, []).append(pid)
    found, waiting = [], [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def alive(pids: Iterable[int]) -> list[int]:
    """Those of ``pids`` that still run; one that ended but was not collected does not."""
    running = {pid for pid, _ in _processes()}
    return [pid for pid in pids if pid in running]


def orphans(ident: str) -> list[int]:
    """
    Our own direct children that belong to run ``ident``: what was left when its engine process was killed.
    """
    mark = f"{MARK}={ident}".encode()
    return [pid for pid in children(os.getpid()) if mark in _environment(pid)]


def forks_left(name: str) -> list[int]:
    """
    Our own direct children that are forks of the process with the argument ``name``, or were started by one:
    what is left when it was killed. A fork has the command line of what it was forked from.
    """
    return [pid for pid in children(os.getpid()) if _is_of(pid, name)]


def _is_of(pid: int, name: str) -> bool:
    try:
        words = Path("/proc", str(pid), "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return name.encode() in words or any(item.startswith(f"{MARK}=".encode()) for item in _environment(pid))


def end_all(find: Callable[[], Iterable[int]], grace: float) -> None:
    """
    End whatever ``find`` returns, until it returns nothing: SIGTERM, and after ``grace`` seconds SIGKILL.

    It blocks; ``find`` is asked again and again since a dying tree may still grow.
    """
    deadline, told = time.monotonic() + grace, set()
    while pids := list(find()):
        late = time.monotonic() >= deadline
        for pid in pids:
            if late or pid not in told:
                told.add(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        time.sleep(_PAUSE)


def kill_tree(root: int) -> None:
    """Kill a process and all that are below it now."""
    for pid in [*descendants(root), root]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def end_descendants() -> None:
    """What the process of a run does last: nothing that the run started outlives it."""
    if not childless():
        end_all(lambda: descendants(os.getpid()), _GRACE)


def limit_descriptors() -> None:
    """
    Ansible's helpers close every possible descriptor before they start a program; there may be a billion.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES if hard < 0 else min(_OPEN_FILES, hard), hard))


def reap(own: Iterable[int]) -> None:
    """Collect ended children that somebody else left to us; ``own`` are collected by whoever started them."""
    spared = set(own)
    us = os.getpid()
    for pid, parent in _processes(ended=True):
        if parent == us and pid not in spared:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _processes(*, ended: bool = False) -> list[tuple[int, int]]:
    """
    (pid, parent) of every process that is running, or with ``ended`` of every one that waits to be collected.
    """
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            stat = (entry / "stat").read_text(errors="replace")
            state, parent = stat.rpartition(")")[2].split()[:2]
            if (state in "ZX") == ended:
                found.append((int(entry.name), int(parent)))
    return found


def _environment(pid: int) -> list[bytes]:
    try:
        return Path("/proc", str(pid), "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")
