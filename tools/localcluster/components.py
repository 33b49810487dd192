"""The processes a node consists of."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .instance import NODE_NAME, POD_SUBNET, SERVICE_SUBNET, Instance

ETCD = "http://127.0.0.1:2379"
TOOL_DIR = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Component:
    """A process of the node: its name for the user and its command line, given the kubenode binary."""

    name: str
    command: Callable[[Instance, str], list[str]]


def _etcd(instance: Instance, kubenode: str) -> list[str]:
    # Without fsync: the data is of no use after a crash of the machine, and disks of test machines are slow.
    return [
        kubenode,
        "etcd",
        f"--name={NODE_NAME}",
        f"--data-dir={instance.state}/etcd",
        "--unsafe-no-fsync",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--log-level=warn",
    ]


def _containerd(instance: Instance, kubenode: str) -> list[str]:
    return ["containerd", f"--config={instance.config}/containerd.toml"]


def _apiserver(instance: Instance, kubenode: str) -> list[str]:
    pki = instance.pki
    return [
        kubenode,
        "kube-apiserver",
        f"--etcd-servers={ETCD}",
        f"--advertise-address={instance.node_ip}",
        f"--service-cluster-ip-range={SERVICE_SUBNET}",
        "--allow-privileged",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki}/service-accounts.pub",
        f"--service-account-signing-key-file={pki}/service-accounts.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet.key",
        "--kubelet-preferred-address-types=InternalIP",
        f"--proxy-client-cert-file={pki}/front-proxy.crt",
        f"--proxy-client-key-file={pki}/front-proxy.key",
        f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
    ]


def _controller_manager(instance: Instance, kubenode: str) -> list[str]:
    pki = instance.pki
    login = f"{pki}/controller-manager.kubeconfig"
    return [
        kubenode,
        "kube-controller-manager",
        f"--kubeconfig={login}",
        f"--authentication-kubeconfig={login}",
        f"--authorization-kubeconfig={login}",
        f"--client-ca-file={pki}/ca.crt",
        f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
        f"--root-ca-file={pki}/ca.crt",
        f"--service-account-private-key-file={pki}/service-accounts.key",
        "--use-service-account-credentials",
        "--allocate-node-cidrs",
        f"--cluster-cidr={POD_SUBNET}",
        "--node-cidr-mask-size=24",
        "--flex-volume-plugin-dir=/var/lib/kubelet/volume-plugins",
        "--leader-elect=false",
        f"--cert-dir={instance.state}/controller-manager",
    ]


def _scheduler(instance: Instance, kubenode: str) -> list[str]:
    login = f"{instance.pki}/scheduler.kubeconfig"
    return [
        kubenode,
        "kube-scheduler",
        f"--kubeconfig={login}",
        f"--authentication-kubeconfig={login}",
        f"--authorization-kubeconfig={login}",
        "--leader-elect=false",
        f"--cert-dir={instance.state}/scheduler",
    ]


def _kubelet(instance: Instance, kubenode: str) -> list[str]:
    return [
        kubenode,
        "kubelet",
        f"--config={instance.config}/kubelet.json",
        f"--kubeconfig={instance.pki}/kubelet.kubeconfig",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={instance.node_ip}",
    ]


def _proxy(instance: Instance, kubenode: str) -> list[str]:
    return [kubenode, "kube-proxy", f"--config={instance.config}/proxy.json"]


def _dns(instance: Instance, kubenode: str) -> list[str]:
    return [kubenode, "coredns", "-conf", f"{instance.config}/Corefile"]


def _volumes(instance: Instance, kubenode: str) -> list[str]:
    return [sys.executable, str(TOOL_DIR), "serve-volumes", f"--name={instance.name}"]


def _policies(instance: Instance, kubenode: str) -> list[str]:
    return [sys.executable, str(TOOL_DIR), "serve-policies", f"--name={instance.name}"]


# In the order of starting: what comes later calls what comes earlier.
COMPONENTS = (
    Component("etcd", _etcd),
    Component("containerd", _containerd),
    Component("apiserver", _apiserver),
    Component("controller-manager", _controller_manager),
    Component("scheduler", _scheduler),
    Component("volumes", _volumes),
    Component("policies", _policies),
    Component("proxy", _proxy),
    Component("dns", _dns),
    Component("kubelet", _kubelet),
)
NAMES = tuple(component.name for component in COMPONENTS)
