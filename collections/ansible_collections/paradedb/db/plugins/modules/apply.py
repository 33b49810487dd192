#!/usr/bin/python
"""Apply the objects of one component of a ParadeDB, and prune those it no longer has."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apply
short_description: Apply the objects of one component of a ParadeDB and prune what it no longer has
version_added: 0.1.0
description:
  - Applies a set of Kubernetes objects by server-side apply in one call, as field manager C(paradedb-operator),
    with the labels of the ParadeDB and an owner reference to it.
  - Objects of the listed I(kinds) which carry the component's labels and are not in the set are deleted.
    An empty set removes the component.
  - A PersistentVolumeClaim has no owner reference. One that is there may only grow, and a warning tells why it does not;
    its other fields stay.
options:
  component:
    description: Name of the component, the value of label C(app.kubernetes.io/component).
    type: str
    required: true
  definitions:
    description: The objects, without namespace, common labels and owner reference.
    type: list
    elements: dict
    required: true
  kinds:
    description:
      - Every C(apiVersion/Kind) this component may consist of, so that what is no longer wanted is found.
      - One that the cluster does not have is passed over.
    type: list
    elements: str
    required: true
  pods:
    description:
      - Component whose pods mount ConfigMaps of this one.
      - A checksum of them becomes an annotation of each of these pods when it changes, which has the kubelet bring the
        mounted files up to date at once, and not within a minute. That does not count as a change.
    type: str
    default: ""
  checksum:
    description: Stands in the checksum for what these pods mount besides, such as a Secret.
    type: str
    default: ""
extends_documentation_fragment:
  - paradedb.db.instance
  - paradedb.db.owner
  - kubernetes.core.k8s_auth_options
author: The paradedb.db maintainers
attributes:
  check_mode: {support: full, description: Applies with a server-side dry run.}
  diff_mode: {support: full, description: Shows each changed object; values of Secrets are hidden.}
"""

EXAMPLES = r"""
- name: Apply the Services
  paradedb.db.apply:
    name: orders
    namespace: production
    component: services
    kinds: [v1/Service]
    definitions:
      - apiVersion: v1
        kind: Service
        metadata: {name: orders}
        spec: {selector: {app.kubernetes.io/instance: orders}, ports: [{port: 5432}]}
"""

RETURN = r"""
changes:
  description: Kind and name of every object created, changed or deleted.
  type: list
  elements: str
  returned: always
"""

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.execution import (
    OWNER_ARG_SPEC,
    argument_spec,
    run_module,
)
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube
from ansible_collections.paradedb.db.plugins.module_utils.labels import COMPONENT, instance_selector
from ansible_collections.paradedb.db.plugins.module_utils.objects import (
    apply_all,
    complete,
    diff,
    observe,
    refresh_mounts,
)

ARGUMENT_SPEC = argument_spec(
    component={"type": "str", "required": True},
    definitions={"type": "list", "elements": "dict", "required": True},
    kinds={"type": "list", "elements": "str", "required": True},
    pods={"type": "str", "default": ""},
    checksum={"type": "str", "default": ""},
    **OWNER_ARG_SPEC,
)


def run(params: dict[str, Any], kube: Kube, check_mode: bool) -> dict[str, Any]:
    """Make the component's objects what ``definitions`` says."""
    name, namespace, component = params["name"], params["namespace"], params["component"]
    kinds = [tuple(kind.rsplit("/", 1)) for kind in params["kinds"]]
    wanted = [complete(item, namespace, name, component, params["owner"]) for item in params["definitions"]]
    existing = observe(kube, kinds, namespace, f"{instance_selector(name)},{COMPONENT}={component}")
    warnings: list[str] = []
    changes = apply_all(kube, wanted, existing, check_mode, warnings)
    if params["pods"] and wanted and not check_mode:
        pods = kube.list("v1", "Pod", namespace, f"{instance_selector(name)},{COMPONENT}={params['pods']}")
        refresh_mounts(kube, pods, component, wanted, params["checksum"])
    return {
        **({"warnings": warnings} if warnings else {}),
        "changed": bool(changes),
        "changes": [change["header"] for change in changes],
        "diff": diff(changes),
    }


if __name__ == "__main__":
    run_module(run, ARGUMENT_SPEC)
