"""The objects every cluster has from its start: the storage class, the DNS service and its permissions."""

from __future__ import annotations

from .api import Object
from .instance import DNS_SERVICE_IP, Instance
from .provisioner import CLASSES, PROVISIONER

_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_DNS_PORTS = [
    {"name": "dns", "port": 53, "protocol": "UDP"},
    {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
]


def standard(instance: Instance) -> list[tuple[str, Object]]:
    """The objects, each with the path it is applied at."""
    system = "/api/v1/namespaces/kube-system"
    slices = "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices"
    return [
        (f"{CLASSES}/standard", _storage_class()),
        (f"{_RBAC}/clusterroles/system:coredns", _dns_role()),
        (f"{_RBAC}/clusterrolebindings/system:coredns", _dns_binding()),
        (f"{system}/services/kube-dns", _dns_service()),
        (f"{slices}/kube-dns", _dns_endpoints(instance)),
    ]


def _storage_class() -> Object:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": "standard",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER,
        "allowVolumeExpansion": True,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def _dns_role() -> Object:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "system:coredns"},
        "rules": [
            {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
        ],
    }


def _dns_binding() -> Object:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "system:coredns"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:coredns"}],
    }


def _dns_service() -> Object:
    """The service without a selector: the server is a process of the node, not a pod."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "labels": {"k8s-app": "kube-dns"}},
        "spec": {"clusterIP": DNS_SERVICE_IP, "ports": _DNS_PORTS},
    }


def _dns_endpoints(instance: Instance) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kube-dns", "labels": {"kubernetes.io/service-name": "kube-dns"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [instance.node_ip], "conditions": {"ready": True}}],
        "ports": _DNS_PORTS,
    }
