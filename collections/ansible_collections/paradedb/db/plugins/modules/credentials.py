#!/usr/bin/python
"""Make sure of the Secrets and the ServiceAccount of a ParadeDB."""

from __future__ import annotations

DOCUMENTATION = r"""
module: credentials
short_description: Make sure of the Secrets, the certificate and the ServiceAccount of a ParadeDB
version_added: 0.1.0
description:
  - Keeps the ServiceAccount of the instances, the Secret C(<name>-credentials) with the superuser's credentials and connection strings, and the Secret
    C(<name>-patroni) with the passwords of the instances' own roles.
  - Keeps the Secrets of further roles too, the users', the pooler's and the exporter's, and deletes them when they are no longer asked for.
    What is wrong with one of these is told in C(checks) and stops nothing else.
  - Passwords are generated once and kept, or taken from the user's Secret. They pass through no Ansible variable. To change a generated one,
    edit C(password) in its Secret, or delete the Secret.
  - With TLS, also sees to the certificate of the instances. It is the user's own; or cert-manager's, asked for with the Certificate C(<name>-tls);
    or one that the module signs and renews itself, in the Secrets C(<name>-ca) and C(<name>-tls). What is no longer asked for is deleted
    as soon as no instance uses it any more; until then C(ca.crt) of C(<name>-credentials) holds the former authority beside the new one.
  - While cert-manager has not issued it, a database that already has a certificate goes on with that one.
options:
  database:
    description: The database that the connection strings name.
    type: str
    required: true
  superuser_secret:
    description: Name of the user's Secret with C(username) and C(password); empty for a generated password.
    type: str
    default: ""
  tls:
    description: The field C(spec.tls) of the ParadeDB.
    type: dict
    default: {}
  users:
    description:
      - The field C(spec.auth.users) of the ParadeDB.
      - A user with a C(secretRef) has the password of that Secret, whose values are never written. One that the module made before
        becomes the user's own, without the module's labels and owner reference.
      - For any other, the Secret C(<name>-<user>) is made, with all that an application needs.
    type: list
    elements: dict
    default: []
  pooler:
    description: Whether to keep the Secret C(<name>-pooler), the pooler's own role.
    type: bool
    default: false
  exporter:
    description: Whether to keep the Secret C(<name>-exporter), the role with which metrics are read.
    type: bool
    default: false
extends_documentation_fragment:
  - paradedb.db.instance
  - paradedb.db.owner
  - kubernetes.core.k8s_auth_options
author: The paradedb.db maintainers
attributes:
  check_mode: {support: full, description: Applies with a server-side dry run.}
  diff_mode: {support: full, description: Shows the names of the values; the values are hidden.}
"""

EXAMPLES = r"""
- name: Make sure of the credentials
  paradedb.db.credentials:
    name: orders
    namespace: production
    database: paradedb

- name: Make sure of the credentials of two users as well
  paradedb.db.credentials:
    name: orders
    namespace: production
    database: paradedb
    users:
      - name: shop
      - {name: reporting, secretRef: {name: my-reporting}, databases: [paradedb]}

- name: Make sure of the credentials and a certificate
  paradedb.db.credentials:
    name: orders
    namespace: production
    database: paradedb
    tls:
      enabled: true
"""

