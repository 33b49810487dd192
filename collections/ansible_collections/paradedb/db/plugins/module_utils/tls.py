"""Where the instances' certificate comes from: the user's Secret, cert-manager or the operator itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import certificates, instances, steps
from ansible_collections.paradedb.db.plugins.module_utils.conditions import CERTIFICATE_VALID
from ansible_collections.paradedb.db.plugins.module_utils.credentials import (
    authority_name,
    certificate_name,
    is_ours,
    readable,
)
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import (
    Kube,
    KubeError,
    Object,
    annotations,
    by_name,
)
from ansible_collections.paradedb.db.plugins.module_utils.labels import (
    API_VERSION,
    COMPONENT,
    KIND,
    instance_labels,
    instance_selector,
)
from ansible_collections.paradedb.db.plugins.module_utils.objects import apply_all, complete
from ansible_collections.paradedb.db.plugins.module_utils.secret_contents import secret_definition

CERT_MANAGER = "cert-manager.io/v1"
TLS_COMPONENT = "certificates"
# cert-manager writes it on each Secret that it fills: https://cert-manager.io/docs/reference/annotations/
_ISSUED_FOR = "cert-manager.io/certificate-name"
# Who renews a certificate that somebody else issues should have done so by then: with two weeks left, or with
# a sixth of its life where it is a short one. cert-manager renews with a third left.
EXPIRES_SOON = timedelta(days=14)
_LAST_PART = 6


@dataclass
class Outcome:
    """What a pass makes of spec.tls."""

    tls: dict[str, str] = field(default_factory=dict)
    authority: str = ""  # for clients to trust, PEM; empty when it is not known
    checks: list[dict[str, Any]] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    unwanted: dict[tuple[str, str], Object] = field(default_factory=dict)  # once no instance needs them
    in_effect: bool = True  # every instance serves this certificate, and no other


@dataclass(frozen=True)
class Database:
    """Whose certificate it is, and how its objects are made."""

    kube: Kube
    namespace: str
    name: str
    owner: Object
    check_mode: bool
    pooler: bool = False

    @property
    def secret(self) -> str:
        return certificate_name(self.name)

    @property
    def authority(self) -> str:
        return authority_name(self.name)

    def get_secret(self, name: str) -> Object | None:
        return self.kube.get("v1", "Secret", self.namespace, name)

    def complete(self, definition: Object) -> Object:
        return complete(definition, self.namespace, self.name, TLS_COMPONENT, self.owner)


def settle(database: Database, tls: dict[str, Any], now: datetime) -> Outcome:
    """Make sure of the certificate that spec.tls asks for.

    What no longer is asked for goes when no instance needs it any more: until then the field can be put back.
    Raises Refused when it cannot be used, or when there is none yet.
    """
    cert_manager = (tls.get("certManager") or {}) if tls.get("enabled") else {}
    existing = _existing(database, needs_cert_manager=bool(cert_manager.get("enabled")))
    if not tls.get("enabled"):
        outcome = Outcome(unwanted=existing)
    elif tls.get("secretRef"):
        outcome = _from_user(database, tls["secretRef"]["name"], now)
        outcome.unwanted = existing
    elif cert_manager.get("enabled"):
        outcome = _from_cert_manager(database, cert_manager["issuerRef"], existing, now)
    else:
        outcome = _from_ourselves(database, existing, now)
    outcome.in_effect = _in_effect(database, outcome.tls)
    if outcome.in_effect:
        outcome.changes += _prune(database, outcome.unwanted)
    return outcome


def _existing(database: Database, needs_cert_manager: bool) -> dict[tuple[str, str], Object]:
    """Our Secrets and Certificates. Without cert-manager, or the right to look, there are no Certificates."""
    kube, namespace = database.kube, database.namespace
    selector = f"{instance_selector(database.name)},{COMPONENT}={TLS_COMPONENT}"
    found = kube.list("v1", "Secret", namespace, selector)
    try:
        found += kube.list(CERT_MANAGER, "Certificate", namespace, selector)
    except KubeError as error:
        if error.status not in (403, 404) or (needs_cert_manager and error.status == 403):
            raise
        if needs_cert_manager:
            raise Refused(
                "CertManagerMissing",
                "spec.tls.certManager",
                f"the cluster has no {CERT_MANAGER} Certificates; install cert-manager or remove the field",
            ) from None
    return by_name(found)


def _prune(database: Database, unwanted: dict[tuple[str, str], Object]) -> list[dict[str, Any]]:
    """Delete them, a Certificate before the Secret that it would have filled again."""
    ordered = dict(sorted(unwanted.items()))
    return apply_all(database.kube, [], ordered, database.check_mode)


def _from_ourselves(database: Database, existing: dict[tuple[str, str], Object], now: datetime) -> Outcome:
    ours = {("Secret", database.authority), ("Secret", database.secret)}
    unwanted = {
        key: item for key, item in existing.items() if key not in ours or _ISSUED_FOR in annotations(item)
    }
    changes = _prune(database, unwanted)
    kept = {key: item for key, item in existing.items() if key not in unwanted}
    present = {key: kept.get(key) or database.get_secret(key[1]) for key in sorted(ours - set(unwanted))}
    authority = certificates.authority(
        readable(present.get(("Secret", database.authority))), database.name, now
    )
    names = certificates.server_names(database.name, database.namespace)
    values = certificates.server(readable(present.get(("Secret", database.secret))), authority, names, now)
    wanted = [
        database.complete(secret_definition(database.authority, authority, "Opaque")),
        database.complete(secret_definition(database.secret, values, "kubernetes.io/tls")),
    ]
    changes += apply_all(database.kube, wanted, kept, database.check_mode)
    outcome = _outcome(database, database.secret, values, now)
    outcome.changes = changes
    return outcome


def _from_user(database: Database, secret: str, now: datetime) -> Outcome:
    at = "spec.tls.secretRef"
    found = database.get_secret(secret)
    if found is None:
        raise Refused(
            "SecretNotFound",
            at,
            f"there is no Secret {secret!r} in namespace {database.namespace!r}; create it",
        )
    if is_ours(found, database.name):
        raise Refused("InvalidSecret", at, f"the Secret {secret!r} is the operator's own; name another")
    values = _values(found, at)
    certificate = _read(values, at, secret)
    if certificate.not_valid_before_utc > now:
        begin = _rfc3339(certificate.not_valid_before_utc)
        raise Refused(
            "InvalidCertificate", at, f"the certificate in Secret {secret!r} is not valid before {begin}"
        )
    if certificate.not_valid_after_utc <= now and _given(database) != secret:
        end = _rfc3339(certificate.not_valid_after_utc)
        raise Refused(
            "CertificateExpired", at, f"the certificate in Secret {secret!r} expired {end}; renew it"
        )
    return _outcome(database, secret, values, now)


def _from_cert_manager(
    database: Database, issuer: dict[str, Any], existing: dict[tuple[str, str], Object], now: datetime
) -> Outcome:
    secret = database.get_secret(database.secret)
    if secret is not None and not is_ours(secret, database.name):
        raise Refused(
            "NameTaken",
            "metadata.name",
            f"the Secret {database.secret!r} belongs to something else; delete it or choose another name",
        )
    key = ("Certificate", database.secret)
    present = {key: existing[key]} if key in existing else {}
    wanted = database.complete(_certificate_definition(database, issuer))
    changes = apply_all(database.kube, [wanted], present, database.check_mode)
    # Ours that was there before stays, and in use, until cert-manager has filled it.
    if secret is None or _ISSUED_FOR not in annotations(secret):
        outcome = _meanwhile(database, _pending(database, issuer, present.get(key)), now)
        outcome.changes = changes
        return outcome
    at = "spec.tls.certManager"
    outcome = _outcome(database, database.secret, _values(secret, at), now, at)
    kept = (key, ("Secret", database.secret))
    outcome.unwanted = {name: item for name, item in existing.items() if name not in kept}
    outcome.changes = changes + _adopt(database, secret)
    return outcome


def _meanwhile(database: Database, pending: Refused, now: datetime) -> Outcome:
    """A database that has a certificate goes on with it; one that has none waits. Raises ``pending``."""
    secret = _given(database) or (database.secret if database.check_mode else "")
    if not secret:
        raise pending
    try:
        outcome = _outcome(database, secret, readable(database.get_secret(secret)), now)
    except Refused:  # the instances have it loaded, although it is not to be had any more
        outcome = Outcome({"secretName": secret, "expires": "", "checksum": ""})
    end = outcome.tls["expires"]
    stays = f"; the certificate in Secret {secret!r} stays in use" + (f" and expires {end}" if end else "")
    check = {"type": CERTIFICATE_VALID, "ok": False, "reason": "CertificatePending"}
    outcome.checks = [check | {"message": f"{pending}{stays}"}]
    return outcome


def _certificate_definition(database: Database, issuer: dict[str, Any]) -> Object:
    names = certificates.server_names(database.name, database.namespace)
    labels = {**instance_labels(database.name), COMPONENT: TLS_COMPONENT}
    # How an object that has no owner reference says whose it is: the runner then hears of it.
    annotations = {
        "operator-sdk/primary-resource": f"{database.namespace}/{database.name}",
        "operator-sdk/primary-resource-type": f"{KIND}.{API_VERSION.partition('/')[0]}",
    }
    full = f"{database.name}.{database.namespace}.svc"
    # Some issuers want one; X.509 has room for 64 characters.
    common_name = {"commonName": full} if len(full) <= 64 else {}
    return {
        "apiVersion": CERT_MANAGER,
        "kind": "Certificate",
        "metadata": {"name": database.secret},
        "spec": {
            "secretName": database.secret,
            "secretTemplate": {"labels": labels, "annotations": annotations if database.owner else {}},
            "issuerRef": {"group": "cert-manager.io", "kind": _kind(issuer), "name": issuer["name"]},
            **common_name,
            "dnsNames": names,
            "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
            "usages": ["digital signature", "server auth"],
        },
    }  # fmt: skip


def _pending(database: Database, issuer: dict[str, Any], certificate: Object | None) -> Refused:
    conditions = ((certificate or {}).get("status") or {}).get("conditions") or []
    said = next((item.get("message", "") for item in conditions if item.get("type") == "Ready"), "")
    source = f"{_kind(issuer)} {issuer['name']!r}"
    waits = f"cert-manager has not issued the Secret {database.secret!r} from {source} yet"
    return Refused("CertificatePending", "spec.tls.certManager", f"{waits}: {said}" if said else waits)


def _kind(issuer: dict[str, Any]) -> str:
    return issuer.get("kind") or "Issuer"


def _adopt(database: Database, secret: Object) -> list[dict[str, Any]]:
    """Have the Secret that cert-manager made go with the ParadeDB: cert-manager itself leaves it for ever."""
    references = secret["metadata"].get("ownerReferences") or []
    if not database.owner or any(item["uid"] == database.owner["uid"] for item in references):
        return []
    if not database.check_mode:
        # Only one owner may be the controller; that could be the Certificate, if cert-manager is set up so.
        ours = {**database.owner, "controller": False}
        database.kube.merge_patch(secret, {"metadata": {"ownerReferences": [*references, ours]}})
    return [{"header": f"Secret/{database.secret}", "before": {}, "after": {"owner": database.name}}]


def _given(database: Database) -> str | None:
    """The Secret that the StatefulSet gives to the instances; empty for none, None without a StatefulSet."""
    found = database.kube.get("apps/v1", "StatefulSet", database.namespace, database.name)
    return _mounted(found["spec"]["template"]) if found else None


def _mounted(pod: Object) -> str:
    """The Secret with the certificate of a pod, or of a template of one; empty for none."""
    volumes = (pod.get("spec") or {}).get("volumes") or []
    return next((item["secret"]["secretName"] for item in volumes if item["name"] == "tls"), "")


def _in_effect(database: Database, tls: dict[str, str]) -> bool:
    """Whether nothing uses another certificate any more: neither an instance nor one that is yet to start."""
    secret, checksum = tls.get("secretName", ""), tls.get("checksum", "")
    pods = instances.all_pods(database.kube, database.namespace, database.name)
    loaded = [annotations(pod).get(steps.LOADED, "") for pod in pods]
    if any(_mounted(pod) != secret for pod in pods) or any(secret and note != checksum for note in loaded):
        return False
    return _given(database) in (None, secret)


def _values(secret: Object, at: str) -> dict[str, str]:
    """The values that instances read of somebody else's Secret. Raises Refused for what is no text."""
    values = readable(secret)
    for key in ("tls.crt", "tls.key", "ca.crt"):
        if key in (secret.get("data") or {}) and key not in values:
            name = secret["metadata"]["name"]
            raise Refused(
                "InvalidCertificate", at, f"the Secret {name!r} holds a {key} that is not in PEM form"
            )
    return values


