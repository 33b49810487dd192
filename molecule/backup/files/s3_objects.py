"""An S3 server for tests, as Kubernetes objects:  s3_objects.py NAMESPACE

Prints a List of: a Deployment of versitygw with TLS, behind a gate that can be told to fail (gate.py); the
Service `s3`, port 9000 through the gate and 9001 past it; the Secrets `s3-access` (the keys as a ParadeDB
wants them), `s3-wrong` (others) and `s3-tls`; the Secret `s3-ca` with the authority that has signed the
certificate, and `other-ca` with another. The data is gone with the pod. The bucket `backups` is there;
others are folders that one makes in /data/buckets."""

from __future__ import annotations

import base64
import datetime
import json
import sys
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Object = dict[str, Any]

IMAGE = "localhost/paradedb-test-s3:dev"
GATE_IMAGE = "localhost/paradedb-test:17"
REGION = "eu-test-1"
BUCKET = "backups"
KEYS = {"accessKeyId": "test-access", "secretAccessKey": "test-secret-of-the-s3-server"}
WRONG = {"accessKeyId": "test-access", "secretAccessKey": "another-secret-than-the-server-has"}
LABELS = {"app": "s3"}
GATE_PORT, PLAIN_PORT = 9000, 9001
START = """
mkdir -p /data/buckets/backups /data/sidecar
exec versitygw --quiet --port :9001 --region "$REGION" --cert /tls/tls.crt --key /tls/tls.key \\
    posix --sidecar /data/sidecar /data/buckets
"""


def authority(name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A certificate authority and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = unsigned(subject, subject, key).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    return builder.add_extension(usage(signs_certificates=True), critical=True).sign(
        key, hashes.SHA256()
    ), key


def usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def unsigned(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    """A certificate that holds for a day, and since an hour, for clocks that go wrong."""
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )


def certificate(
    names: list[x509.GeneralName], ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey
) -> tuple[str, str]:
    """A server's certificate and key, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "s3")])
    builder = (
        unsigned(subject, ca.subject, key)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem(builder.sign(ca_key, hashes.SHA256())), private.decode()


def pem(signed: x509.Certificate) -> str:
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def secret(namespace: str, name: str, data: dict[str, str]) -> Object:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "data": encoded,
    }


def container(name: str, image: str, command: list[str], **more: Any) -> Object:
    return {"name": name, "image": image, "imagePullPolicy": "IfNotPresent", "command": command, **more}


def deployment(namespace: str) -> Object:
    """versitygw and the gate in one pod."""
    data = {"name": "data", "mountPath": "/data"}
    environment = [
        {"name": "ROOT_ACCESS_KEY", "value": KEYS["accessKeyId"]},
        {"name": "ROOT_SECRET_KEY", "value": KEYS["secretAccessKey"]},
        {"name": "REGION", "value": REGION},
    ]
    server = container(
        "s3", IMAGE, ["sh", "-euc", START], env=environment,
        volumeMounts=[data, {"name": "tls", "mountPath": "/tls", "readOnly": True}],
        readinessProbe={"tcpSocket": {"port": PLAIN_PORT}, "periodSeconds": 1},
    )  # fmt: skip
    gate = container(
        "gate", GATE_IMAGE,
        ["python3", "/programs/gate.py", str(GATE_PORT), "127.0.0.1", str(PLAIN_PORT), "/data/orders"],
        volumeMounts=[data, {"name": "programs", "mountPath": "/programs", "readOnly": True}],
        readinessProbe={"tcpSocket": {"port": GATE_PORT}, "periodSeconds": 1},
    )  # fmt: skip
    pod = {
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsUser": 999, "runAsGroup": 999, "fsGroup": 999, "runAsNonRoot": True},
        "containers": [server, gate],
        "volumes": [
            {"name": "data", "emptyDir": {}},
            {"name": "tls", "secret": {"secretName": "s3-tls", "defaultMode": 0o440}},
            {"name": "programs", "configMap": {"name": "s3-programs"}},
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "s3", "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": LABELS},
            "strategy": {"type": "Recreate"},
            "template": {"metadata": {"labels": LABELS}, "spec": pod},
        },
    }


def objects(namespace: str) -> list[Object]:
    """All of it, for one namespace; the certificate names the Service there."""
    ca, ca_key = authority("authority of the tests")
    names: list[x509.GeneralName] = [x509.DNSName(f"s3.{namespace}.svc")]
    chain, key = certificate(names, ca, ca_key)
    metadata = {"name": "s3", "namespace": namespace}
    ports = [{"name": "gate", "port": GATE_PORT}, {"name": "direct", "port": PLAIN_PORT}]
    programs = {"gate.py": Path(__file__).with_name("gate.py").read_text()}
    return [
        secret(namespace, "s3-access", KEYS),
        secret(namespace, "s3-wrong", WRONG),
        secret(namespace, "s3-ca", {"ca.crt": pem(ca)}),
        secret(namespace, "other-ca", {"ca.crt": pem(authority("another authority")[0])}),
        secret(namespace, "s3-tls", {"tls.crt": chain, "tls.key": key}),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {**metadata, "name": "s3-programs"},
            "data": programs,
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": LABELS, "ports": ports},
        },
        deployment(namespace),
    ]


def store(namespace: str, path: str = "", **changes: Any) -> Object:
    """spec.backup.s3 for this server."""
    return {
        "endpoint": f"https://s3.{namespace}.svc:{GATE_PORT}",
        "bucket": BUCKET,
        "region": REGION,
        "path": path,
        "secretRef": {"name": "s3-access"},
        "caSecretRef": {"name": "s3-ca"},
        **changes,
    }


if __name__ == "__main__":
    json.dump({"apiVersion": "v1", "kind": "List", "items": objects(sys.argv[1])}, sys.stdout)
