#!/usr/bin/python
"""Read a ParadeDB and complete its spec."""

from __future__ import annotations

DOCUMENTATION = r"""
module: paradedb_info
short_description: Read a ParadeDB and complete its spec
version_added: 0.1.0
description:
  - Returns the spec with all defaults, and what the roles need to own the objects they make.
  - With I(spec), no resource is read - the spec is checked against the resource's schema and completed from it, for
    provisioning without an operator.
options:
  spec:
    description: The spec to complete; without it the resource is read from the cluster.
    type: dict
extends_documentation_fragment:
  - paradedb.db.instance
  - kubernetes.core.k8s_auth_options
author: The paradedb.db maintainers
attributes:
  check_mode: {support: full, description: The module changes nothing.}
  diff_mode: {support: none, description: The module changes nothing.}
"""

EXAMPLES = r"""
- name: Read the ParadeDB
  paradedb.db.paradedb_info:
    name: orders
    namespace: production
  register: paradedb
"""

RETURN = r"""
spec:
  description: The spec with all defaults.
  type: dict
  returned: success
owner:
  description: The owner reference for objects of this ParadeDB; empty when there is no resource.
  type: dict
  returned: success
uid:
  description: A value unique to this ParadeDB - the resource's uid, or the namespace and name without a resource.
  type: str
  returned: success
generation:
  description: The generation of the resource that the spec is of; 0 when there is no resource.
  type: int
  returned: success
"""

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.execution import argument_spec, run_module
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, owner_reference
from ansible_collections.paradedb.db.plugins.module_utils.labels import API_VERSION, KIND
from ansible_collections.paradedb.db.plugins.module_utils.schema import complete_spec

ARGUMENT_SPEC = argument_spec(
    spec={"type": "dict"},
)


def run(params: dict[str, Any], kube: Kube, check_mode: bool) -> dict[str, Any]:
    """Complete the given spec, or the resource's."""
    name, namespace = params["name"], params["namespace"]
    resource = kube.get(API_VERSION, KIND, namespace, name)
    if params["spec"] is not None:
        if resource is not None:
            raise Refused(
                "ManagedByOperator",
                "metadata.name",
                f"{name!r} is a ParadeDB resource in namespace {namespace!r}; edit the resource instead",
            )
        spec = complete_spec(params["spec"])
        return {"changed": False, "spec": spec, "owner": {}, "uid": f"{namespace}/{name}", "generation": 0}
    if resource is None:
        raise Refused(
            "NotFound", "metadata.name", f"there is no ParadeDB {name!r} in namespace {namespace!r}"
        )
    return {
        "changed": False,
        "spec": complete_spec(resource["spec"]),
        "owner": owner_reference(resource),
        "uid": resource["metadata"]["uid"],
        "generation": resource["metadata"]["generation"],
    }


if __name__ == "__main__":
    run_module(run, ARGUMENT_SPEC)
