"""The native node as its users meet it: a second cluster beside the one they may be using.

Every test here runs the command line and kubectl only, apart from looking at what is left on the host.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from localcluster import capsule, processes
from localcluster.components import NAMES
from localcluster.images import write_archive
from localcluster.instance import CGROUP_ROOT, STATE_ROOT, load
from localcluster.node import loop_devices
from localcluster.providers import look

NAME = "lctest"
TOOL = Path(__file__).resolve().parents[1]
IMAGE = "localhost/localcluster-test:1"
# A limit for a broken cluster; nothing here is expected to take nearly as long.
PATIENCE = 120.0
MIB = 1024 * 1024

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(
        os.geteuid() != 0 or not look(NAME).linux, reason="a native node needs Linux and root"
    ),
]


def tool(*arguments: str, check: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command of the tool on the test cluster, whatever cluster the environment names."""
    command, *rest = arguments
    variables = {key: value for key, value in os.environ.items() if key != "KUBECONFIG"}
    done = subprocess.run(
        [sys.executable, str(TOOL), command, "--name", NAME, *rest],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env=variables,
    )
    assert not check or done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done


def kubectl(*arguments: str, check: bool = True, stdin: str = "") -> str:
    """Run kubectl on the test cluster and return its output."""
    return tool("kubectl", *arguments, check=check, stdin=stdin).stdout


def get(kind: str, name: str = "") -> dict[str, Any]:
    """Read an object, or a list; empty when there is none."""
    words = [word for word in (kind, name) if word]
    text = kubectl("get", *words, "--ignore-not-found", "-o", "json")
    found: dict[str, Any] = json.loads(text) if text.strip() else {}
    return found


def apply(*manifests: dict[str, Any]) -> None:
    """Create or change objects."""
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))


def eventually(condition: Callable[[], Any], what: str) -> Any:
    """Wait until something holds and return it; fail only after a limit that means it never will."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.2)
    pytest.fail(f"did not happen: {what}\n{kubectl('get', 'pods,pvc,pv,events', '-A', check=False)}")


def pod(name: str, claim: str = "", **spec: Any) -> dict[str, Any]:
    """A pod that serves its own name over HTTP, with a volume at /data if it names a claim."""
    serve = f"echo {name} > /tmp/index.html && exec /bin/busybox httpd -f -p 8080 -h /tmp"
    container: dict[str, Any] = {"name": "main", "image": IMAGE, "args": ["sh", "-c", serve]}
    container["volumeMounts"] = [{"name": "tmp", "mountPath": "/tmp"}]
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    if claim:
        container["volumeMounts"].append({"name": "data", "mountPath": "/data"})
        volumes.append({"name": "data", "persistentVolumeClaim": {"claimName": claim}})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container], "volumes": volumes, **spec},
    }


def pvc(name: str, size: str) -> dict[str, Any]:
    """A claim on the default storage class."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def service(name: str) -> dict[str, Any]:
    """A service for the pod of that label."""
    spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"{name}-web"}, "spec": spec}


def run_pods(*manifests: dict[str, Any]) -> None:
    """Create objects and wait until the pods among them are ready."""
    apply(*manifests)
    names = [f"pod/{m['metadata']['name']}" for m in manifests if m["kind"] == "Pod"]
    kubectl("wait", "--for=condition=Ready", f"--timeout={PATIENCE:.0f}s", *names)


def sh(name: str, script: str, check: bool = True) -> str:
    """Run a script in a pod."""
    return kubectl("exec", name, "--", "/bin/busybox", "sh", "-c", script, check=check)


def remove(*names: str) -> None:
    """Delete objects and wait until they are gone."""
    kubectl("delete", "--ignore-not-found", "--wait", *names)


def free_bytes(name: str) -> int:
    """Free space at /data of a pod."""
    return int(sh(name, "/bin/busybox df -k /data | /bin/busybox tail -n 1").split()[3]) * 1024


