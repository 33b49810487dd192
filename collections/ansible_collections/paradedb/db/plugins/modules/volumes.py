#!/usr/bin/python
"""Let the volumes of a ParadeDB grow to the spec."""

from __future__ import annotations

DOCUMENTATION = r"""
module: volumes
short_description: Let the volumes of a ParadeDB grow to the spec
version_added: 0.1.0
description:
  - Asks for the size in the spec for every claim that is smaller, of instances that are there and of those that were.
    The API server is asked about each beforehand, so that none is changed when one cannot be. It is asked about one at a
    time, though - a quota that has room for some of them lets those grow and refuses the rest.
  - Then deletes a StatefulSet whose templates have other sizes, without its pods; the next M(paradedb.db.apply) makes
    it anew around them. The database runs on.
  - Does nothing when the volumes have their size. Fails with reason V(VolumeNotExpandable) when the StorageClass does
    not let them grow, and with V(QuotaExceeded) when a quota does not.
options:
  spec:
    description: The completed spec, as M(paradedb.db.preflight) returns it; I(storage) is read.
    type: dict
    required: true
extends_documentation_fragment:
  - paradedb.db.instance
  - kubernetes.core.k8s_auth_options
author: The paradedb.db maintainers
attributes:
  check_mode: {support: full, description: Asks the API server whether it would do it.}
  diff_mode: {support: none, description: The list I(changes) says what is done.}
"""

EXAMPLES = r"""
- name: Let the volumes grow
  paradedb.db.volumes:
    name: orders
    namespace: production
    spec: "{{ paradedb.spec }}"
"""

RETURN = r"""
changes:
  description: What was done.
  type: list
  elements: str
  returned: success
"""

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.execution import argument_spec, run_module
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube
from ansible_collections.paradedb.db.plugins.module_utils.volumes import grow

ARGUMENT_SPEC = argument_spec(spec={"type": "dict", "required": True})


def run(params: dict[str, Any], kube: Kube, check_mode: bool) -> dict[str, Any]:
    """Patch the claims, and delete the StatefulSet that would make smaller ones."""
    return grow(kube, params["namespace"], params["name"], params["spec"], check_mode)


if __name__ == "__main__":
    run_module(run, ARGUMENT_SPEC)
