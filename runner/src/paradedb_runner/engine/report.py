"""
What the process of a run tells its engine: a JSON line for every task that ended, and one for the outcome.

Both engines speak it. The line ends before the run does, and the report as a whole only when the last process
that holds it has ended.
"""

import json
import os
from collections import deque
from collections.abc import AsyncIterable, Callable, Mapping
from dataclasses import asdict
from typing import Any

from paradedb_runner.engine import runner_events
from paradedb_runner.engine.interface import RunOutcome, Stats, TaskEvent, note

_KEPT_LINES = 200
_SAID = {"verbose", "error", "warning", "playbook_on_no_hosts_matched"}


class Report:
    """The writing side. A callback plugin, which Ansible makes, finds it as ``current``."""

    current: "Report"

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)  # no program that a run starts keeps it open
        self._file = os.fdopen(descriptor, "w", encoding="utf-8")
        self.stats: dict[str, int] | None = None
        self.said: deque[str] = deque(maxlen=_KEPT_LINES)

    def event(self, event: Mapping[str, Any]) -> None:
        """Take an event of ansible-runner's form: pass ends of tasks on, remember what the outcome needs."""
        if task := runner_events.task_event(event):
            self.send({"task": asdict(task)})
        elif recap := runner_events.stats(event):
            self.stats = asdict(recap)
        elif event.get("event") in _SAID:
            self.said.extend(str(event.get("stdout") or "").splitlines())

    def send(self, line: Mapping[str, Any]) -> None:
        """Write one line."""
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


async def read_report(
    lines: AsyncIterable[bytes], on_event: Callable[[TaskEvent], None]
) -> RunOutcome | None:
    """Follow a report to its end; None if it broke off before the outcome."""
    outcome, reported = RunOutcome(rc=-1, stats=None), False
    async for line in lines:
        message = json.loads(line)
        if "task" in message:
            note(outcome, TaskEvent(**message["task"]), on_event)
        else:
            reported = True
            outcome.rc, outcome.error = message["rc"], message["error"]
            outcome.stats = Stats(**message["stats"]) if message["stats"] else None
    return outcome if reported else None