RETURN = r"""
secret:
  description: Name of the Secret with the superuser's credentials.
  type: str
  returned: always
superuser:
  description: The superuser's name.
  type: str
  returned: always
users:
  description: The users whose Secret serves, in the order of the option.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: The user's name.
      type: str
    secretName:
      description: The Secret with the user's password.
      type: str
pooler_checksum:
  description: Changes with what PgBouncer reads of Secrets, its password and the certificates; empty without a pooler.
  type: str
  returned: always
checksum:
  description: Changes with what an instance is given when it starts - its own roles' passwords, its token.
  type: str
  returned: always
tls:
  description: The certificate of the instances; empty without TLS.
  type: dict
  returned: always
  contains:
    secretName:
      description: The Secret that holds it.
      type: str
    expires:
      description: Until when it is valid, as RFC 3339 writes it.
      type: str
    checksum:
      description: Changes with the certificate, or with the authorities beside it.
      type: str
checks:
  description: What is to be said of the certificate, as the condition CertificateValid, with TLS; and of Secrets that cannot serve, as UsersReady,
    PoolerReady and MonitoringReady.
  type: list
  elements: dict
  returned: always
"""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from functools import partial
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import certificates, tls
from ansible_collections.paradedb.db.plugins.module_utils.credentials import (
    credentials_name,
    patroni_name,
    readable,
    superuser,
)
from ansible_collections.paradedb.db.plugins.module_utils.execution import (
    OWNER_ARG_SPEC,
    argument_spec,
    run_module,
)
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube
from ansible_collections.paradedb.db.plugins.module_utils.objects import apply_all, complete, diff
from ansible_collections.paradedb.db.plugins.module_utils.secret_contents import (
    application_secret,
    new_password,
    patroni_secret,
    secret_definition,
)
from ansible_collections.paradedb.db.plugins.module_utils.user_secrets import Keeper

ARGUMENT_SPEC = argument_spec(
    database={"type": "str", "required": True},
    superuser_secret={"type": "str", "default": "", "no_log": False},
    tls={"type": "dict", "default": {}},
    users={"type": "list", "elements": "dict", "default": []},
    pooler={"type": "bool", "default": False},
    exporter={"type": "bool", "default": False},
    **OWNER_ARG_SPEC,
)


def run(params: dict[str, Any], kube: Kube, check_mode: bool) -> dict[str, Any]:
    """Read or generate the passwords and the certificate, and apply all Secrets."""
    name, namespace = params["name"], params["namespace"]
    boss, password = superuser(kube, namespace, name, {"name": params["superuser_secret"]})
    whose = tls.Database(kube, namespace, name, params["owner"], check_mode, params["pooler"])
    certificate = tls.settle(whose, params["tls"], datetime.now(UTC))
    application = partial(
        application_secret,
        *(name, namespace),
        tls=bool(certificate.tls),
        authority=_authority(kube, namespace, name, certificate),
    )
    own = application(boss, password or new_password(), params["database"])
    patroni = patroni_secret(readable(kube.get("v1", "Secret", namespace, patroni_name(name))), boss)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    definitions = [
        account,
        secret_definition(credentials_name(name), own, "kubernetes.io/basic-auth"),
        secret_definition(patroni_name(name), patroni, "Opaque"),
    ]
    wanted = [complete(item, namespace, name, "credentials", params["owner"]) for item in definitions]
    changes = certificate.changes + apply_all(kube, wanted, {}, check_mode)
    roles = Keeper(kube, params, boss, application, check_mode).settle()
    changes += roles.changes
    # A pod's token is bound to this one account: a namesake made after its deletion does not honour it.
    account = kube.get("v1", "ServiceAccount", namespace, name) or account
    read_at_start = patroni["patroni.yml"] + account["metadata"].get("uid", "")
    return {
        "changed": bool(changes),
        "secret": credentials_name(name),
        "superuser": boss,
        "users": roles.users,
        "checksum": hashlib.sha256(read_at_start.encode()).hexdigest(),
        "pooler_checksum": _pooler_checksum(roles.userlist, certificate, patroni["restapi-password"]),
        "tls": certificate.tls,
        "checks": certificate.checks + roles.checks,
        "diff": diff(changes),
    }


def _pooler_checksum(userlist: str, certificate: tls.Outcome, key: str) -> str:
    """With a key, because it stands where a password must not be guessed by who tries some."""
    if not userlist:
        return ""
    read = [userlist, certificate.tls.get("checksum", ""), certificate.authority]
    return hmac.digest(key.encode(), json.dumps(read).encode(), "sha256").hex()


def _authority(kube: Kube, namespace: str, name: str, certificate: tls.Outcome) -> str:
    """Whom clients are to trust; while an instance may still serve another certificate, whom they trusted too."""
    if certificate.in_effect:
        return certificate.authority
    present = readable(kube.get("v1", "Secret", namespace, credentials_name(name)))
    return certificates.together(certificate.authority, present.get("ca.crt", ""))


if __name__ == "__main__":
    run_module(run, ARGUMENT_SPEC)
