"""
The process of one run of the ansible-runner engine: ``python -m
paradedb_runner.engine.ansible_runner_child``, request on stdin.

ansible-runner wants signals, a pseudo terminal and blocking calls, none of which suit the event loop of the
controller. So it has a process of its own, which reports in JSON lines on standard output, takes its whole
tree down on SIGTERM, and does the same when the controller dies.
"""

import json
import os
import resource
import signal
import sys
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import ansible_runner

from paradedb_runner.engine import proctree, runner_events

_GRACE = 3.0  # seconds between SIGTERM and SIGKILL; a lost lease leaves us five
_OPEN_FILES = 4096  # the terminal library closes every possible descriptor: a limit may be a billion
_KEPT_LINES = 200


class _Terminated(BaseException):
    """Raised where SIGTERM finds us, so that everything in between is left."""


def main() -> int:
    """Run once. The exit code says only whether the outcome was reported."""
    request = json.load(sys.stdin)
    report = os.fdopen(os.dup(1), "w", encoding="utf-8")  # not inherited, so its end is our end
    os.dup2(2, 1)
    signal.signal(signal.SIGTERM, _terminate)
    proctree.adopt_orphans()
    proctree.die_with(request["parent"])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES if hard < 0 else min(_OPEN_FILES, hard), hard))
    try:
        outcome = _Run(request, report).run()
        _send(report, outcome)
    except _Terminated:
        return 128 + signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _end_tree()
    return 0


class _Run:
    """Collects what the outcome needs while passing task ends on."""

    def __init__(self, request: dict[str, Any], report: Any) -> None:
        self._request, self._report = request, report
        self._stats: dict[str, int] | None = None
        self._output: deque[str] = deque(maxlen=_KEPT_LINES)

    def run(self) -> dict[str, Any]:
        request = self._request
        runner = ansible_runner.run(
            private_data_dir=request["directory"],
            playbook=request["playbook"],
            inventory=request["inventory"],
            cmdline=request["arguments"],
            ident=request["ident"],
            verbosity=request["verbosity"] or None,
            quiet=True,
            suppress_env_files=True,
            fact_cache_type="memory",
            settings={"suppress_output_file": not request["keep_output"]},
            event_handler=self._event,
            cancel_callback=lambda: False,  # without one it takes SIGTERM over and looks at it every 5 s
        )
        if self._stats is None:
            self._stats = _left_behind(Path(runner.config.artifact_dir))
        error = runner_events.error_lines(list(self._output))
        return {"rc": runner.rc, "stats": self._stats, "error": error}

    def _event(self, event: dict[str, Any]) -> bool:
        """Called by ansible-runner for every event; the result says whether it keeps the event as a file."""
        if task := runner_events.task_event(event):
            _send(self._report, {"task": asdict(task)})
        elif recap := runner_events.stats(event):
            self._stats = asdict(recap)
        elif event.get("event") in {"verbose", "error", "warning", "playbook_on_no_hosts_matched"}:
            self._output.extend(str(event.get("stdout") or "").splitlines())
        return bool(self._request["keep_output"])


def _left_behind(artifacts: Path) -> dict[str, int] | None:
    """
    The recap from its file: the callback writes it before it says so on a terminal that may lose the end.
    """
    for path in artifacts.glob("job_events/*-partial.json"):
        recap = runner_events.stats(json.loads(path.read_text()))
        if recap:
            return asdict(recap)
    return None


def _send(report: Any, line: dict[str, Any]) -> None:
    report.write(json.dumps(line) + "\n")
    report.flush()


def _terminate(_signal: int, _frame: object) -> NoReturn:
    """End the tree right here: the terminal library, unwound by an exception, would try so for seconds."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _end_tree()
    raise _Terminated


def _end_tree() -> None:
    proctree.end_all(lambda: proctree.descendants(os.getpid()), _GRACE)


if __name__ == "__main__":
    sys.exit(main())
