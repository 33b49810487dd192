"""
The fork server: ``python -m paradedb_runner.engine.fork_server FD PARENT NAME CONTENT...``, a process that
has imported everything and forks once for every run. NAME is only there to be found in its command line and
its forks'.

Importing Ansible, the Kubernetes client and the plugins of a role takes longer than most passes. Here it
happens once. What makes forking sound is kept: one thread, no connection and no run's data in this process,
ever.

The controller speaks to it over a socket: a message for every run, with the descriptors it reports to, and
one to end a run. The first word is the server's: the files of collections it has imported. It is the parent
of all runs, so it can signal them without ever meeting a number that was given to another process, and
collects whatever a killed run leaves behind. Only then does it let go of the run's report: Ansible takes
SIGTERM over while it works, so a run cannot promise to end its own tree first.
"""

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paradedb_runner.engine import proctree

GRACE = 6.0  # seconds a run gets to end its own tree, more than it gives its processes
MESSAGE = 1 << 17  # bytes, of the longest message
CALLBACKS = Path(__file__).parent / "callback_plugins"
_DESCRIPTORS = 2

Work = Callable[[dict[str, Any], int, int], None]


class ForkServer:
    """Runs in the only thread of its process."""

    def __init__(self, control: socket.socket, work: Work) -> None:
        self._control, self._work = control, work
        self._runs: dict[int, str] = {}
        self._reports: dict[int, int] = {}
        self._deadlines: dict[int, float] = {}
        self._alarm, self._alarm_end = os.pipe()

    def serve(self) -> None:
        """Fork on request until the controller closes its end, then end every run."""
        for descriptor in (self._alarm, self._alarm_end):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(self._alarm_end)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._control.shutdown(socket.SHUT_RD))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while self._listen():
            self._tidy()
        for ident in self._runs.values():
            self._end(ident)
        while self._runs:
            self._wait([])
            self._tidy()

    def _listen(self) -> bool:
        """Wait for something to do; False once the controller is gone."""
        if not self._wait([self._control.fileno()]):
            return True
        data, descriptors, _, _ = socket.recv_fds(self._control, MESSAGE, _DESCRIPTORS)
        if data:
            self._obey(json.loads(data), descriptors)
        return bool(data)

    def _wait(self, sources: list[int]) -> list[int]:
        """Wait for a source, the end of a run or a deadline; the sources that have something."""
        ready, _, _ = select.select([*sources, self._alarm], [], [], self._patience())
        if self._alarm in ready:
            os.read(self._alarm, 4096)
        return [each for each in ready if each != self._alarm]

    def _tidy(self) -> None:
        self._collect()
        self._kill_late()

    def _obey(self, message: dict[str, Any], descriptors: list[int]) -> None:
        if "end" in message:
            self._end(message["end"])
            return
        report, output = descriptors
        server = os.getpid()
        # Until the run has a handler of its own it has ours, which is about the server: signals wait so long.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        pid = os.fork()
        if pid == 0:
            self._become_run(message, report, output, server)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        self._runs[pid] = message["ident"]
        self._reports[pid] = report
        os.close(output)

    def _become_run(self, message: dict[str, Any], report: int, output: int, server: int) -> None:
        """In the child: leave the server behind and do the work; never returns."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for descriptor in (self._alarm, self._alarm_end, *self._reports.values()):
                os.close(descriptor)
            self._control.close()
            os.setsid()
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.close(output)
            self._work(message, report, server)
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            os._exit(code)  # the server's own exit handlers are not ours to run

    def _end(self, ident: str) -> None:
        for pid, name in self._runs.items():
            if name == ident and pid not in self._deadlines:
                os.kill(pid, signal.SIGTERM)
                self._deadlines[pid] = time.monotonic() + GRACE

    def _kill_late(self) -> None:
        now = time.monotonic()
        for pid, deadline in self._deadlines.items():
            if now >= deadline:
                proctree.kill_tree(pid)

    def _patience(self) -> float | None:
        if not self._deadlines:
            return None
        return max(0.05, min(self._deadlines.values()) - time.monotonic())

    def _collect(self) -> None:
        """Reap what ended. What a run that was killed left behind has become our child, and ends here."""
        crashed, reports = False, []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if self._runs.pop(pid, None) is not None:
                self._deadlines.pop(pid, None)
                reports.append(self._reports.pop(pid))
                crashed |= status != 0
        if crashed:
            proctree.end_all(self._strays, 0)
        for report in reports:
            os.close(report)

    def _strays(self) -> list[int]:
        """Our children that are no runs, and all below them."""
        return [
            each
            for pid in proctree.children(os.getpid())
            if pid not in self._runs
            for each in (pid, *proctree.descendants(pid))
        ]


def main() -> int:
    """Import, say so, serve."""
    control = socket.socket(fileno=int(sys.argv[1]))
    proctree.adopt_orphans()
    proctree.die_with(int(sys.argv[2]))
    child = _import_child()
    files = child.preload(sys.argv[4:])
    gc.collect()
    gc.freeze()  # a collection in a fork would touch, and so copy, all that was imported
    control.send(json.dumps(files).encode())
    ForkServer(control, child.work).serve()
    return 0


def _import_child() -> Any:
    """Ansible's plugin loaders read their paths from the environment at import: ours is added for that."""
    name = "ANSIBLE_CALLBACK_PLUGINS"
    theirs = os.environ.get(name)
    os.environ[name] = ":".join(filter(None, [theirs, str(CALLBACKS)]))
    try:
        return importlib.import_module("paradedb_runner.engine.fork_child")
    finally:
        if theirs is None:
            del os.environ[name]
        else:
            os.environ[name] = theirs


if __name__ == "__main__":
    sys.exit(main())
