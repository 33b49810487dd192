"""Runs paradedb.db.preflight inside the controller: see module_utils/execution.py."""

from __future__ import annotations

from ansible_collections.paradedb.db.plugins.module_utils.schema import spec_schema
from ansible_collections.paradedb.db.plugins.modules.preflight import ARGUMENT_SPEC, run
from ansible_collections.paradedb.db.plugins.plugin_utils.in_process import InProcessAction


class ActionModule(InProcessAction):
    run_module = staticmethod(run)
    argument_spec = ARGUMENT_SPEC


spec_schema()  # reading it takes longer than using it: a process that forks for its runs has it from here on
