#!/usr/bin/python
"""Delete everything that belongs to a ParadeDB."""

from __future__ import annotations

DOCUMENTATION = r"""
module: teardown
short_description: Delete everything that belongs to a ParadeDB
version_added: 0.1.0
description:
  - Deletes the instances, waits up to a minute for PostgreSQL to shut down, then deletes the other objects. It never waits
    longer, so that a broken pod or node does not hold the deletion back.
  - Volume claims stay unless I(delete_data) says otherwise.
options:
  delete_data:
    description: Delete the volume claims too, and with them the data.
    type: bool
    default: false
extends_documentation_fragment:
  - paradedb.db.instance
  - kubernetes.core.k8s_auth_options
author: The paradedb.db maintainers
attributes:
  check_mode: {support: full, description: Lists what would be deleted.}
  diff_mode: {support: none, description: The list I(deleted) says what goes.}
"""

EXAMPLES = r"""
- name: Take the database away and keep its data
  paradedb.db.teardown:
    name: orders
    namespace: production
"""

RETURN = r"""
deleted:
  description: Kind and name of every deleted object.
  type: list
  elements: str
  returned: always
"""

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.execution import argument_spec, run_module
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube
from ansible_collections.paradedb.db.plugins.module_utils.teardown import remove

ARGUMENT_SPEC = argument_spec(
    delete_data={"type": "bool", "default": False},
)


def run(params: dict[str, Any], kube: Kube, check_mode: bool) -> dict[str, Any]:
    """Delete."""
    return remove(kube, params["namespace"], params["name"], params["delete_data"], check_mode)


if __name__ == "__main__":
    run_module(run, ARGUMENT_SPEC)
