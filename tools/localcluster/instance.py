"""Names, places and addresses of one native cluster.

Everything a cluster writes lives in its own directory below STATE_ROOT, which only root can read
(it holds private keys); what is expensive to make lives in the cache directory and outlives it.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .shell import ClusterError, run

STATE_ROOT = Path("/var/lib/paradedb-localcluster")
CGROUP_ROOT = "paradedb-localcluster"
DEFAULT_NAME = "paradedb"
NODE_NAME = "node1"

# Each cluster has its own network namespace, so that only the link to the host must differ between clusters.
SERVICE_SUBNET = "10.96.0.0/16"
API_SERVICE_IP = "10.96.0.1"
DNS_SERVICE_IP = "10.96.0.10"
POD_SUBNET = "10.97.0.0/24"
MAX_CLUSTERS = 64


@dataclass(frozen=True)
class Instance:
    """One cluster: its name and the number its link to the host is derived from."""

    name: str
    index: int

    @property
    def state(self) -> Path:
        """Directory of everything the cluster writes; removed by `stop`."""
        return state_dir(self.name)

    @property
    def pki(self) -> Path:
        """Keys, certificates and the kubeconfig files of the components."""
        return self.state / "pki"

    @property
    def config(self) -> Path:
        """Configuration files of the components."""
        return self.state / "config"

    @property
    def logs(self) -> Path:
        """Log files of the components."""
        return self.state / "logs"

    @property
    def processes(self) -> Path:
        """One file for each component: the process that runs it."""
        return self.state / "processes"

    @property
    def volumes(self) -> Path:
        """Disk images of the persistent volumes, and where they are mounted."""
        return self.state / "volumes"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.state / "kubeconfig"

    @property
    def containerd_socket(self) -> Path:
        """Where containerd answers."""
        return self.state / "containerd.sock"

    @property
    def cgroup(self) -> str:
        """Control group of all processes, relative to each hierarchy's root."""
        return f"{CGROUP_ROOT}/{self.name}"

    @property
    def link(self) -> str:
        """Name of the host's end of the link into the cluster."""
        return f"pdblc{self.index}"

    @property
    def subnet(self) -> str:
        """Subnet of the link."""
        return f"10.213.{self.index}.0/24"

    @property
    def host_ip(self) -> str:
        """The host's address on the link."""
        return f"10.213.{self.index}.1"

    @property
    def node_ip(self) -> str:
        """The node's address on the link; the API server answers there."""
        return f"10.213.{self.index}.2"

    @property
    def server(self) -> str:
        """URL of the API server, the same from the host and from inside."""
        return f"https://{self.node_ip}:6443"


def state_dir(name: str) -> Path:
    """The state directory of the cluster of that name.

    Raises ClusterError for a name that cannot be part of a path, a control group and a URL.
    """
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", name):
        raise ClusterError(f"cluster name {name!r}: use up to 32 lower-case letters, digits and hyphens")
    return STATE_ROOT / name


def cache_dir() -> Path:
    """Directory of built binaries: the project's cache directory, never inside the checkout."""
    if chosen := os.environ.get("PARADEDB_CACHE"):
        return Path(chosen) / "localcluster"
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "paradedb" / "localcluster"


def load(name: str) -> Instance | None:
    """The cluster of that name, running or not, or None if there is no trace of it."""
    try:
        index = json.loads((state_dir(name) / "instance.json").read_text())["index"]
    except FileNotFoundError:
        return None
    return Instance(name, index)


def existing() -> list[Instance]:
    """All clusters of this machine."""
    names = sorted(path.parent.name for path in STATE_ROOT.glob("*/instance.json"))
    return [found for name in names if (found := load(name))]


def claim(name: str) -> Instance:
    """The cluster of that name; a new one gets the first free link number. Call with the lock held.

    Raises ClusterError when every subnet is in use on this machine.
    """
    if found := load(name):
        return found
    taken = {other.index for other in existing()}
    instance = Instance(name, free_index(taken, _routed_subnets()))
    instance.state.mkdir(parents=True, exist_ok=True)
    STATE_ROOT.chmod(0o700)
    instance.state.chmod(0o700)
    (instance.state / "instance.json").write_text(json.dumps({"index": instance.index}))
    return instance


def free_index(taken: Iterable[int], routed: Iterable[str]) -> int:
    """The first link number that no cluster has and whose subnet this machine does not route elsewhere."""
    networks = [ipaddress.ip_network(subnet, strict=False) for subnet in routed]
    occupied = [network for network in networks if network.version == 4 and network.prefixlen > 8]
    for index in range(MAX_CLUSTERS):
        subnet = ipaddress.ip_network(Instance("any", index).subnet)
        if index not in set(taken) and not any(subnet.overlaps(network) for network in occupied):
            return index
    raise ClusterError(f"all {MAX_CLUSTERS} subnets from {Instance('any', 0).subnet} on are in use here")


def _routed_subnets() -> list[str]:
    """Destinations in this machine's routing table, other than the default route."""
    routes = json.loads(run(["ip", "-4", "-json", "route", "show"]) or "[]")
    return [route["dst"] for route in routes if route["dst"] != "default"]
