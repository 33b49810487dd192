"""Runs paradedb.db.switchover inside the controller: see module_utils/execution.py."""

from __future__ import annotations

from ansible_collections.paradedb.db.plugins.modules.switchover import ARGUMENT_SPEC, run
from ansible_collections.paradedb.db.plugins.plugin_utils.in_process import InProcessAction


class ActionModule(InProcessAction):
    run_module = staticmethod(run)
    argument_spec = ARGUMENT_SPEC