def total_bytes(name: str) -> int:
    """Size of the file system at /data of a pod."""
    return int(sh(name, "/bin/busybox df -k /data | /bin/busybox tail -n 1").split()[1]) * 1024


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with a shell and a web server."""
    if not shutil.which("busybox"):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "install", "--yes", "--no-install-recommends", "busybox-static"]
        subprocess.run(["apt-get", "update"], check=True, capture_output=True, env=quiet)
        subprocess.run(install, check=True, capture_output=True, env=quiet)
    path = tmp_path_factory.mktemp("image") / "busybox.tar"
    busybox = Path(shutil.which("busybox") or "")
    write_archive(path, IMAGE, {"bin/busybox": busybox}, ["/bin/busybox"])
    return path


@pytest.fixture(scope="module")
def cluster(archive: Path) -> Iterator[None]:
    """A cluster of our own with the test image, removed at the end."""
    tool("stop")
    tool("start")
    tool("load-image", str(archive))
    yield
    tool("stop")


def pids() -> dict[str, str]:
    """Components as `status` shows them."""
    lines = [line.rsplit(", pid ", 1) for line in tool("status", check=False).stdout.splitlines()]
    return {line[0].split()[0]: line[1] for line in lines if len(line) == 2}


# --- the cluster itself


def test_a_running_cluster_is_left_as_it_is(cluster: None) -> None:
    before = pids()
    assert "is running" in tool("start").stdout
    assert pids() == before


def test_status_shows_components_versions_and_kubeconfig(cluster: None) -> None:
    shown = tool("status").stdout
    for word in ("native node", "kubeconfig", "v1.35.4", "containerd://", "etcd", "kubelet", "volumes"):
        assert word in shown


def test_the_kubeconfig_is_roots_alone_and_works_from_the_host(cluster: None) -> None:
    path = Path(tool("kubeconfig").stdout.strip())
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert get("node", "node1")["status"]["nodeInfo"]["kubeletVersion"] == "v1.35.4"


def test_a_dead_component_is_noticed_and_started_again(cluster: None) -> None:
    before = pids()
    os.kill(int(before["scheduler"]), signal.SIGKILL)
    eventually(lambda: tool("status", check=False).returncode == 1, "status notices the dead scheduler")
    said = tool("start").stdout
    assert tool("status").returncode == 0
    after = pids()
    assert {name for name in after if after[name] != before[name]} == {"scheduler"}, said


@pytest.mark.parametrize("component", NAMES)
def test_a_component_can_be_killed_under_running_pods(cluster: None, component: str) -> None:
    run_pods(pod("steady"))
    started = get("pod", "steady")["status"]["containerStatuses"][0]["containerID"]
    before = pids()
    tool("restart", component)
    assert pids()[component] != before[component]
    # All must have found the new one: a claim is served, a pod is scheduled, started and reached by its name.
    run_pods(pvc("after", "300Mi"), pod("after", "after"), service("after"))
    fetch = "/bin/busybox wget -q -O - http://after-web.default.svc.cluster.local/"
    eventually(lambda: sh("steady", fetch, check=False).strip() == "after", "the new service answers")
    assert get("pod", "steady")["status"]["containerStatuses"][0]["containerID"] == started
    remove("pod/steady", "pod/after", "pvc/after", "svc/after-web")


def test_an_unknown_component_is_refused(cluster: None) -> None:
    refused = tool("restart", "nonsense", check=False)
    assert refused.returncode == 1
    assert "apiserver" in refused.stderr


def test_logs_of_components_are_shown(cluster: None) -> None:
    assert "serving localcluster.paradedb.io/xfs" in tool("logs", "volumes").stdout
    assert "kubelet.log" in tool("logs", "--lines", "1").stdout


def test_a_command_can_run_in_the_node(cluster: None) -> None:
    assert "eth0" in tool("enter", "--", "ip", "-brief", "link").stdout
    routes = tool("enter", "ip", "route").stdout
    assert "default" not in routes


# --- images


def test_an_image_is_loaded_once(cluster: None, archive: Path) -> None:
    assert "already loaded" in tool("load-image", str(archive)).stdout


def test_a_newer_image_of_the_same_name_replaces_the_older(
    cluster: None, archive: Path, tmp_path: Path
) -> None:
    newer = tmp_path / "newer.tar"
    busybox = Path(shutil.which("busybox") or "")
    write_archive(newer, IMAGE, {"bin/busybox": busybox, "newer": busybox}, ["/bin/busybox"])
    assert "loaded localhost" in tool("load-image", str(newer)).stdout
    run_pods(pod("fresh"))
    sh("fresh", "test -e /newer")
    assert "loaded localhost" in tool("load-image", str(archive)).stdout
    remove("pod/fresh")


def test_an_image_that_is_nowhere_is_told(cluster: None) -> None:
    refused = tool("load-image", "localhost/no-such-image:1", check=False)
    assert refused.returncode == 1
    assert "localhost/no-such-image:1" in refused.stderr


@pytest.mark.parametrize("image", ["registry.example.com/none:1", "localhost/none:1", "192.0.2.1/none:1"])
def test_an_image_that_cannot_be_pulled_is_reported(cluster: None, image: str) -> None:
    name = f"nowhere-{abs(hash(image)) % 10**6}"
    apply({**pod(name), "spec": {"containers": [{"name": "main", "image": image}]}})

    def reason() -> str:
        statuses = get("pod", name)["status"].get("containerStatuses", [{}])
        return str(statuses[0].get("state", {}).get("waiting", {}).get("reason", ""))

    eventually(
        lambda: reason() in ("ErrImagePull", "ImagePullBackOff"), f"{image} is reported as not pullable"
    )
    remove(f"pod/{name}")


# --- network


def test_names_and_services_work_in_pods(cluster: None) -> None:
    run_pods(pod("web"), service("web"), pod("client"), service("client"))
    assert "10.96.0.1" in sh("client", "/bin/busybox nslookup kubernetes.default.svc.cluster.local")
    fetch = "/bin/busybox wget -q -O - http://{}-web.default.svc.cluster.local/"
    eventually(
        lambda: sh("client", fetch.format("web"), check=False).strip() == "web", "another pod's service"
    )
    eventually(
        lambda: sh("client", fetch.format("client"), check=False).strip() == "client", "a pod's own service"
    )
    assert (
        "NXDOMAIN"
        in tool(
            "kubectl", "exec", "client", "--", "/bin/busybox", "nslookup", "example.com", check=False
        ).stdout
    )
    remove("pod/web", "pod/client", "svc/web-web", "svc/client-web")


def test_nothing_leaves_the_machine(cluster: None) -> None:
    run_pods(pod("captive"))
    tried = tool(
        "kubectl", "exec", "captive", "--", "/bin/busybox", "nc", "-w", "5", "192.0.2.1", "80", check=False
    )
    assert tried.returncode != 0
    remove("pod/captive")


def test_logs_exec_and_port_forward_reach_a_pod(cluster: None) -> None:
    run_pods(
        pod("reach", initContainers=[{"name": "first", "image": IMAGE, "args": ["echo", "first words"]}])
    )
    assert kubectl("logs", "reach", "-c", "first").strip() == "first words"
    assert sh("reach", "echo $((6 * 7))").strip() == "42"
    assert tool("kubectl", "exec", "reach", "--", "/bin/busybox", "false", check=False).returncode == 1
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tool("kubeconfig").stdout.strip()
    forward = [
        sys.executable,
        str(TOOL),
        "kubectl",
        "--name",
        NAME,
        "port-forward",
        "pod/reach",
        f"{port}:8080",
    ]
    with subprocess.Popen(
        forward, stdout=subprocess.DEVNULL, env={**os.environ, "KUBECONFIG": config}
    ) as running:
        try:
            eventually(lambda: _http(port).endswith("reach\n"), "the forwarded port answers")
        finally:
            children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
            for pid in [*map(int, children), running.pid]:
                os.kill(pid, signal.SIGTERM)
    remove("pod/reach")


def _http(port: int) -> str:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    except OSError:
        return ""


# --- volumes


def test_a_volume_has_an_owner_a_size_and_an_end(cluster: None) -> None:
    user = {"runAsUser": 1000, "runAsGroup": 1000, "runAsNonRoot": True, "fsGroup": 2000}
    run_pods(pvc("disk", "400Mi"), pod("writer", "disk", securityContext=user))
    assert sh("writer", "/bin/busybox stat -c %g /data").strip() == "2000"
    assert 300 * MIB < total_bytes("writer") <= 400 * MIB
    full = tool(
        "kubectl",
        "exec",
        "writer",
        "--",
        "/bin/busybox",
        "dd",
        "if=/dev/zero",
        "of=/data/fill",
        "bs=1M",
        check=False,
    )
    assert "No space left on device" in full.stderr
    sh("writer", "/bin/busybox rm /data/fill")
    eventually(lambda: free_bytes("writer") > 280 * MIB, "the space of a deleted file is free again")
    remove("pod/writer", "pvc/disk")


def test_a_volume_grows_under_a_running_pod(cluster: None) -> None:
    run_pods(pvc("growing", "300Mi"), pod("grower", "growing"))
    before = total_bytes("grower")
    started = get("pod", "grower")["status"]["containerStatuses"][0]["containerID"]
    kubectl("patch", "pvc", "growing", "-p", '{"spec":{"resources":{"requests":{"storage":"600Mi"}}}}')
    eventually(lambda: get("pvc", "growing")["status"]["capacity"]["storage"] == "600Mi", "the claim is told")
    assert total_bytes("grower") >= before + 300 * MIB
    claim = get("pvc", "growing")
    assert not [c for c in claim["status"].get("conditions", []) if "Resiz" in c["type"]]
    assert get("pv", claim["spec"]["volumeName"])["spec"]["capacity"]["storage"] == "600Mi"
    assert get("pod", "grower")["status"]["containerStatuses"][0]["containerID"] == started
    sh("grower", "/bin/busybox dd if=/dev/zero of=/data/fill bs=1M count=400")
    remove("pod/grower", "pvc/growing")


def test_a_small_request_is_rounded_up_and_told(cluster: None) -> None:
    run_pods(pvc("tiny", "10Mi"), pod("tiny", "tiny"))
    assert get("pvc", "tiny")["status"]["capacity"]["storage"] == "300Mi"
    events = kubectl("get", "events", "--field-selector", "reason=VolumeRoundedUp")
    assert "10Mi rounded up to 300Mi" in events
    remove("pod/tiny", "pvc/tiny")


def test_a_deleted_claim_takes_its_disk_along(cluster: None) -> None:
    instance = load(NAME)
    assert instance is not None
    run_pods(pvc("gone", "300Mi"), pod("gone", "gone"))
    name = get("pvc", "gone")["spec"]["volumeName"]
    file = instance.volumes / "disks" / f"{name}.xfs"
    assert file.exists()
    remove("pod/gone", "pvc/gone")
    eventually(lambda: not get("pv", name), "the volume object goes")
    assert not file.exists()
    disks = instance.volumes / "disks"
    eventually(lambda: len(loop_devices(disks)) == len(list(disks.iterdir())), "the loop device is released")


def test_a_retained_volume_keeps_its_data(cluster: None) -> None:
    run_pods(pvc("kept", "300Mi"), pod("kept", "kept"))
    sh("kept", "echo precious > /data/file && /bin/busybox sync")
    name = get("pvc", "kept")["spec"]["volumeName"]
    kubectl("patch", "pv", name, "-p", '{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}')
    remove("pod/kept", "pvc/kept")
    eventually(lambda: get("pv", name)["status"]["phase"] == "Released", "the volume is released")
    kubectl("patch", "pv", name, "--type=json", "-p", '[{"op":"remove","path":"/spec/claimRef"}]')
    claim = pvc("kept", "300Mi")
    claim["spec"]["volumeName"] = name
    run_pods(claim, pod("kept", "kept"))
    assert sh("kept", "/bin/busybox cat /data/file").strip() == "precious"
    kubectl("patch", "pv", name, "-p", '{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}')
    remove("pod/kept", "pvc/kept")


def test_more_volumes_than_ready_made_loop_devices(cluster: None) -> None:
    names = [f"many-{number}" for number in range(10)]
    run_pods(*(pvc(name, "300Mi") for name in names), *(pod(name, name) for name in names))
    remove(*(f"pod/{name}" for name in names), *(f"pvc/{name}" for name in names))


# --- faults of pods


def answers(address: str) -> bool:
    """Whether a pod's server answers another pod."""
    url = f"http://{address}:8080/"
    return "victim" in sh("witness", f"/bin/busybox timeout 2 /bin/busybox wget -qO- {url} || true")


