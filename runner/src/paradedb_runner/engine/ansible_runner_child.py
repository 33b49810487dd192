"""
The process of one run of the ansible-runner engine: ``python -m
paradedb_runner.engine.ansible_runner_child``, request on stdin.

ansible-runner wants signals, a pseudo terminal and blocking calls, none of which suit the event loop of the
controller. So it has a process of its own, which reports in JSON lines on standard output, takes its whole
tree down on SIGTERM, and does the same when the controller dies.
"""

import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import ansible_runner

from paradedb_runner.engine import proctree, runner_events
from paradedb_runner.engine.report import Report


class _Terminated(BaseException):
    """Raised where SIGTERM finds us, so that everything in between is left."""


def main() -> int:
    """Run once. The exit code says only whether the outcome was reported."""
    request = json.load(sys.stdin)
    report = Report(os.dup(1))
    os.dup2(2, 1)
    signal.signal(signal.SIGTERM, _terminate)
    proctree.adopt_orphans()
    proctree.die_with(request["parent"])
    proctree.limit_descriptors()
    try:
        report.send(_run(request, report))
    except _Terminated:
        return 128 + signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        proctree.end_descendants()
    return 0


def _run(request: dict[str, Any], report: Report) -> dict[str, Any]:
    """Run once, passing on what happens; the outcome."""

    def event(event: dict[str, Any]) -> bool:
        """Called for every event; the result says whether ansible-runner keeps the event as a file."""
        report.event(event)
        return bool(request["keep_output"])

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
        event_handler=event,
        cancel_callback=lambda: False,  # without one it takes SIGTERM over and looks at it every 5 s
    )
    stats = report.stats or _left_behind(Path(runner.config.artifact_dir))
    return {"rc": runner.rc, "stats": stats, "error": runner_events.error_lines(list(report.said))}


def _left_behind(artifacts: Path) -> dict[str, int] | None:
    """
    The recap from its file: the callback writes it before it says so on a terminal that may lose the end.
    """
    for path in artifacts.glob("job_events/*-partial.json"):
        recap = runner_events.stats(json.loads(path.read_text()))
        if recap:
            return asdict(recap)
    return None


def _terminate(_signal: int, _frame: object) -> NoReturn:
    """End the tree right here: the terminal library, unwound by an exception, would try so for seconds."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    proctree.end_descendants()
    raise _Terminated


if __name__ == "__main__":
    sys.exit(main())
