"""The node's network: one link to the host and no way beyond it.

The host gets one link and one address and nothing else: no route, no forwarding, no firewall rule.
"""

from __future__ import annotations

from pathlib import Path

from .capsule import enter
from .instance import Instance
from .processes import Process
from .shell import ClusterError, CommandError, run

# Traffic between two pods crosses the bridge only; without this, answers would come from an unknown address.
BRIDGE_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


def connect(instance: Instance, inside: Process) -> None:
    """Join the node's network namespace to the host, which can then reach the node's address."""
    disconnect(instance)
    end = ["ip", "link", "add", instance.link, "type", "veth"]
    run([*end, "peer", "name", "eth0", "netns", str(inside.pid)])
    run(["ip", "address", "add", f"{instance.host_ip}/24", "dev", instance.link])
    run(["ip", "link", "set", instance.link, "up"])
    lines = [
        "ip link set lo up",
        f"ip address add {instance.node_ip}/24 dev eth0",
        "ip link set eth0 up",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
        f"echo 1 > {BRIDGE_FILTER}",
    ]
    run([*enter(inside), "sh", "-ec", "\n".join(lines)])


def disconnect(instance: Instance) -> None:
    """Remove the host's end of the link, if it is still there."""
    while Path(f"/sys/class/net/{instance.link}").exists():
        try:
            run(["ip", "link", "delete", instance.link])
        except CommandError as error:
            # The kernel removes it with the enclosure's network, which may have happened in between.
            if "Cannot find device" not in str(error):
                raise


def check_kernel() -> None:
    """Raise ClusterError when bridged traffic cannot be made to pass the packet filter."""
    if not BRIDGE_FILTER.exists():
        raise ClusterError("the kernel module br_netfilter is missing: services would not work between pods")
