"""The action plugin behind every module of this collection."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible.plugins.action import ActionBase
from ansible_collections.paradedb.db.plugins.module_utils.execution import Run, run_in_process


class InProcessAction(ActionBase):
    """Call the module's function here when the target is this machine; ship the module elsewhere as usual."""

    RUNS_INLINE = True

    run_module: ClassVar[Run]
    argument_spec: ClassVar[dict[str, Any]]

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        # A task's own environment is only seen by a process of its own.
        if self._connection.transport != "local" or any(self._task.environment or []):
            return self._execute_module(task_vars=task_vars)
        return run_in_process(
            self.run_module, self.argument_spec, dict(self._task.args), self._task.check_mode
        )
