"""Faults of pods: the programs that run on the node, on a pretended /proc, and their command lines."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from localcluster import backends, cli, kind, pods
from localcluster.shell import ClusterError, CommandError

POD: dict[str, Any] = {
    "metadata": {"name": "db-0", "uid": "4de74370-e2b8"},
    "spec": {"nodeName": "node1"},
    "status": {
        "initContainerStatuses": [{"containerID": "containerd://aaa", "state": {"terminated": {}}}],
        "containerStatuses": [
            {"containerID": "containerd://bbb", "state": {"running": {}}},
            {"state": {"waiting": {}}},
        ],
    },
}


class Node:
    """A pretended /proc, whose processes are real ones of this test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.processes: list[subprocess.Popen[bytes]] = []

    def add(self, group: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(["sleep", "60"])
        self.processes.append(process)
        place = self.root / str(process.pid)
        place.mkdir()
        (place / "cgroup").write_text(f"0::{group}\n")
        (place / "status").symlink_to(f"/proc/{process.pid}/status")
        (place / "ns").symlink_to(f"/proc/{process.pid}/ns")
        return process


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    monkeypatch.setattr(pods, "PROC", str(tmp_path))
    made = Node(tmp_path)
    yield made
    for process in made.processes:
        process.kill()
        process.wait()


def here(_node: str) -> list[str]:
    return []


def state(process: subprocess.Popen[bytes]) -> str:
    text = Path(f"/proc/{process.pid}/stat").read_text()
    return text.rpartition(")")[2].split()[0]


def wait_for(process: subprocess.Popen[bytes], states: str) -> None:
    deadline = time.monotonic() + 10
    while state(process) not in states:
        assert time.monotonic() < deadline, state(process)
        time.sleep(0.01)


@pytest.mark.parametrize(
    "group", ["/kubepods/pod4de74370-e2b8/bbb", "/kubelet.slice/cri-containerd-bbb.scope"]
)
def test_all_processes_of_the_running_containers_are_stopped_and_continued(node: Node, group: str) -> None:
    ours = [node.add(group) for _ in range(3)]
    sandbox = node.add("/kubepods/pod4de74370-e2b8/ccc")
    stranger = node.add("/kubepods/podffff/ddd")
    assert pods.send(POD, here, "STOP") == 3
    for process in ours:
        wait_for(process, "T")
    assert state(sandbox) in "SR"
    assert state(stranger) in "SR"
    assert pods.send(POD, here, "STOP") == 0
    assert pods.send(POD, here, "CONT") == 3
    for process in ours:
        wait_for(process, "SR")


def test_processes_are_killed(node: Node) -> None:
    process = node.add("/kubepods/pod4de74370-e2b8/bbb")
    stranger = node.add("/")
    assert pods.send(POD, here, "KILL") == 1
    assert process.wait() == -9
    assert state(stranger) in "SR"


def test_a_pod_without_running_containers_is_told() -> None:
    with pytest.raises(ClusterError, match="no container of pod db-0 runs"):
        pods.send({**POD, "status": {}}, here, "KILL")


def test_a_pod_without_a_node_is_told() -> None:
    with pytest.raises(ClusterError, match="on no node"):
        pods.send({**POD, "spec": {}}, here, "KILL")


def test_a_pod_without_processes_has_no_network_to_cut(node: Node) -> None:
    node.add("/kubepods/podffff/ddd")
    with pytest.raises(CommandError, match="no process of the pod"):
        pods.network(POD, here, "cut")


@pytest.mark.parametrize("action", ["cut", "heal"])
@pytest.mark.parametrize(
    "group", ["/kubepods/pod4de74370-e2b8/ccc", "/kubepods-pod4de74370_e2b8.slice/c.scope"]
)
def test_the_filter_goes_into_the_network_of_the_pod(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str, action: str
) -> None:
    process = node.add(group)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "nsenter").write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/entered\ncat >{tmp_path}/rules\n')
    (programs / "nsenter").chmod(0o755)
    system = Path(str(shutil.which("sh"))).parent
    monkeypatch.setenv("PATH", f"{programs}:{system}:/usr/bin:/bin")
    pods.network(POD, here, action)
    assert f"/{process.pid}/ns/net -- nft -f -" in (tmp_path / "entered").read_text()
    rules = (tmp_path / "rules").read_text()
    assert "delete table inet localcluster_cut" in rules
    assert ("policy drop" in rules) is (action == "cut")


def test_a_kind_node_is_entered_by_its_container() -> None:
    assert backends.KindCluster("demo", "").on_node("demo-worker") == ["docker", "exec", "demo-worker"]
    assert kind.node_command("n")[-1] == "n"


def test_the_nodes_of_a_users_cluster_are_left_alone() -> None:
    with pytest.raises(ClusterError, match="out of our reach"):
        backends.Existing("paradedb", "KUBECONFIG is set").on_node("worker")


def test_words_of_the_command_line() -> None:
    words = cli.parser().parse_args(["pod-signal", "ns", "db-0", "STOP", "--name", "x"])
    assert (words.namespace, words.pod, words.signal, words.name) == ("ns", "db-0", "STOP", "x")
    words = cli.parser().parse_args(["pod-network", "ns", "db-0", "heal"])
    assert words.action == "heal"
