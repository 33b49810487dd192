#!/usr/bin/python
"""Make another instance of a ParadeDB the primary."""

from __future__ import annotations

DOCUMENTATION = r"""
module: switchover
short_description: Make another instance of a ParadeDB the primary
version_added: 0.1.0
description:
  - Has the primary hand over in order - it stops taking writes, the replica gets what it has not got yet, and takes over.
    Clients lose their connections and write again after a second or two. No acknowledged row is lost.
  - Works with and without an operator in the cluster. With one, the annotation C(database.paradedb.io/switchover) of the
    resource does the same.
  - Fails, and changes nothing, when the instance cannot take over.
options:
  candidate:
    description: The instance that shall be the primary; V(any) leaves the choice to the operator.
    type: str
    default: any
  timeout:
    description: Seconds to wait until the new primary serves; V(0) does not wait.
    type: int
    default: 60
extends_documentation_fragment:
  - paradedb.db.instance
  - kubernetes.core.k8s_auth_options
author: The paradedb.db maintainers
attributes:
  check_mode: {support: full, description: Says who would be the primary.}
  diff_mode: {support: none, description: The result says it.}
"""

EXAMPLES = r"""
- name: Have another instance lead
  paradedb.db.switchover:
    name: orders
    namespace: production

- name: Have a certain instance lead
  paradedb.db.switchover:
    name: orders
    namespace: production
    candidate: orders-2
"""

RETURN = r"""
before:
  description: The primary before.
  type: str
  returned: success
primary:
  description: The primary now.
  type: str
  returned: success
"""

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.execution import argument_spec, run_module
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube
from ansible_collections.paradedb.db.plugins.module_utils.switchover import ANY, perform

ARGUMENT_SPEC = argument_spec(
    candidate={"type": "str", "default": ANY},
    timeout={"type": "int", "default": 60},
)


def run(params: dict[str, Any], kube: Kube, check_mode: bool) -> dict[str, Any]:
    """Ask Patroni, and wait."""
    return perform(
        kube, params["namespace"], params["name"], params["candidate"], params["timeout"], check_mode
    )


if __name__ == "__main__":
    run_module(run, ARGUMENT_SPEC)
