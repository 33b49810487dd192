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

from .fake_kube import FakeKube, Object, pod
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


def asked(kube: Cluster) -> None:
    """Have a new database ask cert-manager."""
    with pytest.raises(Refused, match="has not issued"):
        settle(kube, CERT_MANAGER)


def issued(kube: Cluster, values: dict[str, str] | None = None) -> None:
    """What cert-manager does once it sees the Certificate."""
    template = kube.objects["Certificate", "prod", "orders-tls"]["spec"]["secretTemplate"]
    annotations = {**template["annotations"], "cert-manager.io/certificate-name": "orders-tls"}
    kube.put(secret("orders-tls", values or selfmade(), labels=template["labels"], annotations=annotations))


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
        (
            secret("mine", {**selfmade(), "ca.crt": "\n"}),
            "InvalidCertificate",
            "ca.crt that is no certificate",
        ),
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


@pytest.mark.parametrize("key", ["tls.crt", "tls.key", "ca.crt"])
@pytest.mark.parametrize("spec", [MINE, CERT_MANAGER])
def test_what_is_not_in_pem_form_is_refused(spec: dict[str, Any], key: str) -> None:
    kube = Cluster(secret("mine", selfmade()))
    if spec is CERT_MANAGER:
        asked(kube)
        issued(kube)
    name = "mine" if spec is MINE else "orders-tls"
    binary = base64.b64encode(b"\x30\x82\xff").decode()
    kube.objects["Secret", "prod", name]["data"]["keystore.p12"] = binary  # nothing that instances read
    settle(kube, spec)
    kube.objects["Secret", "prod", name]["data"][key] = binary
    with pytest.raises(Refused) as caught:
        settle(kube, spec)
    assert caught.value.reason == "InvalidCertificate"
    assert f"holds a {key} that is not in PEM form" in str(caught.value)


def volumes(secret_name: str) -> list[Object]:
    mounted = [{"name": "tls", "secret": {"secretName": secret_name}}] if secret_name else []
    return [{"name": "data", "emptyDir": {}}, *mounted]


def stateful_set(secret_name: str) -> Object:
    template = {"spec": {"volumes": volumes(secret_name)}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "orders"},
        "spec": {"template": template},
    }


def applied(kube: FakeKube, outcome: tls.Outcome) -> None:
    """What the role statefulset does with the outcome."""
    kube.put(stateful_set(outcome.tls.get("secretName", "")))


def started(kube: FakeKube, name: str, outcome: tls.Outcome, *, loaded: bool = True) -> None:
    """An instance that was made with the certificate, and whether PostgreSQL has been seen to have it."""
    made = pod(name)
    made["spec"]["volumes"] = volumes(outcome.tls.get("secretName", ""))
    note = outcome.tls.get("checksum", "") if loaded else "something else"
    made["metadata"]["annotations"] = {"database.paradedb.io/certificate": note}
    kube.put(made)


def running(kube: FakeKube, spec: dict[str, Any]) -> tls.Outcome:
    """Two instances with the certificate of the spec."""
    outcome = settle(kube, spec)
    applied(kube, outcome)
    for name in ("orders-0", "orders-1"):
        started(kube, name, outcome)
    return outcome


def test_a_certificate_that_expires_in_use_stops_nothing() -> None:
    kube = Cluster(secret("mine", selfmade(begin=NOW - 9 * DAY, days=8)), stateful_set("mine"))
    (check,) = settle(kube, MINE).checks
    assert (check["ok"], check["reason"]) == (False, "CertificateExpired")
    kube.put(stateful_set("another"))
    with pytest.raises(Refused):
        settle(kube, MINE)


def test_with_a_pooler_the_certificate_is_to_have_its_name_too() -> None:
    kube = FakeKube(secret("mine", selfmade(names=["orders.prod.svc", "orders-ro.prod.svc"])))
    for pooler, reason in ((False, "CertificateValid"), (True, "NameNotCovered")):
        database = tls.Database(kube, "prod", "orders", OWNER, False, pooler)  # type: ignore[arg-type]
        (check,) = tls.settle(database, MINE, NOW).checks
        assert check["reason"] == reason
    assert "orders-pooler.prod.svc" in check["message"]


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (selfmade(begin=NOW - 90 * DAY, days=103), "CertificateExpiring"),
        (selfmade(begin=NOW - 6 * DAY, days=7), "CertificateExpiring"),
        (selfmade(begin=NOW - 5 * DAY, days=7), "CertificateValid"),
        (selfmade(names=["orders.prod.svc"]), "NameNotCovered"),
        (selfmade(begin=NOW - 90 * DAY, days=105), "CertificateValid"),
    ],
)
def test_what_is_wrong_but_works_is_a_condition(made: dict[str, str], reason: str) -> None:
    (check,) = settle(Cluster(secret("mine", made)), MINE).checks
    assert check["reason"] == reason
    assert check["ok"] is (reason == "CertificateValid")
    assert "'mine'" in check["message"]


