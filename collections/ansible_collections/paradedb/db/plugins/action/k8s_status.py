"""Runs paradedb.db.k8s_status inside the controller: see module_utils/execution.py."""

from __future__ import annotations

from ansible_collections.paradedb.db.plugins.modules.k8s_status import ARGUMENT_SPEC, run
from ansible_collections.paradedb.db.plugins.plugin_utils.in_process import InProcessAction


class ActionModule(InProcessAction):
    run_module = staticmethod(run)
    argument_spec = ARGUMENT_SPEC
