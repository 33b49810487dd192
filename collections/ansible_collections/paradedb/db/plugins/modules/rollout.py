#!/usr/bin/python
"""Bring the instances of a ParadeDB one step towards what was applied, and write its status."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout
short_description: Bring the instances of a ParadeDB one step towards what was applied, and write its status
version_added: 0.1.0
description:
  - Adds and removes instances, replaces those whose pod was made from an older template (replicas first, then the primary
    after it has handed over), restarts PostgreSQL where a setting waits for it, has a replica that cannot rejoin cloned
    anew, moves the primary off a node that is being drained or to the instance that a person asked for, and has renewed
    certificates read.
  - One step a call, so that a reconcile stays short; I(settled) says when nothing is left to do.
  - Starts the backups that are due - the first one of a new place, and those that a person asked for by an annotation.
  - Ends the pass - what it and the modules before it found becomes phase, conditions and events of the resource. Without a
    resource (one-off provisioning) nothing is written.
  - Fails with reason and field when an instance cannot become ready by itself.
options:
  spec:
    description: The completed spec, as M(paradedb.db.preflight) returns it.
    type: dict
    required: true
  generation:
    description: The generation that the pass works on, as M(paradedb.db.preflight) returned it.
    type: int
    default: 0
  plan:
    description: What M(paradedb.db.preflight) returned as I(plan). Only I(resizing) and I(prometheus_operator) are read.
    type: dict
    default: {}
  credentials:
    description: What M(paradedb.db.credentials) returned. Only I(tls), I(users) and I(checks) are read.
    type: dict
    default: {}
  database:
    description: What M(paradedb.db.database) returned.
    type: dict
    default: {}
extends_documentation_fragment:
  - paradedb.db.instance
  - kubernetes.core.k8s_auth_options
author: The paradedb.db maintainers
attributes:
  check_mode: {support: full, description: Says which step is next, and shows the status it would write.}
  diff_mode: {support: full, description: Shows the status before and after.}
"""

EXAMPLES = r"""
- name: Roll the change out
  paradedb.db.rollout:
    name: orders
    namespace: production
    spec: "{{ paradedb.spec }}"
    generation: "{{ paradedb.generation }}"
    plan: "{{ paradedb.plan }}"
    credentials: "{{ paradedb_credentials }}"
    database: "{{ paradedb_database }}"
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
phase:
  description: The phase after the call.
  type: str
  returned: when the resource exists
requeue_after:
  description: Seconds after which another look is worth while.
  type: int
  returned: when something is not settled
"""

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import backup_jobs, resource_status
from ansible_collections.paradedb.db.plugins.module_utils.execution import argument_spec, run_module
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube
from ansible_collections.paradedb.db.plugins.module_utils.rollout import reconcile

ARGUMENT_SPEC = argument_spec(
    spec={"type": "dict", "required": True},
    generation={"type": "int", "default": 0},
    plan={"type": "dict", "default": {}},
    credentials={"type": "dict", "default": {}},
    database={"type": "dict", "default": {}},
)


def run(params: dict[str, Any], kube: Kube, check_mode: bool) -> dict[str, Any]:
    """Take one step, start the backups that are due, and say what came of the pass."""
    where = kube, params["namespace"], params["name"]
    results = {name: params[name] for name in ("database", "credentials")}
    certificate = (results["credentials"].get("tls") or {}).get("checksum", "")
    resizing = params["plan"].get("resizing", "")
    step = reconcile(*where, params["spec"], results["database"], check_mode, certificate, resizing)
    tended = backup_jobs.tend(*where, params["generation"], params["spec"], step["settled"], check_mode)
    results["rollout"] = step | {"events": step["events"] + tended["events"]}
    takes = bool(params["plan"].get("prometheus_operator"))
    said = resource_status.finished(*where, params["generation"], results, check_mode, takes)
    looks = [found["requeue_after"] for found in (step, said, tended) if "requeue_after" in found]
    again = {"requeue_after": min(looks)} if looks else {}
    changed = step["changed"] or tended["changed"] or said["changed"]
    return step | said | {"changed": changed} | again


if __name__ == "__main__":
    run_module(run, ARGUMENT_SPEC)
