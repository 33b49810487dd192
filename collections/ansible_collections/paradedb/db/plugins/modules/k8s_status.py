#!/usr/bin/python
"""Set the status of any resource."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_status
short_description: Set the status of any Kubernetes resource
version_added: 0.1.0
description:
  - For operators whose playbooks write the status of their own resources, in place of C(operator_sdk.util.k8s_status).
  - Reads the resource, merges what is given into its status and writes the difference to the status subresource in one
    request, or nothing when there is none. When somebody else wrote in between, it reads and merges again.
  - A field that the schema of the kind does not have is dropped by the API server; the module warns of it.
options:
  api_version:
    description: Group and version of the resource.
    type: str
    default: v1
    aliases: [api, version]
  kind:
    description: Kind of the resource, or its plural, singular or short name.
    type: str
    required: true
  name:
    description: Name of the resource.
    type: str
    required: true
  namespace:
    description: Namespace of the resource; without effect for a kind that is not in namespaces.
    type: str
    default: ""
  status:
    description:
      - Fields of the status. A mapping is merged key by key, a null takes its key out, a list is replaced as a whole.
      - C(conditions) in it are merged as those of I(conditions), but may have any fields.
    type: dict
    default: {}
  conditions:
    description:
      - Conditions, merged into those of the status by their type.
      - C(lastTransitionTime) changes only when C(status) does.
    type: list
    elements: dict
    suboptions:
      type:
        description: Type of the condition, one word such as C(Ready).
        type: str
        required: true
      status:
        description: Whether the condition holds.
        type: str
        choices: ["True", "False", "Unknown"]
        required: true
      reason:
        description: Why, in one CamelCase word.
        type: str
      message:
        description: The same for a person.
        type: str
      observedGeneration:
        description: C(metadata.generation) that the condition speaks of.
        type: int
      lastTransitionTime:
        description: When the status changed (RFC 3339); now, when it is not given.
        type: str
      lastHeartbeatTime:
        description: When the condition was last looked at (RFC 3339). A new value is a change, and so a write each time.
        type: str
  replace:
    description: Whether the status becomes exactly what is given, instead of having it merged in.
    type: bool
    default: false
    aliases: [force]
  replace_lists:
    description: Taken for playbooks written for C(operator_sdk.util); lists are always replaced as a whole.
    type: bool
    default: false
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
requirements:
  - python >= 3.11
  - kubernetes >= 31
author: The paradedb.db maintainers
attributes:
  check_mode: {support: full, description: Writes with a server-side dry run.}
  diff_mode: {support: full, description: Shows the status before and after.}
"""

EXAMPLES = r"""
- name: Publish the address and that the service answers
  paradedb.db.k8s_status:
    api_version: example.com/v1
    kind: Cache
    name: "{{ ansible_operator_meta.name }}"
    namespace: "{{ ansible_operator_meta.namespace }}"
    status:
      endpoint: cache.example.svc:11211
    conditions:
      - type: Available
        status: "True"
        reason: PingSucceeded
        message: The service answers
"""

RETURN = r"""
result:
  description: The resource after the call.
  type: dict
  returned: success
"""

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.any_status import write
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.execution import kube_argument_spec, run_module
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube

_CONDITION = {
    "type": {"type": "str", "required": True},
    "status": {"type": "str", "required": True, "choices": ["True", "False", "Unknown"]},
    "reason": {"type": "str"},
    "message": {"type": "str"},
    "observedGeneration": {"type": "int"},
    "lastTransitionTime": {"type": "str"},
    "lastHeartbeatTime": {"type": "str"},
}

ARGUMENT_SPEC = kube_argument_spec(
    api_version={"type": "str", "default": "v1", "aliases": ["api", "version"]},
    kind={"type": "str", "required": True},
    name={"type": "str", "required": True},
    namespace={"type": "str", "default": ""},
    status={"type": "dict", "default": {}},
    conditions={"type": "list", "elements": "dict", "options": _CONDITION},
    replace={"type": "bool", "default": False, "aliases": ["force"]},
    replace_lists={"type": "bool", "default": False},
)


def run(params: dict[str, Any], kube: Kube, check_mode: bool) -> dict[str, Any]:
    """Write the status."""
    status, conditions = params["status"], params["conditions"]
    if conditions is not None and "conditions" in status:
        raise Refused("InvalidStatus", "conditions", "stand in status too; give them in one place")
    return write(kube, params, status, conditions, params["replace"], check_mode)


if __name__ == "__main__":
    run_module(run, ARGUMENT_SPEC)