def test_a_pod_is_frozen_cut_off_and_killed(cluster: None) -> None:
    run_pods(pod("victim"), pod("witness"))
    address = get("pod", "victim")["status"]["podIP"]
    for begin, end in (
        (("pod-signal", "STOP"), ("pod-signal", "CONT")),
        (("pod-network", "cut"), ("pod-network", "heal")),
    ):
        eventually(lambda: answers(address), "the pod answers")
        fault(*begin)
        assert not answers(address)
        fault(*end)
        eventually(lambda: answers(address), "the pod answers again")
    fault("pod-network", "cut")
    assert sh("victim", "/bin/busybox wget -qO- http://127.0.0.1:8080/").strip() == "victim"
    fault("pod-network", "heal")
    fault("pod-signal", "KILL")
    eventually(
        lambda: get("pod", "victim")["status"]["containerStatuses"][0]["restartCount"] == 1,
        "the container is started again",
    )
    assert get("pod", "witness")["status"]["containerStatuses"][0]["restartCount"] == 0
    remove("pod/victim", "pod/witness")


def fault(command: str, what: str) -> None:
    tool(command, "default", "victim", what)


# --- network policies


def admitting(*ingress: dict[str, Any]) -> dict[str, Any]:
    """A policy of the pod that is guarded."""
    spec = {"podSelector": {"matchLabels": {"app": "guarded"}}, "ingress": list(ingress)}
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    return {**kind, "metadata": {"name": "guard"}, "spec": spec}


