"""What network policies become in the packet filter."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any

import pytest
from localcluster.policies import TABLE, matches, ruleset

HOOK = "type filter hook forward priority filter; policy accept;"


def pod(address: str, namespace: str = "here", phase: str = "Running", **labels: str) -> dict[str, Any]:
    ports = [{"name": "web", "containerPort": 8080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]
    return {
        "metadata": {"name": address, "namespace": namespace, "labels": labels},
        "spec": {"containers": [{"name": "main", "ports": ports}]},
        "status": {"phase": phase, "podIP": address},
    }


def policy(*ingress: dict[str, Any], selector: dict[str, Any] | None = None) -> dict[str, Any]:
    spec = {"podSelector": selector or {}, "policyTypes": ["Ingress"], "ingress": list(ingress)}
    return {"metadata": {"name": "policy", "namespace": "here"}, "spec": spec}


NAMESPACES = [
    {"metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}}
    for name in ("here", "there")
]
ONE, TWO, FAR = (
    pod("10.97.0.1", app="one"),
    pod("10.97.0.2", app="two"),
    pod("10.97.0.3", "there", app="two"),
)
PODS = [ONE, TWO, FAR]


def chains(policies: list[dict[str, Any]], pods: list[dict[str, Any]] | None = None) -> dict[str, list[str]]:
    """The rules, by the name of their chain."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in ruleset(policies, PODS if pods is None else pods, NAMESPACES).splitlines():
        if line.startswith("chain "):
            name = line.split()[1]
            found[name] = []
        elif name and line != "}":
            found[name].append(line)
    return found


def admitted(*ingress: dict[str, Any]) -> list[str]:
    """What reaches the pod ONE by these rules, without what every isolated pod has."""
    own, *rules, last = chains([policy(*ingress, selector={"matchLabels": {"app": "one"}})])["to_10_97_0_1"]
    assert own == "ip saddr 10.97.0.1 accept"
    assert last == "drop"
    return rules


def test_without_a_policy_nothing_is_left_in_the_packet_filter() -> None:
    assert ruleset([], PODS, NAMESPACES).splitlines() == [f"add table ip {TABLE}", f"delete table ip {TABLE}"]


def test_a_policy_of_which_no_pod_is_concerned_leaves_nothing_either() -> None:
    assert chains([policy(selector={"matchLabels": {"app": "none"}})]) == {}


def test_only_pods_selected_in_the_namespace_of_the_policy_are_isolated() -> None:
    found = chains([policy()])
    assert set(found) == {"to_10_97_0_1", "to_10_97_0_2", "forward"}
    assert found["forward"] == [
        HOOK,
        "ct state established,related accept",
        "ip daddr vmap { 10.97.0.1 : goto to_10_97_0_1, 10.97.0.2 : goto to_10_97_0_2 }",
    ]


def test_a_pod_reaches_itself_and_nobody_else_does_by_default() -> None:
    assert admitted() == []


def test_a_rule_without_peers_and_ports_admits_everything() -> None:
    assert admitted({}) == ["accept"]


def test_a_policy_about_traffic_from_pods_isolates_nobody() -> None:
    outgoing = policy()
    outgoing["spec"]["policyTypes"] = ["Egress"]
    assert chains([outgoing]) == {}


def test_several_policies_add_up() -> None:
    web, ping = {"ports": [{"port": 80}]}, {"ports": [{"port": 7, "protocol": "UDP"}]}
    found = chains([policy(web), policy(ping)])["to_10_97_0_2"]
    assert found[1:] == ["tcp dport 80 accept", "udp dport 7 accept", "drop"]


@pytest.mark.parametrize(
    ("peer", "source"),
    [
        ({"podSelector": {}}, "ip saddr { 10.97.0.1, 10.97.0.2 }"),
        ({"podSelector": {"matchLabels": {"app": "two"}}}, "ip saddr { 10.97.0.2 }"),
        ({"namespaceSelector": {}}, "ip saddr { 10.97.0.1, 10.97.0.2, 10.97.0.3 }"),
        (
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "there"}}},
            "ip saddr { 10.97.0.3 }",
        ),
        (
            {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "two"}}},
            "ip saddr { 10.97.0.2, 10.97.0.3 }",
        ),
        ({"ipBlock": {"cidr": "192.0.2.7/24"}}, "ip saddr 192.0.2.0/24"),
        (
            {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "10.1.2.0/24"]}},
            "ip saddr 10.0.0.0/8 ip saddr != 10.1.0.0/16 ip saddr != 10.1.2.0/24",
        ),
    ],
)
def test_peers(peer: dict[str, Any], source: str) -> None:
    assert admitted({"from": [peer]}) == [f"{source} accept"]


