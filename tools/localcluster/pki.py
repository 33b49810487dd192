"""Certificates of one cluster, made with the openssl command.

Certificates carry every extension that strict verifiers ask for (Python >= 3.13 refuses chains without
keyUsage and key identifiers). Keys are elliptic-curve ones: they are made in milliseconds.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .instance import API_SERVICE_IP, DNS_SERVICE_IP, NODE_NAME, Instance
from .shell import run

DAYS = "3650"


@dataclass(frozen=True)
class Leaf:
    """A certificate to issue: file name, subject, alternative names and the authority that signs it."""

    name: str
    subject: str
    names: tuple[str, ...] = ()
    authority: str = "ca"


def leaves(instance: Instance) -> list[Leaf]:
    """All certificates the components need."""
    suffixes = ("", ".default", ".default.svc", ".default.svc.cluster.local")
    service = [f"DNS:kubernetes{suffix}" for suffix in suffixes]
    addresses = [f"IP:{ip}" for ip in (API_SERVICE_IP, "127.0.0.1", instance.node_ip)]
    node = (f"DNS:{NODE_NAME}", f"IP:{instance.node_ip}")
    return [
        Leaf("apiserver", "/CN=kube-apiserver", (*service, "DNS:localhost", *addresses)),
        Leaf("apiserver-kubelet", "/O=system:masters/CN=kube-apiserver-kubelet-client"),
        Leaf("front-proxy", "/CN=front-proxy-client", authority="front-proxy-ca"),
        Leaf("admin", "/O=system:masters/CN=kubernetes-admin"),
        Leaf("controller-manager", "/CN=system:kube-controller-manager"),
        Leaf("scheduler", "/CN=system:kube-scheduler"),
        Leaf("kubelet", f"/O=system:nodes/CN=system:node:{NODE_NAME}", node),
        Leaf("proxy", "/CN=system:kube-proxy"),
        Leaf("dns", "/CN=system:coredns", (f"IP:{DNS_SERVICE_IP}",)),
    ]


KUBECONFIGS = ("admin", "controller-manager", "scheduler", "kubelet", "proxy", "dns")


def create(instance: Instance) -> None:
    """Make what is missing of the cluster's authorities, certificates, token key and kubeconfig files."""
    instance.pki.mkdir(mode=0o700, parents=True, exist_ok=True)
    mask = os.umask(0o077)
    try:
        for authority in ("ca", "front-proxy-ca"):
            _create_authority(instance.pki, authority)
        for leaf in leaves(instance):
            _issue(instance.pki, leaf)
        _create_token_keys(instance.pki)
        for name in KUBECONFIGS:
            (instance.pki / f"{name}.kubeconfig").write_text(kubeconfig(instance, name))
        instance.kubeconfig.write_text(kubeconfig(instance, "admin"))
        instance.kubeconfig.chmod(0o600)
    finally:
        os.umask(mask)


def kubeconfig(instance: Instance, user: str) -> str:
    """A kubeconfig with everything inside for the holder of the certificate of that name.

    It is JSON, which is also YAML.
    """
    context = f"localcluster-{instance.name}"
    cluster = {"server": instance.server, "certificate-authority-data": _base64(instance.pki / "ca.crt")}
    login = {
        "client-certificate-data": _base64(instance.pki / f"{user}.crt"),
        "client-key-data": _base64(instance.pki / f"{user}.key"),
    }
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": context, "cluster": cluster}],
            "users": [{"name": f"{context}-{user}", "user": login}],
            "contexts": [{"name": context, "context": {"cluster": context, "user": f"{context}-{user}"}}],
            "current-context": context,
        },
        indent=1,
    )


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _new_key(path: Path) -> None:
    run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path])


def _create_token_keys(pki: Path) -> None:
    """The pair of keys that service account tokens are signed and checked with."""
    if not (pki / "service-accounts.pub").exists():
        key = pki / "service-accounts.key"
        _new_key(key)
        _into(pki / "service-accounts.pub", ["openssl", "pkey", "-in", key, "-pubout", "-out"])


def _create_authority(pki: Path, name: str) -> None:
    key, certificate = pki / f"{name}.key", pki / f"{name}.crt"
    if certificate.exists():
        return
    _new_key(key)
    config = pki / f"{name}.cnf"
    config.write_text(
        "[req]\nprompt = no\ndistinguished_name = subject\nx509_extensions = authority\n"
        f"[subject]\nCN = localcluster-{name}\n"
        "[authority]\nbasicConstraints = critical, CA:TRUE\nsubjectKeyIdentifier = hash\n"
        "keyUsage = critical, digitalSignature, keyCertSign, cRLSign\n"
    )
    _into(
        certificate,
        ["openssl", "req", "-x509", "-new", "-config", config, "-key", key, "-days", DAYS, "-out"],
    )


def _issue(pki: Path, leaf: Leaf) -> None:
    key, certificate = pki / f"{leaf.name}.key", pki / f"{leaf.name}.crt"
    if certificate.exists():
        return
    _new_key(key)
    extensions = pki / f"{leaf.name}.cnf"
    extensions.write_text(extension_file(leaf))
    request = run(["openssl", "req", "-new", "-key", key, "-subj", leaf.subject])
    sign: list[str | Path] = ["openssl", "x509", "-req", "-days", DAYS, "-extfile", extensions]
    sign += ["-CA", pki / f"{leaf.authority}.crt", "-CAkey", pki / f"{leaf.authority}.key", "-CAcreateserial"]
    _into(certificate, [*sign, "-out"], stdin=request)


def extension_file(leaf: Leaf) -> str:
    """The X.509 extensions of a certificate in openssl's notation."""
    lines = [
        "basicConstraints = critical, CA:FALSE",
        "keyUsage = critical, digitalSignature, keyEncipherment",
        "extendedKeyUsage = serverAuth, clientAuth",
        "subjectKeyIdentifier = hash",
        "authorityKeyIdentifier = keyid",
    ]
    if leaf.names:
        lines.append(f"subjectAltName = {', '.join(leaf.names)}")
    return "\n".join(lines) + "\n"


def _into(path: Path, argv: Sequence[str | Path], stdin: str | None = None) -> None:
    """Let a command write a file that appears only when complete: an interrupted start leaves no half one."""
    part = path.with_suffix(".part")
    run([*argv, part], stdin=stdin)
    part.rename(path)
