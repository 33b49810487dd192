#!/usr/bin/python
"""Refuse a spec that cannot be brought into effect."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Refuse a spec that cannot be brought into effect, before any of it is applied
version_added: 0.1.0
description:
  - Checks what no schema can - that the named Secret exists and has its keys, that access rules can be read, that the
    running PostgreSQL accepts changed settings.
  - Tells what the pass is to go by - how many instances the StatefulSet holds, whether volumes are to grow, whether every
    instance has a certificate.
  - Fails with C(reason), C(field) and a message that names the field and the way out.
options:
  spec:
    description: The completed spec, as M(paradedb.db.paradedb_info) returns it.
    type: dict
    required: true
extends_documentation_fragment:
  - paradedb.db.instance
  - kubernetes.core.k8s_auth_options
author: The paradedb.db maintainers
attributes:
  check_mode: {support: full, description: The module changes nothing.}
  diff_mode: {support: none, description: The module changes nothing.}
"""

EXAMPLES = r"""
- name: Refuse what cannot work
  paradedb.db.preflight:
    name: orders
    namespace: production
    spec: "{{ paradedb.spec }}"
  register: paradedb_plan
"""

RETURN = r"""
replicas:
  description: Number of instances for the StatefulSet's template; M(paradedb.db.rollout) changes it.
  type: int
  returned: success
spec:
  description: The spec as the settings are to follow it, which differs where replicas cannot work or are not there yet.
  type: dict
  returned: success
grow:
  description: Whether volumes or the StatefulSet's templates of them are smaller than the spec wants.
  type: bool
  returned: success
resizing:
  description: What the volumes still wait for; empty when nothing.
  type: str
  returned: success
tls_enforced:
  description: Whether every instance has a certificate, so that connections without encryption are refused.
  type: bool
  returned: success
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

from ansible_collections.paradedb.db.plugins.module_utils.execution import argument_spec, run_module
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube
from ansible_collections.paradedb.db.plugins.module_utils.preflight import check

ARGUMENT_SPEC = argument_spec(
    spec={"type": "dict", "required": True},
)


def run(params: dict[str, Any], kube: Kube, check_mode: bool) -> dict[str, Any]:
    """Check; the exception of a refusal becomes the module's failure."""
    return {"changed": False, **check(kube, params["namespace"], params["name"], params["spec"])}


if __name__ == "__main__":
    run_module(run, ARGUMENT_SPEC)