@pytest.mark.parametrize(
    "peer", [{"podSelector": {"matchLabels": {"app": "three"}}}, {"ipBlock": {"cidr": "2001:db8::/32"}}]
)
def test_a_peer_that_means_nobody_admits_nobody(peer: dict[str, Any]) -> None:
    assert admitted({"from": [peer]}) == []


@pytest.mark.parametrize(
    ("port", "condition"),
    [
        ({"port": 5432}, ["tcp dport 5432 accept"]),
        ({"port": 5432, "protocol": "TCP", "endPort": 5440}, ["tcp dport 5432-5440 accept"]),
        ({"protocol": "UDP"}, ["meta l4proto udp accept"]),
        ({"port": "web"}, ["tcp dport 8080 accept"]),
        ({"port": "dns", "protocol": "UDP"}, ["udp dport 53 accept"]),
        ({"port": "dns"}, []),
        ({"port": "unknown"}, []),
    ],
)
def test_ports(port: dict[str, Any], condition: list[str]) -> None:
    assert admitted({"ports": [port]}) == condition


def test_each_peer_may_use_each_port() -> None:
    peers = [{"ipBlock": {"cidr": "192.0.2.0/24"}}, {"podSelector": {"matchLabels": {"app": "two"}}}]
    assert admitted({"from": peers, "ports": [{"port": 1}, {"port": 2}]}) == [
        "ip saddr 192.0.2.0/24 tcp dport 1 accept",
        "ip saddr 192.0.2.0/24 tcp dport 2 accept",
        "ip saddr { 10.97.0.2 } tcp dport 1 accept",
        "ip saddr { 10.97.0.2 } tcp dport 2 accept",
    ]


def test_pods_without_an_address_of_their_own_are_passed_over() -> None:
    on_host = pod("10.97.0.4")
    on_host["spec"]["hostNetwork"] = True
    waiting = pod("")
    del waiting["status"]["podIP"]
    others = [pod("10.97.0.5", phase="Succeeded"), pod("10.97.0.6", phase="Failed"), on_host, waiting]
    assert chains([policy({"from": [{"podSelector": {}}]})], [ONE, *others])["to_10_97_0_1"] == [
        "ip saddr 10.97.0.1 accept",
        "ip saddr { 10.97.0.1 } accept",
        "drop",
    ]


@pytest.mark.parametrize(
    ("operator", "values", "selected"),
    [
        ("In", ["x", "y"], True),
        ("In", ["y"], False),
        ("NotIn", ["y"], True),
        ("NotIn", ["x"], False),
        ("Exists", None, True),
        ("DoesNotExist", None, False),
    ],
)
def test_expressions_of_selectors(operator: str, values: list[str] | None, selected: bool) -> None:
    expression = {"key": "a", "operator": operator, "values": values}
    assert matches({"matchExpressions": [expression]}, {"a": "x"}) is selected


def test_a_label_that_is_not_there_is_in_no_list() -> None:
    assert not matches({"matchExpressions": [{"key": "b", "operator": "In", "values": ["x"]}]}, {"a": "x"})
    assert matches({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["x"]}]}, {"a": "x"})


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("nft"), reason="needs root and nftables")
def test_the_packet_filter_takes_the_rules() -> None:
    peers = [
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "10.1.0.0/16"]}},
        {"podSelector": {}},
    ]
    ports = [{"port": 1, "endPort": 3}, {"port": 2}, {"protocol": "SCTP"}, {"port": 4, "protocol": "SCTP"}]
    rules = ruleset([policy({"from": peers, "ports": ports}, {})], PODS, NAMESPACES)
    own_network = ["unshare", "--net", "sh", "-ec"]
    script = "nft -f - && nft -f /dev/null && nft list tables"
    done = subprocess.run([*own_network, script], input=rules, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == (f"table ip {TABLE}", "")
