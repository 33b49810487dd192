#!/usr/bin/python
"""Write the status of a ParadeDB resource."""

from __future__ import annotations

DOCUMENTATION = r"""
module: status
short_description: Write phase, conditions and events of a ParadeDB resource
version_added: 0.1.0
description:
  - Phases go by the state diagram (Pending, Creating, Running, Updating, Failed, Deleting); every transition is an event.
    Nothing is written when nothing changed. Of passes that end well M(paradedb.db.rollout) writes the status.
  - Without a resource (one-off provisioning) it does nothing.
options:
  state:
    description:
      - What the pass has come to.
      - V(observed) is for between passes - it writes down how the instances are, and asks for a pass when more is needed.
    type: str
    choices: [failed, deleting, observed]
    required: true
  generation:
    description: The generation that the pass works on, as M(paradedb.db.preflight) returned it; 0 when it was not read.
    type: int
    default: 0
  credentials:
    description:
      - What M(paradedb.db.credentials) returned, for I(state=failed) if the pass came so far.
      - Only I(tls) and I(checks) are read.
    type: dict
    default: {}
  reason:
    description: CamelCase reason of the failure; for I(state=failed).
    type: str
    default: ReconcileFailed
  message:
    description: What failed, naming the field and the fix; for I(state=failed).
    type: str
    default: ""
extends_documentation_fragment:
  - paradedb.db.instance
  - kubernetes.core.k8s_auth_options
author: The paradedb.db maintainers
attributes:
  check_mode: {support: full, description: Shows the status it would write.}
  diff_mode: {support: full, description: Shows the status before and after.}
"""

EXAMPLES = r"""
- name: Say what failed
  paradedb.db.status:
    name: orders
    namespace: production
    generation: "{{ paradedb.generation }}"
    state: failed
    reason: "{{ ansible_failed_result.reason }}"
    message: "{{ ansible_failed_result.msg }}"
"""

RETURN = r"""
phase:
  description: The phase after the call.
  type: str
  returned: when the resource exists
waiting:
  description: Whether the failure is one that ends by itself, so that the pass has not failed.
  type: bool
  returned: for I(state=failed), when it is so
message:
  description: What it waits for.
  type: str
  returned: with I(waiting)
requeue_after:
  description: Seconds after which the runner should look again, sooner than its period.
  type: int
  returned: when something is not settled
"""

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import resource_status
from ansible_collections.paradedb.db.plugins.module_utils.execution import argument_spec, run_module
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube

_STATES = ["failed", "deleting", "observed"]
ARGUMENT_SPEC = argument_spec(
    state={"type": "str", "required": True, "choices": _STATES},
    generation={"type": "int", "default": 0},
    credentials={"type": "dict", "default": {}},
    reason={"type": "str", "default": "ReconcileFailed"},
    message={"type": "str", "default": ""},
)


def run(params: dict[str, Any], kube: Kube, check_mode: bool) -> dict[str, Any]:
    """Write the status for the state."""
    where, generation = (kube, params["namespace"], params["name"]), params["generation"]
    if params["state"] == "failed":
        return resource_status.failed(
            *where, generation, params["reason"], params["message"], check_mode, params["credentials"]
        )
    if params["state"] == "observed":
        return resource_status.observed(*where, check_mode)
    return resource_status.deleting(*where, check_mode)


if __name__ == "__main__":
    run_module(run, ARGUMENT_SPEC)