def _read(values: dict[str, str], at: str, secret: str) -> Any:
    try:
        return certificates.read(values)
    except certificates.Unusable as error:
        incomplete = not (values.get("tls.crt", "").strip() and values.get("tls.key", "").strip())
        reason = "InvalidSecret" if incomplete else "InvalidCertificate"
        raise Refused(reason, at, f"the Secret {secret!r} {error}") from None


def _outcome(
    database: Database, secret: str, values: dict[str, str], now: datetime, at: str = "spec.tls"
) -> Outcome:
    certificate = _read(values, at, secret)
    end = certificate.not_valid_after_utc
    held = values["tls.crt"] + values.get("ca.crt", "")
    tls = {
        "secretName": secret,
        "expires": _rfc3339(end),
        "checksum": hashlib.sha256(held.encode()).hexdigest(),
    }
    kinds = ("", "-ro", "-pooler") if database.pooler else ("", "-ro")
    needed = [f"{database.name}{kind}.{database.namespace}.svc" for kind in kinds]
    missing = certificates.missing_names(certificate, needed)
    remedy = "look why cert-manager does not renew it" if at == "spec.tls.certManager" else "renew it"
    soon = min(EXPIRES_SOON, (end - certificate.not_valid_before_utc) / _LAST_PART)
    check = _check(f"the certificate in Secret {secret!r}", end - now, _rfc3339(end), soon, missing, remedy)
    return Outcome(tls, values.get("ca.crt", ""), [{"type": CERTIFICATE_VALID, **check}])


def _check(
    whole: str, left: timedelta, end: str, soon: timedelta, missing: list[str], remedy: str
) -> dict[str, Any]:
    if left <= timedelta():
        reason, message = "CertificateExpired", f"{whole} expired {end}; {remedy}"
    elif left < soon:
        reason, message = "CertificateExpiring", f"{whole} expires {end}; {remedy}"
    elif missing:
        reason = "NameNotCovered"
        message = f"{whole} has no name {' and no '.join(missing)}: clients that verify names cannot connect"
    else:
        return {"ok": True, "reason": "CertificateValid", "message": f"{whole} expires {end}"}
    return {"ok": False, "reason": reason, "message": message}


def _rfc3339(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
