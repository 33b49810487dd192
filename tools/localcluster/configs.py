"""Configuration files of the node's components."""

from __future__ import annotations

import json
from typing import Any

from .instance import DNS_SERVICE_IP, NODE_NAME, POD_SUBNET, Instance

# Containerd plugins that would write outside our directories, or complain about file systems not in use.
UNUSED_PLUGINS = (
    "internal.v1.opt",
    *(f"snapshotter.v1.{fs}" for fs in ("aufs", "btrfs", "devmapper", "zfs")),
)
PAUSE_IMAGE = "localhost/localcluster-pause:1"


def render(instance: Instance, cni_plugins: str) -> dict[str, str]:
    """All configuration files by name, relative to the instance's configuration directory."""
    return {
        "containerd.toml": containerd(instance, cni_plugins),
        "cni/10-pods.conflist": json.dumps(pod_network(), indent=1),
        "kubelet.json": json.dumps(kubelet(instance), indent=1),
        "proxy.json": json.dumps(proxy(instance), indent=1),
        "Corefile": corefile(instance),
    }


def write(instance: Instance, cni_plugins: str) -> None:
    """Write the configuration files that differ from what they should be.

    The others stay untouched: kube-proxy ends when its file is written.
    """
    for name, text in render(instance, cni_plugins).items():
        path = instance.config / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def containerd(instance: Instance, cni_plugins: str) -> str:
    """Containerd's configuration.

    restrict_oom_score_adj: lowering the score below our own needs CAP_SYS_RESOURCE, which containers and some
    virtual machines lack, and not even the sandbox of a pod would start.
    """
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    disabled = ", ".join(f'"io.containerd.{name}"' for name in UNUSED_PLUGINS)
    return f"""version = 2
root = "{instance.state}/containerd"
state = "/run/containerd"
disabled_plugins = [{disabled}]

[grpc]
  address = "{instance.containerd_socket}"

[{cri}]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true

[{cri}.containerd]
  snapshotter = "overlayfs"

[{cri}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[{cri}.cni]
  bin_dir = "{cni_plugins}"
  conf_dir = "{instance.config}/cni"
"""


def pod_network() -> dict[str, Any]:
    """The pods' network: a bridge in the node's namespace.

    Hairpin lets a pod reach itself through a service.
    """
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": POD_SUBNET}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}


def kubelet(instance: Instance) -> dict[str, Any]:
    """The kubelet's configuration: the defaults, except where the machine or the isolation asks for more.

    resolvConf: pods get the cluster's DNS only; the host's servers cannot be reached from inside.
    """
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{instance.pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{instance.cgroup}",
        "clusterDNS": [DNS_SERVICE_IP],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{instance.containerd_socket}",
        "evictionHard": {"imagefs.available": "1%", "memory.available": "50Mi", "nodefs.available": "1%"},
        "failCgroupV1": False,
        "failSwapOn": False,
        "imageGCHighThresholdPercent": 100,
        "makeIPTablesUtilChains": False,
        "maxPods": 200,
        "resolvConf": "/dev/null",
        "serializeImagePulls": False,
        "tlsCertFile": f"{instance.pki}/kubelet.crt",
        "tlsPrivateKeyFile": f"{instance.pki}/kubelet.key",
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
    }


def proxy(instance: Instance) -> dict[str, Any]:
    """The service proxy's configuration. The zeros leave the host's connection tracking table as it is."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": f"{instance.pki}/proxy.kubeconfig"},
        "clusterCIDR": POD_SUBNET,
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpCloseWaitTimeout": "0s", "tcpEstablishedTimeout": "0s"},
        "hostnameOverride": NODE_NAME,
        "mode": "nftables",
    }


def corefile(instance: Instance) -> str:
    """CoreDNS's configuration: the cluster's names, and "no such name" at once for all others."""
    return f"""(common) {{
  bind {instance.node_ip}
  errors
  cache 5
}}
cluster.local:53 in-addr.arpa:53 {{
  import common
  ready {instance.node_ip}:8181
  kubernetes {{
    kubeconfig {instance.pki}/dns.kubeconfig
    pods insecure
    ttl 5
  }}
  loadbalance
}}
.:53 {{
  import common
  template ANY ANY {{
    rcode NXDOMAIN
  }}
}}
"""
