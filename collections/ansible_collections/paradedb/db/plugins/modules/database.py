#!/usr/bin/python
"""Bring databases, extensions, roles and their privileges to what the spec says."""

from __future__ import annotations

DOCUMENTATION = r"""
module: database
short_description: Bring the database inside a ParadeDB to what its spec says
version_added: 0.1.0
description:
  - Runs one idempotent SQL program with C(psql) in the primary's container - users and their passwords (as SCRAM
    verifiers), databases, owners and privileges, the roles of pooler and exporter, the extensions in their order - and
    reports what is in effect.
  - The passwords are read from the Secrets that M(paradedb.db.credentials) keeps, and from those that the spec names.
  - Does nothing, and says so, while no primary is ready.
  - A user, a database or an extension that cannot be as the spec says is reported, not fatal.
  - Drops no database, no role and nothing that anybody made.
  - Updates the extensions of every database, and of template1, when the image has other versions of them than before.
    Waits with that until all instances run the same image.
options:
  spec:
    description: The completed spec, as M(paradedb.db.preflight) returns it.
    type: dict
    required: true
  salt_seed:
    description: Unique to this ParadeDB and stable, so that the password's verifier stays the same - its uid.
    type: str
    required: true
  tls_enforced:
    description: Whether the access rules ask for encryption; as M(paradedb.db.preflight) returned it.
    type: bool
    default: false
extends_documentation_fragment:
  - paradedb.db.instance
  - kubernetes.core.k8s_auth_options
author: The paradedb.db maintainers
attributes:
  check_mode: {support: full, description: Tells what it would change.}
  diff_mode: {support: none, description: The list I(changes) says what is done.}
"""

EXAMPLES = r"""
- name: Bring the database to the spec
  paradedb.db.database:
    name: orders
    namespace: production
    spec: "{{ paradedb.spec }}"
    salt_seed: "{{ paradedb.uid }}"
"""

RETURN = r"""
connected:
  description: Whether a primary was ready. Without one, no other value is returned.
  type: bool
  returned: always
changes:
  description: What was done.
  type: list
  elements: str
  returned: when connected
version:
  description: PostgreSQL's version.
  type: str
  returned: when connected
extensions:
  description: Extensions of the application's database, with their versions.
  type: list
  elements: dict
  returned: when connected
missing_extensions:
  description: Extensions asked for in the application's database and not there, each with its problem.
  type: list
  elements: dict
  returned: when connected
search_version:
  description: The version of pg_search that the image would install; empty when it has none.
  type: str
  returned: when connected
oldest_wal:
  description: Where the write-ahead log that the primary still has begins, in bytes.
  type: int
  returned: when connected
checks:
  description: The conditions ExtensionsReady and ExtensionsCurrent, UsersReady where the spec has users or databases, and
    what keeps the roles of pooler and exporter from being made, for M(paradedb.db.status).
  type: list
  elements: dict
  returned: when connected
settings_applied:
  description: Whether Patroni has taken the settings that the spec asks for.
  type: bool
  returned: when connected
pending_restart:
  description: Whether a setting waits for a restart of PostgreSQL.
  type: bool
  returned: when connected
hba_problem:
  description: The first access rule that PostgreSQL could not read.
  type: str
  returned: when connected
"""

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.database import reconcile
from ansible_collections.paradedb.db.plugins.module_utils.execution import argument_spec, run_module
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube

ARGUMENT_SPEC = argument_spec(
    spec={"type": "dict", "required": True},
    salt_seed={"type": "str", "required": True},
    tls_enforced={"type": "bool", "default": False},
)


def run(params: dict[str, Any], kube: Kube, check_mode: bool) -> dict[str, Any]:
    """Run the program and report."""
    return reconcile(
        kube,
        params["namespace"],
        params["name"],
        params["spec"],
        params["salt_seed"],
        check_mode,
        params["tls_enforced"],
    )


if __name__ == "__main__":
    run_module(run, ARGUMENT_SPEC)
