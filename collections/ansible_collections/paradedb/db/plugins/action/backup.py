"""Runs paradedb.db.backup inside the controller: see module_utils/execution.py."""

from __future__ import annotations

from functools import partial
from typing import Any

from ansible_collections.paradedb.db.plugins.modules.backup import ARGUMENT_SPEC, run
from ansible_collections.paradedb.db.plugins.plugin_utils.in_process import InProcessAction


class ActionModule(InProcessAction):
    run_module = staticmethod(run)
    argument_spec = ARGUMENT_SPEC

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.run_module = partial(run, show=self._display.display)
