"""Encrypted connections, seen by clients that verify: each source of the certificate, renewal, and back."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cluster import ParadeDB, apply, eventually, find, get, kubectl, remove
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Make = Callable[[str], ParadeDB]

# Asks PostgreSQL for TLS, verifies its certificate as strictly as Python can, and prints the serial number.
HANDSHAKE = """
import socket, ssl, struct, sys
host = sys.argv[1]
context = ssl.create_default_context(cafile=sys.argv[2])
context.verify_flags |= ssl.VERIFY_X509_STRICT
with socket.create_connection((host, 5432), timeout=10) as plain:
    plain.sendall(struct.pack("!ii", 8, 80877103))
    assert plain.recv(1) == b"S", "no TLS"
    with context.wrap_socket(plain, server_hostname=host) as encrypted:
        print(encrypted.getpeercert()["serialNumber"])
"""

# The part of cert-manager's own definition that matters here.
CERTIFICATES = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "certificates.cert-manager.io"},
    "spec": {
        "group": "cert-manager.io",
        "names": {"kind": "Certificate", "plural": "certificates", "singular": "certificate"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                },
            }
        ],
    },
}


@pytest.fixture(scope="module")
def encrypted(namespace: str, client: None) -> Iterator[ParadeDB]:
    """Two instances with the operator's own certificate."""
    database = ParadeDB("encrypted", namespace).apply(replicas=2, tls={"enabled": True})
    database.wait_running(240)
    yield database
    remove(database)


def in_client(database: ParadeDB, *command: str, stdin: str | None = None, check: bool = True) -> str:
    """What the command in the client pod printed; with ``check`` it must succeed."""
    arguments = ("-n", database.namespace, "exec", "-i", "client", "--", *command)
    return kubectl(*arguments, stdin=stdin, check=check).stdout.strip()


def trust(database: ParadeDB, authority: str = "") -> str:
    """Put whom to trust into a file of the client, by default what the application's Secret says."""
    path = f"/tmp/{database.name}.crt"
    in_client(database, "sh", "-c", f"cat > {path}", stdin=authority or database.secret()["ca.crt"])
    return path


def verified(database: ParadeDB, authority: str = "") -> str:
    """The application's URI, with all that libpq can verify."""
    uri = database.secret()["uri"]
    assert "sslmode=require" in uri
    return uri.replace("sslmode=require", f"sslmode=verify-full&sslrootcert={trust(database, authority)}")


def plaintext(database: ParadeDB) -> str:
    return database.secret()["uri"].replace("sslmode=require", "sslmode=disable")


def served(database: ParadeDB, path: str, service: str = "") -> int:
    """The serial number of the certificate that a strict client is shown and accepts, else 0."""
    host = f"{database.name}{service}.{database.namespace}.svc"
    return int(in_client(database, "python3", "-c", HANDSHAKE, host, path, check=False) or "0", 16)


def held(database: ParadeDB, secret: str = "") -> int:
    """The serial number of the certificate in the Secret; 0 while there is none."""
    found = get("secret", secret or f"{database.name}-tls", database.namespace)
    if not found:
        return 0
    return x509.load_pem_x509_certificate(base64.b64decode(found["data"]["tls.crt"])).serial_number


def secret(database: ParadeDB, name: str, values: dict[str, str], **metadata: Any) -> dict[str, Any]:
    where = {"name": name, "namespace": database.namespace, **metadata}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": where, "stringData": values}


def users_certificate(database: ParadeDB, days: int = 100) -> dict[str, str]:
    """A certificate for the database's names that has ``days`` left, of an authority of the user's own."""
    now = datetime.now(UTC)
    begin = now - timedelta(days=100)
    suffixes = ("", "-ro")
    names = [x509.DNSName(f"{database.name}{suffix}.{database.namespace}.svc") for suffix in suffixes]
    root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    house, nobody = (x509.Name.from_rfc4514_string(name) for name in ("CN=House", ""))

    def sign(subject: x509.Name, key: ec.EllipticCurvePrivateKey, *extensions: tuple[Any, bool]) -> str:
        serial, end = x509.random_serial_number(), now + timedelta(days=days)
        made = x509.CertificateBuilder(house, subject, key.public_key(), serial, begin, end)
        ids = (
            (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), False),
        )
        for extension, critical in (*ids, *extensions):
            made = made.add_extension(extension, critical)
        return made.sign(root, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    used = ("digital_signature", "key_cert_sign", "crl_sign")
    other = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    never = dict.fromkeys((*other, "encipher_only", "decipher_only"), False)
    usage = x509.KeyUsage(**dict.fromkeys(used, True), **never)
    authority = sign(house, root, (x509.BasicConstraints(ca=True, path_length=None), True), (usage, True))
    key = leaf.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "tls.crt": sign(nobody, leaf, (x509.SubjectAlternativeName(names), True)),
        "tls.key": key.decode(),
        "ca.crt": authority,
    }


