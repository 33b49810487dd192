#!/usr/bin/python
"""Make a backup of a ParadeDB now, or verify the newest."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup
short_description: Make a backup of a ParadeDB now, or verify the newest
version_added: 0.1.0
description:
  - Starts what the schedule would start, as a Job of the same template, and waits until it has ended, with its progress on the
    screen.
  - Works with and without an operator in the cluster. With one, the annotation C(database.paradedb.io/backup) of the resource
    does the same.
  - Fails, and starts nothing, when backups are not set up, when the database sleeps, and when such a backup runs already.
  - Fails with the program's reason when the backup fails.
options:
  kind:
    description:
      - V(dump) is one of every database and the roles, V(base) a copy of the files for continuous backup.
      - V(verify) restores the newest backup in a place of its own and checks it.
    type: str
    choices: [dump, base, verify]
    default: dump
  wait:
    description: Whether to wait until it has ended.
    type: bool
    default: true
  timeout:
    description: Seconds to wait. A backup that takes longer goes on; the task fails.
    type: int
    default: 21600
extends_documentation_fragment:
  - paradedb.db.instance
  - kubernetes.core.k8s_auth_options
author: The paradedb.db maintainers
attributes:
  check_mode: {support: full, description: Checks whether one could begin.}
  diff_mode: {support: full, description: Shows the Job.}
"""

EXAMPLES = r"""
- name: Make a backup before a risky change
  paradedb.db.backup:
    name: orders
    namespace: production

- name: Restore the newest backup in a throw-away pod and check it
  paradedb.db.backup:
    name: orders
    namespace: production
    kind: verify
"""

RETURN = r"""
job:
  description: The Job that does it.
  type: str
  returned: success
backup:
  description: The backup that was made or verified.
  type: str
  returned: when waited for
size:
  description: Its size, as a quantity.
  type: str
  returned: when waited for
duration:
  description: Seconds that it took.
  type: int
  returned: when waited for
checks:
  description: What a verification found, a sentence for each check.
  type: dict
  returned: when waited for
"""

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.backup_names import DUMP, TASKS
from ansible_collections.paradedb.db.plugins.module_utils.backup_now import Show, perform
from ansible_collections.paradedb.db.plugins.module_utils.execution import argument_spec, run_module
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube

ARGUMENT_SPEC = argument_spec(
    kind={"type": "str", "choices": list(TASKS), "default": DUMP},
    wait={"type": "bool", "default": True},
    timeout={"type": "int", "default": 21600},
)


def run(
    params: dict[str, Any], kube: Kube, check_mode: bool, show: Show = lambda _line: None
) -> dict[str, Any]:
    """Start it, and wait. ``show`` is for who can show progress: a module cannot."""
    timeout = params["timeout"] if params["wait"] else 0
    return perform(kube, params["namespace"], params["name"], params["kind"], timeout, check_mode, show)


if __name__ == "__main__":
    run_module(run, ARGUMENT_SPEC)
