#!/usr/bin/python
"""Bring the instances of a ParadeDB one step towards what was applied."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout
short_description: Bring the instances of a ParadeDB one step towards what was applied
version_added: 0.1.0
description:
  - Replaces an instance whose pod was made from an older template, and restarts PostgreSQL where a setting waits for it.
    One step a call, so that a reconcile stays short; I(settled) says when nothing is left to do.
  - Fails with reason and field when an instance cannot become ready by itself.
options:
  replicas:
    description: Number of instances wanted.
    type: int
    required: true
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
    replicas: 1
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
    replicas={"type": "int", "required": True},
    database={"type": "dict", "default": {}},
)


def run(params: dict[str, Any], kube: Kube, check_mode: bool) -> dict[str, Any]:
    """Take one step."""
    return reconcile(
        kube, params["namespace"], params["name"], params["replicas"], params["database"], check_mode
    )


if __name__ == "__main__":
    run_module(run, ARGUMENT_SPEC)