def test_whose_part_the_renewal_is() -> None:
    kube = Cluster(secret("mine", selfmade(begin=NOW - 6 * DAY, days=7)))
    assert settle(kube, MINE).checks[0]["message"].endswith("; renew it")
    asked(kube)
    issued(kube, selfmade(begin=NOW - 6 * DAY, days=7))
    (check,) = settle(kube, CERT_MANAGER).checks
    assert check["message"].endswith("; look why cert-manager does not renew it")


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
    running(kube, OWN)
    first = values(kube, "orders-tls")

    settle(kube, CERT_MANAGER)
    assert values(kube, "orders-tls") == first  # in use until the new one comes
    assert certificate_objects(kube) == {"Secret/orders-tls", "Secret/orders-ca", "Certificate/orders-tls"}
    issued(kube)
    running(kube, CERT_MANAGER)
    settle(kube, CERT_MANAGER)
    assert certificate_objects(kube) == {"Secret/orders-tls", "Certificate/orders-tls"}
    second = values(kube, "orders-tls")

    running(kube, OWN)
    assert certificate_objects(kube) == {"Secret/orders-tls", "Secret/orders-ca"}
    assert values(kube, "orders-tls")["tls.crt"] not in (first["tls.crt"], second["tls.crt"])
    assert "annotations" not in kube.objects["Secret", "prod", "orders-tls"]["metadata"]

    for spec in (MINE, {"enabled": False}):
        running(kube, spec)
        settle(kube, spec)
        assert certificate_objects(kube) == set()
    assert "Secret/mine" in names(kube)


def certificate_objects(kube: FakeKube) -> set[str]:
    return {name for name in names(kube) if name.startswith(("Secret/orders", "Certificate/"))}


@pytest.mark.parametrize("other", [MINE, {"enabled": False}, CERT_MANAGER])
def test_what_is_put_back_before_all_instances_have_it_is_as_it_was(other: dict[str, Any]) -> None:
    kube = Cluster(secret("mine", selfmade()))
    first = running(kube, OWN)
    authority = values(kube, "orders-ca")
    changed = settle(kube, other)  # and nothing more of that pass happens
    assert changed.in_effect is (other is CERT_MANAGER)
    applied(kube, changed)
    settle(kube, other)
    started(kube, "orders-1", changed)
    settle(kube, other)
    assert values(kube, "orders-ca") == authority
    assert settle(kube, OWN).tls == first.tls
    assert values(kube, "orders-ca") == authority


def test_an_authority_stays_until_the_certificate_of_another_is_loaded() -> None:
    kube = Cluster()
    running(kube, OWN)
    settle(kube, CERT_MANAGER)
    issued(kube)
    outcome = settle(kube, CERT_MANAGER)
    started(kube, "orders-0", outcome)
    assert settle(kube, CERT_MANAGER).in_effect is False
    assert "Secret/orders-ca" in names(kube)
    started(kube, "orders-1", outcome)
    assert settle(kube, CERT_MANAGER).in_effect is True
    assert "Secret/orders-ca" not in names(kube)


@pytest.mark.parametrize("going", [False, True])
def test_a_certificate_is_in_effect_when_every_instance_serves_it(going: bool) -> None:
    kube = Cluster(secret("mine", selfmade()))
    assert running(kube, OWN).in_effect is True
    outcome = settle(kube, MINE)
    applied(kube, outcome)
    started(kube, "orders-1", outcome, loaded=False)
    if going:
        kube.objects["Pod", "prod", "orders-0"]["metadata"]["deletionTimestamp"] = "2025-01-01T00:00:00Z"
    else:
        started(kube, "orders-0", outcome)
    assert settle(kube, MINE).in_effect is False
    started(kube, "orders-1", outcome)
    assert settle(kube, MINE).in_effect is not going


@pytest.mark.parametrize("before", [OWN, MINE])
def test_a_database_that_runs_does_not_wait_for_cert_manager(before: dict[str, Any]) -> None:
    kube = Cluster(secret("mine", selfmade()))
    first = running(kube, before)
    outcome = settle(kube, CERT_MANAGER)
    assert outcome.tls == first.tls
    (check,) = outcome.checks
    assert (check["type"], check["ok"], check["reason"]) == ("CertificateValid", False, "CertificatePending")
    assert "has not issued the Secret 'orders-tls'" in check["message"]
    assert f"{first.tls['secretName']!r} stays in use and expires {first.tls['expires']}" in check["message"]
    issued(kube)
    assert settle(kube, CERT_MANAGER).checks[0]["ok"] is True


def test_a_certificate_that_somebody_deleted_stays_loaded_until_cert_manager_comes() -> None:
    kube = Cluster()
    asked(kube)
    issued(kube)
    running(kube, CERT_MANAGER)
    del kube.objects["Secret", "prod", "orders-tls"]
    outcome = settle(kube, CERT_MANAGER)
    assert outcome.tls == {"secretName": "orders-tls", "expires": "", "checksum": ""}
    assert outcome.checks[0]["reason"] == "CertificatePending"
    assert outcome.checks[0]["message"].endswith("'orders-tls' stays in use")
    assert outcome.in_effect is False


def test_a_database_without_encryption_waits_for_its_first_certificate() -> None:
    kube = Cluster()
    running(kube, {"enabled": False})
    with pytest.raises(Refused, match="has not issued"):
        settle(kube, CERT_MANAGER)


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
