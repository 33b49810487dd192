"""
Tasks whose action plugin asks for it run in the process of the run itself, not in a worker forked for each.

A fork for every task protects Ansible from what actions do to shared state. An action plugin that only speaks
to an API needs no such protection and says so with ``RUNS_INLINE = True``; it then keeps its connection from
task to task, and saves the copying of memory that is most of a short task's cost. This leans on internals of
ansible-core, so it is done for the release series it was tried with, and elsewhere every task forks as usual.
"""

import io
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, TextIO

from ansible._internal import _task
from ansible.executor.process.worker import WorkerProcess
from ansible.playbook.task import Task
from ansible.plugins import strategy
from ansible.plugins.loader import action_loader
from ansible.release import __version__

_TRIED_WITH = ("2.21.",)


def install() -> None:
    """Let strategies of this process use the worker below."""
    if __version__.startswith(_TRIED_WITH):
        strategy.WorkerProcess = InlineWorker


class InlineWorker(WorkerProcess):
    """A worker that is no process when its action needs none."""

    _inline = False
    _task: Task

    def start(self) -> None:
        """Run the task here to its end, or fork for it."""
        if not _may_run_here(self._task, self._task_vars):
            super().start()
            return
        self._inline = True
        host = self._host
        kept = host.vars, host.groups
        self._task = _copy(self._task)
        try:
            with (
                redirect_stdout(_Through(sys.stdout)),
                redirect_stderr(_Through(sys.stderr)),
                _task.TaskContext.create(task=self._task, task_vars=self._task_vars, host_name=host.name),
            ):
                self._run()
        finally:
            host.vars, host.groups = kept

    def is_alive(self) -> bool:
        return not self._inline and super().is_alive()

    @property
    def exitcode(self) -> int | None:
        return 0 if self._inline else super().exitcode

    def close(self) -> None:
        if not self._inline:
            super().close()


def _copy(task: Task) -> Task:
    """The task with fields of its own, since running it replaces their templates by values."""
    copied = task.copy(exclude_parent=True, exclude_tasks=True)
    copied._parent = task._parent
    return copied


def _may_run_here(task: Task, task_vars: Mapping[str, Any]) -> bool:
    """Whether the action asks for it and has nothing to do that needs another process or machine."""
    if task.delegate_to or any(task.environment or []) or task_vars.get("ansible_connection") != "local":
        return False
    action = action_loader.get(task.resolved_action or task.action, class_only=True)
    return getattr(action, "RUNS_INLINE", False)


class _Through(io.StringIO):
    """What a worker takes for the output it captured: nothing, since everything is passed on."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()
