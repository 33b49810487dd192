"""Where the certificate comes from: what is made, kept, refused and taken away again."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import certificates, credentials, tls
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import KubeError
from cryptography.hazmat.primitives.asymmetric import ec

from .fake_kube import FakeKube, Object
from .test_certificates import DAY, NOW, selfmade

OWNER = {
    "apiVersion": "database.paradedb.io/v1alpha1",
    "kind": "ParadeDB",
    "name": "orders",
    "uid": "uid-of-orders",
    "controller": True,
}
OWN = {"enabled": True}
MINE = {"enabled": True, "secretRef": {"name": "mine"}}
CERT_MANAGER = {"enabled": True, "certManager": {"enabled": True, "issuerRef": {"name": "house"}}}
OURS = {
    "app.kubernetes.io/name": "paradedb",
    "app.kubernetes.io/instance": "orders",
    "app.kubernetes.io/managed-by": "paradedb-operator",
    "app.kubernetes.io/component": "certificates",
}


class Cluster(FakeKube):
    """With cert-manager in it, or without."""

    def __init__(self, *objects: Object, cert_manager: int = 200) -> None:
        super().__init__(*objects)
        self.cert_manager = cert_manager

    def list(self, api_version: str, kind: str, namespace: str, selector: str) -> list[Object]:
        if kind == "Certificate" and self.cert_manager != 200:
            raise KubeError(self.cert_manager, "the server could not find the requested resource")
        return super().list(api_version, kind, namespace, selector)


def settle(
    kube: FakeKube, spec: dict[str, Any], now: datetime = NOW, check_mode: bool = False
) -> tls.Outcome:
    return tls.settle(tls.Database(kube, "prod", "orders", OWNER, check_mode), spec, now)  # type: ignore[arg-type]


def secret(name: str, values: dict[str, str], **metadata: Any) -> Object:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, **metadata}, "data": data}


def values(kube: FakeKube, name: str) -> dict[str, str]:
    return credentials.decode(kube.objects["Secret", "prod", name])


def names(kube: FakeKube) -> set[str]:
    return {f"{kind}/{name}" for kind, _namespace, name in kube.objects}


def issued(kube: Cluster) -> None:
    """What cert-manager does once it sees the Certificate."""
    template = kube.objects["Certificate", "prod", "orders-tls"]["spec"]["secretTemplate"]
    annotations = {**template["annotations"], "cert-manager.io/certificate-name": "orders-tls"}
    kube.put(secret("orders-tls", selfmade(), labels=template["labels"], annotations=annotations))


def test_without_tls_nothing_is_made() -> None:
    kube = Cluster(cert_manager=404)
    for spec in ({}, {"enabled": False}, {"enabled": False, "secretRef": {"name": "mine"}}):
        outcome = settle(kube, spec)
        assert (outcome.tls, outcome.checks, outcome.changes) == ({}, [], [])
    assert kube.writes == []


def test_our_own_certificate_is_made_once_and_kept() -> None:
    kube = Cluster(cert_manager=403)
    first = settle(kube, OWN)
    assert names(kube) == {"Secret/orders-ca", "Secret/orders-tls"}
    made = kube.objects["Secret", "prod", "orders-tls"]
    assert made["type"] == "kubernetes.io/tls"
    assert made["metadata"]["ownerReferences"] == [OWNER]
    assert set(values(kube, "orders-tls")) == {"tls.crt", "tls.key", "ca.crt"}
    assert "ca.key" not in values(kube, "orders-tls")
    end = datetime.strptime(first.tls["expires"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert end - NOW == 90 * DAY
    assert first.tls["secretName"] == "orders-tls"
    assert first.authority == values(kube, "orders-ca")["ca.crt"]
    assert [(check["type"], check["ok"]) for check in first.checks] == [("CertificateValid", True)]
    second = settle(kube, OWN, NOW + 59 * DAY)
    assert second.changes == []
    assert second.tls == first.tls


def test_renewal_changes_the_checksum_and_nothing_of_the_authority() -> None:
    kube = Cluster()
    first = settle(kube, OWN)
    authority = values(kube, "orders-ca")
    renewed = settle(kube, OWN, NOW + 61 * DAY)
    assert renewed.tls["checksum"] != first.tls["checksum"]
    assert renewed.authority == first.authority
    assert values(kube, "orders-ca") == authority
    assert [change["header"] for change in renewed.changes] == ["Secret/orders-tls"]


@pytest.mark.parametrize("name", ["orders-ca", "orders-tls"])
def test_a_deleted_secret_is_made_again(name: str) -> None:
    kube = Cluster()
    first = settle(kube, OWN)
    del kube.objects["Secret", "prod", name]
    assert settle(kube, OWN).tls["checksum"] != first.tls["checksum"]
    assert names(kube) == {"Secret/orders-ca", "Secret/orders-tls"}


def test_labels_that_somebody_took_off_cost_no_authority() -> None:
    kube = Cluster()
    first = settle(kube, OWN)
    for name in ("orders-ca", "orders-tls"):
        del kube.objects["Secret", "prod", name]["metadata"]["labels"]["app.kubernetes.io/component"]
    assert settle(kube, OWN).tls == first.tls


@pytest.mark.parametrize("name", ["orders-ca", "orders-tls"])
@pytest.mark.parametrize("spec", [OWN, CERT_MANAGER])
def test_a_namesake_of_somebody_else_is_left_alone(name: str, spec: dict[str, Any]) -> None:
    theirs = secret(name, {"a": "b"}, labels={"app.kubernetes.io/instance": "orders"})
    kube = Cluster(theirs)
    before = dict(kube.objects["Secret", "prod", name])
    if (name, spec) != ("orders-ca", CERT_MANAGER):
        with pytest.raises(Refused) as caught:
            settle(kube, spec)
        assert caught.value.reason == "NameTaken"
    settle(kube, {"enabled": False})
    assert kube.objects["Secret", "prod", name] == before


def test_no_key_is_in_what_a_pass_tells() -> None:
    kube = Cluster()
    outcome = settle(kube, OWN)
    outcome.changes += settle(kube, OWN, NOW + 61 * DAY).changes
    text = json.dumps([outcome.tls, outcome.checks, outcome.changes])
    assert "BEGIN" not in text
    assert base64.b64encode(b"-----BEGIN").decode()[:12] not in text


def test_check_mode_writes_nothing() -> None:
    kube = Cluster()
    assert len(settle(kube, OWN, check_mode=True).changes) == 2
    assert settle(kube, CERT_MANAGER, check_mode=True).tls["secretName"] == "orders-tls"
    assert kube.writes == []
    settle(kube, OWN)
    kube.writes.clear()
    assert len(settle(kube, {}, check_mode=True).changes) == 2
    assert kube.writes == []


def test_the_users_secret_is_used_as_it_is() -> None:
    kube = Cluster(secret("mine", selfmade()))
    outcome = settle(kube, MINE)
    assert outcome.tls["secretName"] == "mine"
    assert outcome.authority == ""
    assert outcome.checks[0]["ok"] is True
    assert kube.writes == []
    with_authority = {**selfmade(), "ca.crt": selfmade()["tls.crt"]}
    kube.put(secret("mine", with_authority))
    assert settle(kube, MINE).authority == with_authority["ca.crt"]


@pytest.mark.parametrize(
    ("found", "reason", "words"),
    [
        (None, "SecretNotFound", "no Secret 'mine'"),
        (secret("mine", {}), "InvalidSecret", "no tls.crt and no tls.key"),
        (secret("mine", {"tls.crt": selfmade()["tls.crt"]}), "InvalidSecret", "has no tls.key"),
        (secret("mine", {**selfmade(), "tls.key": "x"}), "InvalidCertificate", "no private key"),
        (secret("mine", selfmade() | {"tls.key": selfmade()["tls.key"]}), "InvalidCertificate", "not belong"),
        (secret("mine", selfmade(begin=NOW + DAY)), "InvalidCertificate", "not valid before"),
        (secret("mine", selfmade(begin=NOW - 9 * DAY, days=8)), "CertificateExpired", "renew it"),
        (secret("mine", selfmade(), labels=OURS), "InvalidSecret", "the operator's own"),
    ],
)
def test_a_users_secret_that_cannot_serve_is_refused(found: Object | None, reason: str, words: str) -> None:
    kube = Cluster(*([found] if found else []))
    with pytest.raises(Refused) as caught:
        settle(kube, MINE)
    assert caught.value.reason == reason
    assert caught.value.field == "spec.tls.secretRef"
    assert words in str(caught.value)
    assert kube.writes == []


def stateful_set(secret_name: str) -> Object:
    volumes = [{"name": "data", "emptyDir": {}}, {"name": "tls", "secret": {"secretName": secret_name}}]
    template = {"spec": {"volumes": volumes}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "orders"},
        "spec": {"template": template},
    }


def test_a_certificate_that_expires_in_use_stops_nothing() -> None:
    kube = Cluster(secret("mine", selfmade(begin=NOW - 9 * DAY, days=8)), stateful_set("mine"))
    (check,) = settle(kube, MINE).checks
    assert (check["ok"], check["reason"]) == (False, "CertificateExpired")
    kube.put(stateful_set("another"))
    with pytest.raises(Refused):
        settle(kube, MINE)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (selfmade(begin=NOW - DAY, days=14), "CertificateExpiring"),
        (selfmade(names=["orders.prod.svc"]), "NameNotCovered"),
        (selfmade(begin=NOW - DAY, days=16), "CertificateValid"),
    ],
)
def test_what_is_wrong_but_works_is_a_condition(made: dict[str, str], reason: str) -> None:
    (check,) = settle(Cluster(secret("mine", made)), MINE).checks
    assert check["reason"] == reason
    assert check["ok"] is (reason == "CertificateValid")
    assert "'mine'" in check["message"]


def test_the_checksum_is_that_of_the_files_in_the_pod() -> None:
    import hashlib

    held = {**selfmade(), "ca.crt": selfmade()["tls.crt"]}
    found = settle(Cluster(secret("mine", held)), MINE).tls["checksum"]
    assert found == hashlib.sha256((held["tls.crt"] + held["ca.crt"]).encode()).hexdigest()


def test_cert_manager_is_asked_and_waited_for() -> None:
    kube = Cluster()
    with pytest.raises(Refused) as caught:
        settle(kube, CERT_MANAGER)
    assert caught.value.reason == "CertificatePending"
    assert "'orders-tls'" in str(caught.value)
    spec = kube.objects["Certificate", "prod", "orders-tls"]["spec"]
    assert spec["secretName"] == "orders-tls"
    assert spec["issuerRef"] == {"group": "cert-manager.io", "kind": "Issuer", "name": "house"}
    assert spec["dnsNames"] == certificates.server_names("orders", "prod")
    kube.objects["Certificate", "prod", "orders-tls"]["status"] = {
        "conditions": [{"type": "Ready", "status": "False", "message": 'Issuer "house" not found'}]
    }
    with pytest.raises(Refused, match='Issuer "house" not found'):
        settle(kube, CERT_MANAGER)

    issued(kube)
    outcome = settle(kube, CERT_MANAGER)
    assert outcome.tls["secretName"] == "orders-tls"
    (reference,) = kube.objects["Secret", "prod", "orders-tls"]["metadata"]["ownerReferences"]
    assert (reference["uid"], reference["controller"]) == ("uid-of-orders", False)
    kube.writes.clear()
    assert settle(kube, CERT_MANAGER).changes == []
    assert kube.writes == []


@pytest.mark.parametrize(("status", "reason"), [(404, "CertManagerMissing")])
def test_a_cluster_without_cert_manager(status: int, reason: str) -> None:
    kube = Cluster(cert_manager=status)
    with pytest.raises(Refused) as caught:
        settle(kube, CERT_MANAGER)
    assert (caught.value.reason, caught.value.field) == (reason, "spec.tls.certManager")
    assert kube.writes == []


def test_no_right_to_ask_cert_manager_is_told_as_such() -> None:
    with pytest.raises(KubeError):
        settle(Cluster(cert_manager=403), CERT_MANAGER)


def test_a_long_name_has_no_common_name() -> None:
    kube = Cluster()
    database = tls.Database(kube, "n" * 63, "orders", {}, False)  # type: ignore[arg-type]
    with pytest.raises(Refused):
        tls.settle(database, CERT_MANAGER, NOW)
    (made,) = [item["spec"] for (kind, *_rest), item in kube.objects.items() if kind == "Certificate"]
    assert "commonName" not in made
    assert made["secretTemplate"]["annotations"] == {}


def test_every_change_of_source_leaves_only_the_new_one() -> None:
    kube = Cluster(secret("mine", selfmade()))
    settle(kube, OWN)
    first = values(kube, "orders-tls")

    with pytest.raises(Refused) as caught:
        settle(kube, CERT_MANAGER)
    assert caught.value.reason == "CertificatePending"
    assert values(kube, "orders-tls") == first  # in use until the new one comes
    assert names(kube) == {"Secret/mine", "Secret/orders-tls", "Secret/orders-ca", "Certificate/orders-tls"}
    issued(kube)
    settle(kube, CERT_MANAGER)
    assert names(kube) == {"Secret/mine", "Secret/orders-tls", "Certificate/orders-tls"}
    second = values(kube, "orders-tls")

    settle(kube, OWN)
    assert names(kube) == {"Secret/mine", "Secret/orders-tls", "Secret/orders-ca"}
    assert values(kube, "orders-tls")["tls.crt"] not in (first["tls.crt"], second["tls.crt"])
    assert "annotations" not in kube.objects["Secret", "prod", "orders-tls"]["metadata"]

    settle(kube, MINE)
    assert names(kube) == {"Secret/mine"}
    with pytest.raises(Refused):
        settle(kube, CERT_MANAGER)
    issued(kube)
    settle(kube, CERT_MANAGER)
    settle(kube, {"enabled": False})
    assert names(kube) == {"Secret/mine"}
    assert kube.writes.index(("delete", "Certificate", "orders-tls")) < len(kube.writes)


def test_a_certificate_goes_before_its_secret() -> None:
    """Or cert-manager would fill the Secret again."""
    kube = Cluster()
    with pytest.raises(Refused):
        settle(kube, CERT_MANAGER)
    issued(kube)
    kube.writes.clear()
    settle(kube, {})
    assert kube.writes == [("delete", "Certificate", "orders-tls"), ("delete", "Secret", "orders-tls")]


def test_a_user_key_of_our_own_kind_is_no_problem() -> None:
    values_ = selfmade(ec.generate_private_key(ec.SECP256R1()), days=800)
    assert settle(Cluster(secret("mine", values_)), MINE, NOW + timedelta(days=1)).checks[0]["ok"]