def test_a_verifying_client_connects_by_the_names_of_both_services(encrypted: ParadeDB) -> None:
    uri = verified(encrypted)
    assert encrypted.sql("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", uri=uri) == "t"
    assert encrypted.sql("SELECT pg_is_in_recovery()", uri=uri) == "f"
    host = encrypted.secret()["host"]
    read_only = uri.replace(host, host.replace("encrypted.", "encrypted-ro."))
    assert encrypted.sql("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", uri=read_only) == "t"
    short = uri.replace(host, "encrypted")
    assert encrypted.sql("SELECT 1", uri=short) == "1"


def test_no_connection_is_taken_in_plaintext(encrypted: ParadeDB) -> None:
    said = encrypted.sql("SELECT 1", uri=plaintext(encrypted), check=False)
    assert "no pg_hba.conf entry" in said
    assert "no encryption" in said


def test_another_databases_authority_is_no_proof(encrypted: ParadeDB) -> None:
    stranger = verified(encrypted, users_certificate(encrypted)["ca.crt"])
    assert "certificate verify failed" in encrypted.sql("SELECT 1", uri=stranger, check=False)


def test_replication_is_encrypted(encrypted: ParadeDB) -> None:
    streams = "SELECT count(*), bool_and(ssl) FROM pg_stat_replication JOIN pg_stat_ssl USING (pid)"
    assert encrypted.sql(streams) == "1|t"


def test_the_status_tells_how_long_the_certificate_lasts(encrypted: ParadeDB) -> None:
    tls = encrypted.status()["tls"]
    assert tls["secretName"] == "encrypted-tls"
    left = datetime.fromisoformat(tls["expires"]) - datetime.now(UTC)
    assert timedelta(days=89) < left <= timedelta(days=90)
    assert encrypted.condition("CertificateValid")["status"] == "True"


def test_a_renewed_certificate_is_served_without_a_restart(encrypted: ParadeDB) -> None:
    path = trust(encrypted)
    started = encrypted.sql("SELECT pg_postmaster_start_time()")
    before = served(encrypted, path)
    assert before == held(encrypted)
    kubectl("-n", encrypted.namespace, "delete", "secret", "encrypted-tls")
    after = eventually(
        "there is a new certificate", lambda: held(encrypted) not in (0, before) and held(encrypted)
    )
    # The kubelet brings the files into the pods when it comes to it, about once a minute.
    for service in ("", "-ro"):
        eventually("it is served", lambda service=service: served(encrypted, path, service) == after, 240)
    assert encrypted.sql("SELECT pg_postmaster_start_time()") == started
    encrypted.wait_running()


def mounted(database: ParadeDB, secret: str) -> int:
    """How many pods have the certificate of the Secret."""
    pods = find("pods", database.namespace, f"app.kubernetes.io/instance={database.name}")
    volumes = [item for pod in pods for item in pod["spec"]["volumes"]]
    return sum((item.get("secret") or {}).get("secretName") == secret for item in volumes)


def test_another_source_locks_no_verifying_client_out(encrypted: ParadeDB) -> None:
    values, own = users_certificate(encrypted), encrypted.secret()["ca.crt"]
    apply(secret(encrypted, "house", values))
    authority = get("secret", "encrypted-ca", encrypted.namespace)["data"]  # type: ignore[index]

    # Put back before every instance has it: the authority is the one that clients know.
    encrypted.patch({"tls": {"secretRef": {"name": "house"}}})
    eventually("an instance has it", lambda: mounted(encrypted, "house"), 120)
    assert encrypted.secret()["ca.crt"] == values["ca.crt"] + own
    encrypted.patch({"tls": {"secretRef": None}})
    encrypted.wait_running(240)
    assert get("secret", "encrypted-ca", encrypted.namespace)["data"] == authority  # type: ignore[index]
    assert encrypted.secret()["ca.crt"] == own

    encrypted.patch({"tls": {"secretRef": {"name": "house"}}})
    eventually("clients know both", lambda: encrypted.secret()["ca.crt"] == values["ca.crt"] + own)

    def done() -> bool:
        said = encrypted.sql("SELECT 1", uri=verified(encrypted), check=False)
        assert "certificate verify failed" not in said
        return encrypted.secret()["ca.crt"] == values["ca.crt"]

    eventually("all of it is in effect", done, 240)
    encrypted.wait_running()
    for service in ("", "-ro"):
        assert served(encrypted, trust(encrypted), service) == held(encrypted, "house")
    for name in ("encrypted-ca", "encrypted-tls"):
        assert get("secret", name, encrypted.namespace) is None


