"""What the network policies of a cluster admit to its pods, written for the node's packet filter.

Only ingress: who may reach a pod. What the fields mean is from
https://kubernetes.io/docs/concepts/services-networking/network-policies/ and
https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/network-policy-v1/
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .api import Object

TABLE = "localcluster_policies"
# Removes the table whether it is there or not; what follows it makes a new one in the same transaction.
_CLEAR = f"add table ip {TABLE}\ndelete table ip {TABLE}\n"
# Answers pass: only who opens a connection is asked. Traffic of the node itself, such as the kubelet's
# probes, is not forwarded and so never comes here.
_HOOK = "type filter hook forward priority filter; policy accept;"
_ANSWERS = "ct state established,related accept"


@dataclass(frozen=True)
class Pod:
    """A pod on the pods' network."""

    namespace: str
    address: str
    labels: Mapping[str, str]
    ports: Mapping[tuple[str, str], int]
    """Numbers of its named ports, by name and protocol."""


def ruleset(policies: Iterable[Object], pods: Iterable[Object], namespaces: Iterable[Object]) -> str:
    """Commands for nft that let in what the policies admit; without a policy they leave nothing behind."""
    labels = {item["metadata"]["name"]: item["metadata"].get("labels") or {} for item in namespaces}
    known = {pod.address: pod for item in pods if (pod := read_pod(item))}
    ingress = [policy for policy in policies if "Ingress" in policy["spec"].get("policyTypes", ["Ingress"])]
    chains = []
    isolated = []
    for address, pod in sorted(known.items()):
        concerning = sorted((p for p in ingress if selects(p, pod)), key=_place)
        if concerning:
            chains.append(_chain(pod, concerning, known.values(), labels))
            isolated.append(f"{address} : goto {_chain_name(address)}")
    if not isolated:
        return _CLEAR
    forward = f"{_HOOK}\n{_ANSWERS}\nip daddr vmap {{ {', '.join(isolated)} }}"
    return f"{_CLEAR}table ip {TABLE} {{\n{''.join(chains)}chain forward {{\n{forward}\n}}\n}}\n"


def read_pod(item: Object) -> Pod | None:
    """A pod with an address of its own, else None; the address of an ended one may be another's by now."""
    spec, status = item["spec"], item.get("status", {})
    if spec.get("hostNetwork") or status.get("phase") in ("Succeeded", "Failed") or not status.get("podIP"):
        return None
    containers = [*spec.get("initContainers", []), *spec["containers"]]
    named = {
        (port["name"], port.get("protocol", "TCP")): port["containerPort"]
        for container in containers
        for port in container.get("ports", [])
        if "name" in port
    }
    metadata = item["metadata"]
    return Pod(metadata["namespace"], status["podIP"], metadata.get("labels") or {}, named)


def selects(policy: Object, pod: Pod) -> bool:
    """Whether a policy concerns a pod."""
    selected = matches(policy["spec"].get("podSelector") or {}, pod.labels)
    return policy["metadata"]["namespace"] == pod.namespace and selected


def matches(selector: Object, labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects labels; an empty one selects all."""
    wanted = selector.get("matchLabels") or {}
    expressions = selector.get("matchExpressions") or []
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _holds(expression, labels) for expression in expressions
    )


def _holds(expression: Object, labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


def _place(policy: Object) -> tuple[str, str]:
    return policy["metadata"]["namespace"], policy["metadata"]["name"]


def _chain_name(address: str) -> str:
    return f"to_{address.replace('.', '_')}"


def _chain(
    pod: Pod, policies: Iterable[Object], pods: Iterable[Pod], namespaces: Mapping[str, Mapping[str, str]]
) -> str:
    """Who may reach a pod: itself, and whom any of the policies that concern it admits."""
    lines = [f"ip saddr {pod.address} accept"]
    for policy in policies:
        for rule in policy["spec"].get("ingress") or []:
            sources = _sources(rule, policy["metadata"]["namespace"], pods, namespaces)
            ports = _ports(rule, pod)
            lines += [" ".join([*source, *port, "accept"]) for source in sources for port in ports]
    lines.append("drop")
    return f"chain {_chain_name(pod.address)} {{\n" + "\n".join(lines) + "\n}\n"


def _sources(
    rule: Object, namespace: str, pods: Iterable[Pod], namespaces: Mapping[str, Mapping[str, str]]
) -> list[list[str]]:
    """Conditions on the source, one of which has to hold."""
    peers = rule.get("from") or []
    if not peers:
        return [[]]
    cidrs = [peer["ipBlock"] for peer in peers if "ipBlock" in peer]
    blocks = [_block(block) for block in cidrs if ":" not in block["cidr"]]  # pods have no IPv6 addresses
    selectors = [peer for peer in peers if "ipBlock" not in peer]
    addresses = sorted(
        pod.address for pod in pods if any(_admits(peer, namespace, pod, namespaces) for peer in selectors)
    )
    return blocks + ([[f"ip saddr {{ {', '.join(addresses)} }}"]] if addresses else [])


def _admits(peer: Object, namespace: str, pod: Pod, namespaces: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether a peer, which stands in a policy of that namespace, means a pod."""
    if "namespaceSelector" in peer:
        there = matches(peer["namespaceSelector"], namespaces.get(pod.namespace, {}))
    else:
        there = pod.namespace == namespace
    return there and matches(peer.get("podSelector") or {}, pod.labels)


def _block(block: Object) -> list[str]:
    excluded = [f"ip saddr != {_network(cidr)}" for cidr in block.get("except") or []]
    return [f"ip saddr {_network(block['cidr'])}", *excluded]


def _network(cidr: str) -> str:
    return str(ipaddress.ip_network(cidr, strict=False))


def _ports(rule: Object, pod: Pod) -> list[list[str]]:
    """Conditions on protocol and port, one of which has to hold."""
    wanted = rule.get("ports") or []
    return [_port(port, pod) for port in wanted if _served(port, pod)] if wanted else [[]]


def _served(port: Object, pod: Pod) -> bool:
    """Whether the pod has the port, if it is given by its name."""
    named = isinstance(port.get("port"), str)
    return not named or (port["port"], port.get("protocol", "TCP")) in pod.ports


def _port(port: Object, pod: Pod) -> list[str]:
    protocol = port.get("protocol", "TCP")
    first = port.get("port")
    if first is None:
        return [f"meta l4proto {protocol.lower()}"]
    if isinstance(first, str):
        first = pod.ports[first, protocol]
    last = port.get("endPort")
    return [f"{protocol.lower()} dport {first}" + (f"-{last}" if last else "")]
