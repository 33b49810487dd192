"""
From ansible-runner's event dicts to the little we keep of them. Arguments and results of tasks stop here.
"""

import re
from collections.abc import Mapping
from typing import Any

from paradedb_runner.engine.interface import Stats, TaskEvent, shorten, task_failure

_OUTCOMES = {
    "runner_on_ok": "ok",
    "runner_on_failed": "failed",
    "runner_on_unreachable": "unreachable",
    "runner_on_skipped": "skipped",
}
_UPSTREAM_REQUEUE = "operator_sdk.util.requeue_after"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_ERROR_LINE = re.compile(r"(\[ERROR\]|ERROR!|: error:|fatal:|Traceback|no hosts matched)", re.IGNORECASE)


def task_event(event: Mapping[str, Any]) -> TaskEvent | None:
    """The end of a task, or None for any other event."""
    outcome = _OUTCOMES.get(str(event.get("event")))
    if outcome is None:
        return None
    data = event.get("event_data") or {}
    raw = data.get("res")
    result: dict[str, Any] = raw if isinstance(raw, dict) else {}
    task = shorten(str(data.get("task") or data.get("task_action") or ""), 256)
    action = str(data.get("resolved_action") or data.get("task_action") or "")
    return TaskEvent(
        outcome=outcome,
        task=task,
        action=action,
        role=str(data.get("role") or ""),
        host=str(data.get("host") or ""),
        duration=round(float(data.get("duration") or 0.0), 3),
        changed=bool(result.get("changed")),
        ignored=bool(data.get("ignore_errors")),
        message=task_failure(result, task) if outcome in {"failed", "unreachable"} else "",
        requeue_after=_requeue_after(result, action) if outcome == "ok" else None,
    )


def stats(event: Mapping[str, Any]) -> Stats | None:
    """The recap, or None for any other event."""
    if event.get("event") != "playbook_on_stats":
        return None
    data = event.get("event_data") or {}
    counted = ("ok", "changed", "skipped", "failures", "dark", "rescued", "ignored")
    totals = {name: sum((data.get(name) or {}).values()) for name in counted}
    return Stats(**totals, hosts=len(data.get("processed") or {}))


def module_outcome(module: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a ModuleOutcome out of what a module answered."""
    return {
        "changed": bool(result.get("changed")),
        "error": task_failure(result, module) if result.get("failed") else "",
        "requeue_after": _requeue_after(result),
    }


def error_lines(output: list[str]) -> str:
    """
    What Ansible said went wrong, of lines printed outside any task: all from the first error on, or the last
    few.
    """
    lines = [line for raw in output if (line := _ANSI.sub("", raw).strip())]
    first = next((index for index, line in enumerate(lines) if _ERROR_LINE.search(line)), -5)
    return shorten("\n".join(lines[first:]))


def _requeue_after(result: Mapping[str, Any], action: str = "") -> str | float | None:
    """What a task asked for; the module of operator_sdk.util has a name of its own for it."""
    value = result.get("period" if action == _UPSTREAM_REQUEUE else "requeue_after")
    return value if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None
