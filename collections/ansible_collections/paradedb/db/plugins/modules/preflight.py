#!/usr/bin/python
"""Begin a pass: read a ParadeDB, say so in its status, refuse what cannot work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Begin a pass - read a ParadeDB, and refuse what cannot work before any of it is applied
version_added: 0.1.0
description:
  - Reads the resource, or takes the given I(spec), and completes it with the defaults of the resource's schema.
  - Writes into the status that a pass begins. For a resource that is paused, it writes down how the instances are instead,
    and nothing else is to be done.
  - Checks names, access rules, settings, volumes, backups, where a recovery begins from and the pooler's settings, and asks
    a running PostgreSQL whether it accepts settings that changed.
  - Says how the pass is to go on, in I(plan).
options:
  spec:
    description: The spec to work by, for provisioning without an operator; without it the resource is read from the cluster.
    type: dict
extends_documentation_fragment:
  - paradedb.db.instance
  - kubernetes.core.k8s_auth_options
author: The paradedb.db maintainers
attributes:
  check_mode: {support: full, description: Writes no status.}
  diff_mode: {support: full, description: Shows the status before and after.}
"""

EXAMPLES = r"""
- name: Read the ParadeDB and refuse what cannot work
  paradedb.db.preflight:
    name: orders
    namespace: production
  register: paradedb
"""

RETURN = r"""
spec:
  description: The spec with all defaults.
  type: dict
  returned: when it could be read
owner:
  description: The owner reference for objects of this ParadeDB; empty when there is no resource.
  type: dict
  returned: when it could be read
uid:
  description: A value unique to this ParadeDB - the resource's uid, or the namespace and name without a resource.
  type: str
  returned: when it could be read
generation:
  description: The generation of the resource that the spec is of; 0 when there is no resource.
  type: int
  returned: when it could be read
plan:
  description: What the pass is to go by.
  type: dict
  returned: success, unless I(spec.paused)
  contains:
    replicas:
      description: Number of instances for the StatefulSet's template; M(paradedb.db.rollout) changes it.
      type: int
    spec:
      description: The spec as the settings are to follow it, which differs where replicas cannot work or are not there yet.
      type: dict
    recovering:
      description: Whether the database is still to be made out of a backup, by I(spec.bootstrap.recovery).
      type: bool
    recovery:
      description: What it is made from; empty unless I(recovering).
      type: dict
      contains:
        method:
          description: C(dump) or C(continuous).
          type: str
        server:
          description: Name of the ParadeDB that made the backup.
          type: str
        store:
          description: Where the backup is, as C(s3) with the fields of I(spec.backup.s3), or as C(volume) with the name of a claim.
          type: dict
        backup:
          description: Id of the backup; empty for the newest that serves.
          type: str
        target:
          description: Where the recovery ends, by C(time), C(lsn) or C(name); empty for the end of the archive.
          type: dict
    grow:
      description: Whether volumes or the StatefulSet's templates of them are smaller than the spec wants.
      type: bool
    resizing:
      description: What the volumes still wait for; empty when nothing.
      type: str
    tls_enforced:
      description: Whether every instance has a certificate, so that connections without encryption are refused.
      type: bool
    prometheus_operator:
      description: Whether objects of the Prometheus operator were asked for and the cluster takes them.
      type: bool
requeue_after:
  description: Seconds after which the runner should look again, sooner than its period.
  type: int
  returned: when the resource is paused and nobody leads
reason:
  description: CamelCase reason for the condition.
  type: str
  returned: failure
field:
  description: Path of the field to mend.
  type: str
  returned: failure
"""

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import resource, resource_status
from ansible_collections.paradedb.db.plugins.module_utils.execution import argument_spec, run_module
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube
from ansible_collections.paradedb.db.plugins.module_utils.preflight import check

ARGUMENT_SPEC = argument_spec(
    spec={"type": "dict"},
)


def run(params: dict[str, Any], kube: Kube, check_mode: bool) -> dict[str, Any]:
    """Read, say so, check; the exception of a refusal becomes the module's failure, with what was read."""
    where = kube, params["namespace"], params["name"]
    found = resource.read(*where, params["spec"])
    try:
        if found["spec"]["paused"]:
            return found | resource_status.paused(*where, check_mode)
        said = resource_status.started(*where, found["generation"], check_mode)
        return found | said | {"plan": check(*where, found["spec"])}
    except Exception as error:
        error.result = {"generation": found["generation"]}  # type: ignore[attr-defined]
        raise


if __name__ == "__main__":
    run_module(run, ARGUMENT_SPEC)