def table() -> str:
    """The rules of the policies in the node's packet filter; empty when there are none."""
    return tool("enter", "nft", "list", "table", "ip", "localcluster_policies", check=False).stdout


def test_network_policies_are_enforced(cluster: None) -> None:
    assert table() == ""
    run_pods(pod("guarded"), pod("friend"), pod("stranger"), service("guarded"))
    address = get("pod", "guarded")["status"]["podIP"]
    places = (f"http://{address}:8080/", "http://guarded-web.default.svc.cluster.local/")

    def reached_by(name: str) -> list[bool]:
        fetch = "/bin/busybox timeout 2 /bin/busybox wget -q -O - "
        return [sh(name, fetch + place, check=False).strip() == "guarded" for place in places]

    both, none = [True, True], [False, False]
    eventually(lambda: reached_by("stranger") == both, "all is open without a policy")
    apply(admitting())
    eventually(lambda: reached_by("stranger") == none, "a policy without rules admits nobody")
    assert reached_by("friend") == none
    assert reached_by("guarded") == both, "a pod always reaches itself"
    knock = f"import socket; socket.create_connection(({address!r}, 8080), timeout=2)"
    tool("enter", sys.executable, "-c", knock)  # so does its node
    peers = [{"podSelector": {"matchLabels": {"app": "friend"}}}]
    apply(admitting({"from": peers, "ports": [{"port": 8080}]}))
    eventually(lambda: reached_by("friend") == both, "who is admitted comes in")
    assert reached_by("stranger") == none
    tool("restart", "policies")
    assert reached_by("stranger") == none
    apply(admitting({"from": peers, "ports": [{"port": 8081}]}))
    eventually(lambda: reached_by("friend") == none, "another port is not meant")
    remove("networkpolicy/guard")
    eventually(lambda: reached_by("stranger") == both, "all is open again")
    assert table() == ""
    remove("pod/guarded", "pod/friend", "pod/stranger", "svc/guarded-web")


