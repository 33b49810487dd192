"""The enclosure of a node: its own mount, network and process namespaces.

One process (the `pause` binary) is the first of the process namespace and reaps the orphans in it. When
it is killed the kernel ends every other process inside and lets go of all mounts, loop devices and the
network: nothing has to be found and undone one by one, however the node ended.
"""

from __future__ import annotations

import ctypes
import os
import resource
import shlex
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from . import cgroups, processes
from .instance import Instance
from .processes import Process
from .shell import ClusterError, clean_environment, run

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
CLONE_NEWPID = 0x20000000

# Directories the components insist on; inside they are the cluster's own.
PRIVATE_DIRS = {
    "/run/containerd": "run-containerd",
    "/run/netns": "netns",
    "/var/lib/cni": "cni",
    "/var/lib/kubelet": "kubelet",
    "/var/log/containers": "container-logs",
    "/var/log/pods": "pod-logs",
}
# Of these nothing is worth keeping, and something would mislead, once the processes are gone.
TRANSIENT = ("run-containerd", "netns", "cni", "volumes/mounted")

_libc = ctypes.CDLL(None, use_errno=True)


def holder(instance: Instance) -> Process | None:
    """The process that holds the enclosure, or None when there is none."""
    return processes.recorded(instance.processes / "holder")


def create(instance: Instance, pause: Path) -> Process:
    """Make a new enclosure and return the process that holds it."""
    cgroups.create(instance.cgroup)

    def enclose() -> None:
        cgroups.join(instance.cgroup)
        _check(_libc.unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID), "unshare")

    process = _launch(enclose, [str(pause)], instance.logs / "holder.log", instance.processes / "holder")
    _arrange_mounts(instance, process)
    return process


def _arrange_mounts(instance: Instance, inside: Process) -> None:
    """Give the node its own view of the directories it writes to.

    Mounts of the host still appear and disappear inside (slave), none gets out; pods may ask for shared ones.
    """
    lines = ["mount --make-rslave /", "mount --make-rshared /", "mount -t proc proc /proc"]
    for name in TRANSIENT:
        lines.append(f"rm -rf --one-file-system {shlex.quote(str(instance.state / name))}")
    for place, name in PRIVATE_DIRS.items():
        source = shlex.quote(str(instance.state / name))
        lines.append(f"mkdir -p {source} && mount --bind {source} {place}")
    run([*enter(inside), "sh", "-ec", "\n".join(lines)])


def enter(inside: Process) -> list[str]:
    """The beginning of a command line that runs the rest of it inside."""
    return ["nsenter", "--mount", "--net", "--pid", f"--target={inside.pid}", "--"]


def spawn(instance: Instance, inside: Process, argv: Sequence[str], log: Path, record: Path) -> None:
    """Start a process inside and record it; it outlives the caller and is reaped by the holder."""

    def move_in() -> None:
        cgroups.join(instance.cgroup)
        handles = [os.open(f"/proc/{inside.pid}/ns/{kind}", os.O_RDONLY) for kind in ("pid", "net", "mnt")]
        for handle in handles:
            _check(_libc.setns(handle, 0), "setns")

    _launch(move_in, argv, log, record)


def _launch(prepare: Callable[[], None], argv: Sequence[str], log: Path, record: Path) -> Process:
    """Start a process in a session of its own after `prepare` has placed its parent.

    A process namespace is entered by the children of whoever asked for it, so an intermediate process asks,
    tells us the number of its child (as seen from here) and ends. The child becomes the program only when it
    is recorded: if we are killed in between it ends, and is never a process that nobody knows of.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    reading, writing = os.pipe()
    waiting, releasing = os.pipe()
    middle = os.fork()
    if middle == 0:
        try:
            os.close(releasing)
            prepare()
            child = os.fork()
            if child == 0:
                if os.read(waiting, 1):
                    _become(argv, output, writing)
                os._exit(127)
            os.write(writing, f"{child}\n".encode())
        except BaseException:
            os.write(writing, f"\n{traceback.format_exc()}".encode())
        finally:
            os._exit(0)
    for handle in (writing, waiting, output):
        os.close(handle)
    with os.fdopen(reading) as report, os.fdopen(releasing, "wb") as release:
        pid = report.readline().strip()
        process = processes.identify(int(pid)) if pid else None
        if process:
            processes.record(record, process)
            release.write(b"!")
        release.close()
        error = report.read().strip()
    os.waitpid(middle, 0)
    if process is None or error:
        raise ClusterError(f"{argv[0]} could not be started, see {log}: {error}")
    return process


def _become(argv: Sequence[str], output: int, report: int) -> None:
    """Turn into the given program, with nothing left of the caller's terminal and files. Does not return."""
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        _close_others(keep=report)
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        os.chdir("/")
        os.execvpe(argv[0], list(argv), clean_environment())  # noqa: S606 - there is no shell to want here
    except BaseException:
        os.write(report, f"\n{traceback.format_exc()}".encode())
    finally:
        os._exit(127)


def _close_others(keep: int) -> None:
    """Close every file but the standard ones and `keep`: an inherited pipe would keep its reader waiting."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    os.closerange(3, keep)
    os.closerange(keep + 1, most)


def _check(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
