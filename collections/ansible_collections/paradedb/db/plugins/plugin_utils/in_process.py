"""The action plugin behind every module of this collection."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible_collections.paradedb.db.plugins.module_utils.execution import Run, run_in_process


class InProcessAction(ActionBase):
    """Call the module's function here when the target is this machine; ship the module elsewhere as usual."""

    # For the runner's fork engine: such a task needs no worker process of its own.
    RUNS_INLINE = True

    run_module: ClassVar[Run]
    argument_spec: ClassVar[dict[str, Any]]
    validator: ClassVar[ArgumentSpecValidator]

    def __init_subclass__(cls, **more: Any) -> None:
        """Make the validator once, at import: making one costs more than using it."""
        super().__init_subclass__(**more)
        cls.validator = ArgumentSpecValidator(cls.argument_spec)

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        # A task's own environment is only seen by a process of its own.
        if self._connection.transport != "local" or any(self._task.environment or []):
            return self._execute_module(task_vars=task_vars)
        return run_in_process(self.run_module, self.validator, dict(self._task.args), self._task.check_mode)