# --- the end


def test_pods_and_data_survive_the_sudden_end_of_the_node(cluster: None) -> None:
    instance = load(NAME)
    assert instance is not None
    run_pods(pvc("lasting", "300Mi"), pod("lasting", "lasting"))
    sh("lasting", "echo precious > /data/file && /bin/busybox sync")
    holder = processes.recorded(instance.processes / "holder")
    assert holder is not None
    assert holder.kill()
    eventually(lambda: tool("status", check=False).returncode == 3, "status says stopped")
    tool("start")

    def content() -> str:
        return sh("lasting", "/bin/busybox cat /data/file", check=False).strip()

    eventually(lambda: content() == "precious", "the pod is back with its data")
    remove("pod/lasting", "pvc/lasting")


def traces(index: int) -> dict[str, list[str]]:
    """Everything on the host that could belong to the test cluster."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    words = (f"{STATE_ROOT}/{NAME}", "/run/containerd", "/var/lib/kubelet", "/var/lib/cni")
    inside = [Path(place) for place in capsule.PRIVATE_DIRS]
    return {
        "mounts": [line for line in mounts if any(word in line for word in words)],
        "loop devices": loop_devices(STATE_ROOT / NAME),
        "links": [path.name for path in Path("/sys/class/net").glob(f"pdblc{index}")],
        "control groups": [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{CGROUP_ROOT}/{NAME}")],
        "processes": _processes_of(f"{STATE_ROOT}/{NAME}"),
        "files": [str(path) for path in STATE_ROOT.glob(NAME)],
        "shared directories": [str(path) for place in inside if place.is_dir() for path in place.iterdir()],
    }


def _processes_of(text: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_text().replace("\0", " ")
            groups = (path / "cgroup").read_text()
        except OSError:
            continue
        # One that has ended and waits for its parent to look counts as gone.
        ours = text in command or f"{CGROUP_ROOT}/{NAME}" in groups
        if ours and processes.identify(int(path.name)):
            found.append(f"{path.name} {command}")
    return found


@pytest.mark.alone
def test_stop_leaves_nothing(archive: Path) -> None:
    tool("stop")
    before = traces(-1)
    tool("start")
    instance = load(NAME)
    assert instance is not None
    tool("load-image", str(archive))
    run_pods(pvc("left", "300Mi"), pod("left", "left"), service("left"))
    during = traces(instance.index)
    for kind in ("loop devices", "links", "control groups", "processes", "files"):
        assert during[kind], f"the test sees no {kind} of a running cluster"
    assert during["mounts"] == before["mounts"]
    assert during["shared directories"] == before["shared directories"]
    tool("stop")
    assert traces(instance.index) == before
    assert tool("status", check=False).returncode == 3
    assert "no cluster" in tool("stop").stdout


@pytest.mark.parametrize("last_line", ["namespaces and network ready", "API server ready", "node ready"])
def test_an_interrupted_start_can_be_continued_or_stopped(last_line: str, archive: Path) -> None:
    tool("stop")
    before = traces(-1)
    for ending in ("start", "stop"):
        command = [sys.executable, str(TOOL), "start", "--name", NAME]
        variables = {key: value for key, value in os.environ.items() if key != "KUBECONFIG"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables) as starting:
            assert starting.stdout is not None
            for line in starting.stdout:
                if last_line in line:
                    break
            starting.kill()
        tool(ending)
        instance = load(NAME)
        if ending == "start":
            assert tool("status").returncode == 0
            tool("stop")
        else:
            assert instance is None
            assert traces(0)["processes"] == before["processes"]
            assert traces(0)["control groups"] == before["control groups"]
            assert traces(0)["files"] == []
