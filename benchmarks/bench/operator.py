"""An operator under measurement: our runner as a process, with one of the contents and one of the engines."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from bench import usage
from bench.controlplane import ControlPlane, die_with_parent, free_port
from bench.waiting import TookTooLong, until

CONTENT = Path(__file__).resolve().parents[1] / "content"
_START = 120.0  # seconds to become ready, with all watches in sync
_STOP = 60.0
_CALM = 1.5  # seconds without a run after which an operator counts as idle


class PassFailed(Exception):
    """The operator did not do what is to be measured."""


@dataclass(frozen=True)
class Variant:
    """What is compared: a directory of benchmarks/content and an engine.

    ``patience`` is the longest that one resource may take, in seconds, when many come at once.
    """

    key: str
    title: str
    content: str
    engine: str
    patience: float


OURS = Variant("ours", "ours", "ours", "fork", 5.0)
WITHOUT_FORKS = Variant("ours-ansible-runner", "ours, ansible-runner", "ours", "ansible-runner", 20.0)
NAIVE = Variant("naive", "naive", "naive", "ansible-runner", 40.0)
VARIANTS = (OURS, WITHOUT_FORKS, NAIVE)


class Operator:
    """The runner; ``runs`` and ``ended`` count what its log tells of runs of Ansible."""

    def __init__(self, plane: ControlPlane, variant: Variant, namespace: str, period: str, log: Path) -> None:
        self._health, self._metrics = free_port(), free_port()
        self._temporary = tempfile.TemporaryDirectory(prefix="pdb-")  # short: Ansible makes sockets below it
        self._directory, self._log = CONTENT / variant.content, log
        self._command = [
            *(sys.executable, "-m", "paradedb_runner", "run", f"--engine={variant.engine}"),
            f"--health-probe-bind-address=127.0.0.1:{self._health}",
            f"--metrics-bind-address=127.0.0.1:{self._metrics}",
            "--metrics-secure=false",
            "--user-metrics-bind-address=0",
            "--leader-election-namespace=default",
        ]
        self._environment = os.environ | {
            "KUBECONFIG": str(plane.kubeconfig),
            "WATCH_NAMESPACE": namespace,
            "RECONCILE_PERIOD": period,
            "TMPDIR": self._temporary.name,
        }
        self.start()

    def start(self) -> None:
        """Start a process, the first or after ``stop``."""
        with self._log.open("w") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._directory,
                env=self._environment,
                stderr=output,
                preexec_fn=die_with_parent,
            )
        self._lines: TextIO = self._log.open()
        self._half = ""
        self.runs = self.ended = 0
        self._last = time.monotonic()

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._lines.close()

    def close(self) -> None:
        """Stop it for good."""
        self.stop()
        self._temporary.cleanup()

    def cpu_seconds(self) -> float:
        """CPU time of the process and all it has started, since its start."""
        return usage.cpu_seconds(self._process.pid)

    def memory_mib(self) -> float:
        """Memory of the process and all it has started."""
        return usage.memory_mib(self._process.pid)

    def wait_ready(self) -> None:
        """Wait for the readiness probe. Raises TookTooLong."""
        until(self._is_ready, _START, "the operator to become ready")

    def wait_idle(self, patience: float) -> float:
        """Wait until no run is under way and none begins; since when, as time.monotonic."""
        until(self._is_idle, patience, "the operator to become idle", pause=0.05)
        return self._last

    def read_log(self) -> None:
        """Count the runs that the log tells of since the last look."""
        *lines, self._half = (self._half + self._lines.read()).split("\n")
        for line in lines:
            started, ended = '"msg": "run started"' in line, '"msg": "run ended"' in line
            self.runs += started
            self.ended += ended
            if started or ended:
                self._last = time.monotonic()

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels; 0 while there is none."""
        text = self._get(self._metrics, "metrics")
        return sum(map(float, re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)))

    def check(self) -> None:
        """Raises PassFailed if any pass went wrong: what it costs to fail is of no interest."""
        if self.metric("controller_runtime_reconcile_errors_total"):
            raise PassFailed(f"a pass failed, see {self._log}")

    def _is_ready(self) -> bool:
        if self._process.poll() is not None:
            raise TookTooLong(f"the operator ended, see {self._log}:\n{self._log.read_text()[-2000:]}")
        return bool(self._get(self._health, "readyz"))

    def _is_idle(self) -> bool:
        self.read_log()
        return self.runs == self.ended and time.monotonic() - self._last > _CALM

    def _get(self, port: int, path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""


@contextmanager
def running(
    plane: ControlPlane, variant: Variant, namespace: str, period: str, log: Path
) -> Iterator[Operator]:
    """A ready operator for as long as the block lasts. Raises PassFailed after a block with a failed pass."""
    operator = Operator(plane, variant, namespace, period, log)
    try:
        operator.wait_ready()
        yield operator
        operator.check()
    finally:
        operator.close()
