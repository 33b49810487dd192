"""Faults put on one pod from its node: its processes stopped or killed, its network cut.

What a pod's containers cannot do to themselves, because their first process is deaf to signals from inside
and their network is not theirs to change. Only processes of the pod's control groups are touched, and only
the packet filter of its own network namespace.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from .shell import ClusterError, run

SIGNALS = ("STOP", "CONT", "KILL")
PROC = "/proc"

# Arguments: where /proc is, then words of which a control group's path must hold one. Prints process numbers.
_FIND = r"""
found() {
    proc=$1
    shift
    for word; do
        grep -lsF -- "$word" "$proc"/[0-9]*/cgroup || true
    done | sed 's:/cgroup$::; s:.*/::' | sort -nu
}
"""

# Arguments: signal, then those of `found`. New processes may appear while the others are stopped or killed,
# so it goes on until all are as wanted. Prints the processes that got the signal.
SIGNAL_SCRIPT = (
    _FIND
    + r"""
signal=$1
shift
state() { sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "$1/$2/status" 2>/dev/null || true; }
open() {
    for pid in $(found "$@"); do
        case $signal$(state "$1" "$pid") in
        STOPT | STOP[ZX] | KILL[ZX] | CONT[!T] | STOP | KILL | CONT) ;;
        *) echo "$pid" ;;
        esac
    done
}
for _round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    pids=$(open "$@")
    [ -n "$pids" ] || exit 0
    for pid in $pids; do
        kill -s "$signal" "$pid" 2>/dev/null || true
        echo "$pid"
    done
    sleep 0.1
done
echo "these processes do not follow the signal $signal:" $pids >&2
exit 1
"""
)

# Arguments: "cut" or "heal", then those of `found`. Both may be repeated. The loopback link stays, so that
# the containers of the pod still reach each other.
NETWORK_SCRIPT = (
    _FIND
    + r"""
action=$1
shift
pid=$(found "$@" | head -n 1)
[ -n "$pid" ] || { echo "no process of the pod runs on its node" >&2; exit 1; }
{
    echo "add table inet localcluster_cut"
    echo "delete table inet localcluster_cut"
    if [ "$action" = cut ]; then
        echo "table inet localcluster_cut {"
        echo "chain in { type filter hook input priority -300; policy drop; iifname lo accept; }"
        echo "chain out { type filter hook output priority -300; policy drop; oifname lo accept; }"
        echo "}"
    fi
} | nsenter --net="$1/$pid/ns/net" -- nft -f -
"""
)

# The beginning of a command line that runs the rest on the node of that name.
OnNode = Callable[[str], list[str]]


def send(pod: dict[str, Any], on_node: OnNode, signal: str) -> int:
    """Send a signal to every process of a pod's containers; the sandbox that holds its network is left out.

    Returns how many processes got it. Raises ClusterError when none is there, CommandError when one does
    not follow.
    """
    containers = running_containers(pod)
    if not containers:
        raise ClusterError(f"no container of pod {pod['metadata']['name']} runs")
    printed = run([*_shell(pod, on_node, SIGNAL_SCRIPT), signal, PROC, *containers])
    return len(set(printed.split()))


def network(pod: dict[str, Any], on_node: OnNode, action: str) -> None:
    """Drop every packet from and to a pod ("cut"), or let them pass again ("heal").

    Raises CommandError when no process of the pod runs.
    """
    uid = pod["metadata"]["uid"]
    # systemd's names of control groups have underscores instead of hyphens.
    run([*_shell(pod, on_node, NETWORK_SCRIPT), action, PROC, uid, uid.replace("-", "_")])


def _shell(pod: dict[str, Any], on_node: OnNode, script: str) -> Sequence[str]:
    node = pod["spec"].get("nodeName")
    if not node:
        raise ClusterError(f"pod {pod['metadata']['name']} is on no node")
    return [*on_node(node), "sh", "-euc", script, "sh"]


def running_containers(pod: dict[str, Any]) -> list[str]:
    """The identifiers of a pod's running containers, which are part of their control groups' paths."""
    status = pod.get("status", {})
    containers = status.get("initContainerStatuses", []) + status.get("containerStatuses", [])
    running = [item for item in containers if "running" in item.get("state", {})]
    return [item["containerID"].partition("://")[2] for item in running]


def parse(text: str) -> dict[str, Any]:
    """A pod as kubectl prints it."""
    pod: dict[str, Any] = json.loads(text)
    return pod