def test_the_users_own_certificate_until_tls_is_switched_off(make: Make) -> None:
    database = make("mine")
    values = users_certificate(database)
    incomplete = {name: text for name, text in values.items() if name != "tls.key"}
    apply(secret(database, "certificate", incomplete))
    database.apply(tls={"enabled": True, "secretRef": {"name": "certificate"}})
    status = database.wait_phase("Failed")
    assert "spec.tls.secretRef" in status["message"]
    assert "'certificate' has no tls.key" in status["message"]
    assert database.condition("Degraded")["reason"] == "InvalidSecret"

    apply(secret(database, "certificate", values))
    database.wait_running()
    assert database.secret()["ca.crt"] == values["ca.crt"]
    assert database.sql("SELECT 1", uri=verified(database)) == "1"
    assert served(database, trust(database)) == held(database, "certificate")
    assert "no encryption" in database.sql("SELECT 1", uri=plaintext(database), check=False)
    assert get("secret", "mine-tls", database.namespace) is None

    # Another certificate in the same Secret: nothing restarts.
    started = database.sql("SELECT pg_postmaster_start_time()")
    apply(secret(database, "certificate", users_certificate(database, days=10)))
    eventually(
        "the short life of it is told",
        lambda: database.condition("CertificateValid").get("status") == "False",
    )
    assert database.condition("CertificateValid")["reason"] == "CertificateExpiring"
    renewed = held(database, "certificate")
    eventually("it is served", lambda: served(database, trust(database)) == renewed, 240)
    assert database.sql("SELECT pg_postmaster_start_time()") == started

    # The operator's own instead.
    database.patch({"tls": {"secretRef": None}})
    database.wait_running(180)
    assert database.sql("SELECT 1", uri=verified(database)) == "1"
    assert served(database, trust(database)) == held(database)

    database.patch({"tls": {"enabled": False}})
    database.wait_running(180)
    assert database.setting("ssl") == "off"
    uri = database.secret()["uri"]
    assert "sslmode" not in uri
    assert database.sql("SELECT 1", uri=f"{uri}?sslmode=disable") == "1"
    assert "ca.crt" not in database.secret()
    for name in ("mine-ca", "mine-tls"):
        assert get("secret", name, database.namespace) is None
    assert get("secret", "certificate", database.namespace)
    assert database.condition("CertificateValid") == {}
    assert "tls" not in database.status()


@pytest.fixture
def no_cert_manager() -> Iterator[None]:
    """The cluster must have none of its own, or we would take its place."""
    if get("customresourcedefinition", CERTIFICATES["metadata"]["name"], "default"):
        pytest.skip("the cluster has cert-manager")
    yield
    kubectl("delete", "customresourcedefinition", CERTIFICATES["metadata"]["name"], "--ignore-not-found")


def test_cert_manager_is_asked_for_the_certificate(no_cert_manager: None, make: Make) -> None:
    """The test does cert-manager's part."""
    issuer = {"enabled": True, "issuerRef": {"name": "house"}}
    database = make("managed").apply(tls={"enabled": True, "certManager": issuer})
    assert "install cert-manager" in database.wait_phase("Failed")["message"]
    assert database.condition("Degraded")["reason"] == "CertManagerMissing"

    apply(CERTIFICATES)
    kubectl(
        "wait", "customresourcedefinition", CERTIFICATES["metadata"]["name"], "--for=condition=Established"
    )
    database.annotate("example.com/again", "1")

    asked = eventually(
        "it is asked", lambda: get("certificates.cert-manager.io", "managed-tls", database.namespace)
    )
    assert asked["spec"]["issuerRef"]["name"] == "house"
    assert f"managed.{database.namespace}.svc" in asked["spec"]["dnsNames"]
    eventually("it waits", lambda: "has not issued" in database.status().get("message", ""))

    template = asked["spec"]["secretTemplate"]

    def issue() -> None:
        annotations = {"cert-manager.io/certificate-name": "managed-tls", **template["annotations"]}
        values = users_certificate(database)
        apply(secret(database, "managed-tls", values, labels=template["labels"], annotations=annotations))

    issue()
    database.wait_running(180)
    assert database.sql("SELECT 1", uri=verified(database)) == "1"
    owners = get("secret", "managed-tls", database.namespace)["metadata"]["ownerReferences"]  # type: ignore[index]
    assert [owner["name"] for owner in owners] == ["managed"]

    # A renewal, with another authority.
    before, started = held(database), database.sql("SELECT pg_postmaster_start_time()")
    issue()
    assert held(database) != before
    eventually("it is served", lambda: served(database, trust(database)) == held(database), 240)
    database.wait_running()

    # The Secret is lost and the issuer is down: the database goes on, and takes changes.
    kubectl("-n", database.namespace, "delete", "secret", "managed-tls")
    eventually(
        "it is told", lambda: database.condition("CertificateValid").get("reason") == "CertificatePending"
    )
    database.patch({"postgresConfig": {"work_mem": "5MB"}})
    database.wait_running()
    assert database.setting("work_mem") == "5MB"
    assert database.sql("SELECT 1", uri=verified(database)) == "1"
    issue()
    eventually("it is valid", lambda: database.condition("CertificateValid")["status"] == "True")
    eventually("it is served", lambda: served(database, trust(database)) == held(database), 240)
    assert database.sql("SELECT pg_postmaster_start_time()") == started

    database.delete()
    for kind in ("certificates.cert-manager.io", "secret"):
        eventually("all of it goes", lambda kind=kind: not get(kind, "managed-tls", database.namespace), 60)
