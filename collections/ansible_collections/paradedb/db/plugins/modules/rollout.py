#!/usr/bin/python
"""Bring the instances of a ParadeDB one step towards what was applied."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout
short_description: Bring the instances of a ParadeDB one step towards what was applied
version_added: 0.1.0
description:
  - Adds and removes instances, replaces those whose pod was made from an older template (replicas first, then the primary
    after it has handed over), restarts PostgreSQL where a setting waits for it, has a replica that cannot rejoin cloned
    anew, moves the primary off a node that is being drained or to the instance that a person asked for, and has renewed
    certificates read.
  - One step a call, so that a reconcile stays short; I(settled) says when nothing is left to do.
  - Fails with reason and field when an instance cannot become ready by itself.
options:
  spec:
    description: The completed spec, as M(paradedb.db.preflight) returns it.
    type: dict
    required: true
  certificate:
    description: Checksum of the certificate that the instances shall use, as M(paradedb.db.credentials) returned it.
    type: str
    default: ""
  resizing:
    description: What the volumes still wait for, as M(paradedb.db.preflight) returned it.
    type: str
    default: ""
  database:
    description: What M(paradedb.db.database) returned.
    type: dict
    default: {}
extends_documentation_fragment:
  - paradedb.db.instance
  - kubernetes.core.k8s_auth_options
author: The paradedb.db maintainers
attributes:
  check_mode: {support: full, description: Says which step is next.}
  diff_mode: {support: none, description: The message says the step.}
"""

EXAMPLES = r"""
- name: Roll the change out
  paradedb.db.rollout:
    name: orders
    namespace: production
    spec: "{{ paradedb.spec }}"
    database: "{{ database }}"
"""

RETURN = r"""
settled:
  description: Whether the instances run what was applied.
  type: bool
  returned: success
reason:
  description: CamelCase word for what it waits for.
  type: str
  returned: success
message:
  description: The same for a person.
  type: str
  returned: success
replicas:
  description: How many instances are wanted now - none of a hibernated database, one where replicas cannot work.
  type: int
  returned: success
checks:
  description: Further conditions for the status, each with type, ok, reason and message.
  type: list
  elements: dict
  returned: success
events:
  description: Events to write, each with type, reason and message.
  type: list
  elements: dict
  returned: success
requeue_after:
  description: Seconds after which another look is worth while.
  type: int
  returned: when not settled
"""

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.execution import argument_spec, run_module
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube
from ansible_collections.paradedb.db.plugins.module_utils.rollout import reconcile

ARGUMENT_SPEC = argument_spec(
    spec={"type": "dict", "required": True},
    database={"type": "dict", "default": {}},
    certificate={"type": "str", "default": ""},
    resizing={"type": "str", "default": ""},
)


def run(params: dict[str, Any], kube: Kube, check_mode: bool) -> dict[str, Any]:
    """Take one step."""
    return reconcile(
        kube,
        params["namespace"],
        params["name"],
        params["spec"],
        params["database"],
        check_mode,
        params["certificate"],
        params["resizing"],
    )


if __name__ == "__main__":
    run_module(run, ARGUMENT_SPEC)
