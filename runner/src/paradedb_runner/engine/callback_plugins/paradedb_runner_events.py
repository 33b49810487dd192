"""The callback of a forked run: tells its report about every task that ended, and the recap."""

from __future__ import annotations

import time
from typing import Any

from ansible.executor.stats import AggregateStats
from ansible.executor.task_result import CallbackTaskResult
from ansible.plugins.callback import CallbackBase
from paradedb_runner.engine.report import Report

DOCUMENTATION = """
name: paradedb_runner_events
type: notification
short_description: Reports the ends of tasks to the runner
description: Used by the fork engine of paradedb-runner; of no use elsewhere.
"""

_COUNTS = ("ok", "changed", "skipped", "failures", "dark", "rescued", "ignored", "processed")


class CallbackModule(CallbackBase):
    """Speaks ansible-runner's event format, so that both engines read events with the same code."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "paradedb_runner_events"

    def __init__(self) -> None:
        super().__init__()
        self._started: dict[tuple[str, str], float] = {}

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self._started[host.get_name(), task._uuid] = time.monotonic()

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        self._ended("runner_on_ok", result)

    def v2_runner_on_failed(self, result: CallbackTaskResult, ignore_errors: bool = False) -> None:
        self._ended("runner_on_failed", result, ignore_errors=ignore_errors)

    def v2_runner_on_unreachable(self, result: CallbackTaskResult) -> None:
        self._ended("runner_on_unreachable", result)

    def v2_runner_on_skipped(self, result: CallbackTaskResult) -> None:
        self._ended("runner_on_skipped", result)

    def v2_playbook_on_no_hosts_matched(self) -> None:
        Report.current.event(
            {"event": "playbook_on_no_hosts_matched", "stdout": "skipping: no hosts matched"}
        )

    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:
        counts = {name: dict(getattr(stats, name)) for name in _COUNTS}
        Report.current.event({"event": "playbook_on_stats", "event_data": counts})

    def _ended(self, event: str, result: CallbackTaskResult, **more: Any) -> None:
        task, host = result.task, result.host.get_name()
        started = self._started.pop((host, task._uuid), None)
        data = {
            "task": task.name or task.action,
            "task_action": task.action,
            "resolved_action": task.resolved_action,
            "role": task._role.get_name() if task._role else "",
            "host": host,
            "duration": time.monotonic() - started if started else 0.0,
            "res": result.result,
            **more,
        }
        Report.current.event({"event": event, "event_data": data})
