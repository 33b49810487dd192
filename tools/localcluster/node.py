"""Starting, repairing, inspecting and removing a native node."""

from __future__ import annotations

import http.client
import os
import shutil
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import build, capsule, cgroups, configs, host, images, network, pki, processes
from .api import ApiError, Client
from .components import COMPONENTS, NAMES, Component
from .instance import NODE_NAME, STATE_ROOT, Instance, cache_dir, claim, existing, load, state_dir
from .objects import standard
from .processes import Process
from .shell import ClusterError, Progress, run

UNREACHABLE = (ApiError, OSError, http.client.HTTPException)
# Generous: a loaded machine with few processors takes long, a broken component is reported at once.
READY_SECONDS = 180.0
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class ComponentState:
    """A component and the process that runs it, if one does."""

    name: str
    process: Process | None


@dataclass(frozen=True)
class NodeState:
    """What there is of a cluster."""

    instance: Instance
    components: list[ComponentState]
    api_ready: bool
    node: dict[str, str]

    @property
    def healthy(self) -> bool:
        """Whether everything runs and pods can be started."""
        running = all(component.process for component in self.components)
        return running and self.api_ready and self.node.get("ready") == "True"


def client(instance: Instance) -> Client:
    """A client of the cluster's API server."""
    return Client(instance.node_ip, 6443, instance.pki)


def inspect(name: str) -> NodeState | None:
    """The state of a cluster, or None if there is none of that name."""
    instance = load(name)
    if instance is None:
        return None
    components = [ComponentState(c, processes.recorded(instance.processes / c)) for c in NAMES]
    running = capsule.holder(instance) is not None
    api_ready = running and _api_ready(instance)
    return NodeState(instance, components, api_ready, _node_facts(instance) if api_ready else {})


def start(name: str, progress: Progress) -> Instance:
    """Bring a cluster up, or whatever of it is missing. Does nothing but look when all of it runs."""
    host.require_root()
    with host.lock(progress):
        state = inspect(name)
        if state and state.healthy:
            return state.instance
        host.install_packages(progress)
        host.prepare_kernel()
        binaries = build.ensure(progress)
        instance = claim(name)
        host.note_changes()
        _start_components(instance, binaries, progress)
        return instance


def _start_components(instance: Instance, binaries: build.Binaries, progress: Progress) -> None:
    """Start every component that does not run, and wait until the cluster can be used."""
    pki.create(instance)
    configs.write(instance, host.cni_plugins() or "")
    inside = capsule.holder(instance) or _new_enclosure(instance, binaries, progress)
    started = [c.name for c in COMPONENTS[:3] if _ensure(instance, inside, binaries, c, progress)]
    _wait(instance, "containerd", lambda: _containerd_ready(instance))
    images.load_pause(instance, binaries.pause)
    _wait(instance, "apiserver", lambda: _api_ready(instance))
    progress.say("API server ready")
    for path, body in standard(instance):
        client(instance).apply(path, body)
    started += [c.name for c in COMPONENTS[3:] if _ensure(instance, inside, binaries, c, progress)]
    progress.say(f"started {', '.join(started)}" if started else "all components were running")
    _wait(instance, "kubelet", lambda: _node_facts(instance).get("ready") == "True")
    progress.say("node ready")
    _wait(instance, "dns", lambda: _dns_ready(instance))
    _wait(instance, "controller-manager", lambda: _accounts_ready(instance))
    progress.say("DNS, services and storage ready")


def _new_enclosure(instance: Instance, binaries: build.Binaries, progress: Progress) -> Process:
    """Enclose a node anew: what an earlier enclosure may have left would be in the way."""
    cgroups.kill_all(instance.cgroup)
    shutil.rmtree(instance.processes, ignore_errors=True)
    inside = capsule.create(instance, binaries.pause)
    network.connect(instance, inside)
    progress.say(f"namespaces and network ready, node address {instance.node_ip}")
    return inside


def _ensure(
    instance: Instance, inside: Process, binaries: build.Binaries, component: Component, progress: Progress
) -> bool:
    """Start a component unless it runs. Returns whether it was started."""
    record, log = instance.processes / component.name, _log(instance, component.name)
    if processes.recorded(record):
        return False
    if record.exists():
        progress.say(f"{component.name} had ended; the end of its log:\n{_tail(log, lines=3)}")
    argv = component.command(instance, str(binaries.kubenode))
    capsule.spawn(instance, inside, argv, log, record)
    return True


def _log(instance: Instance, name: str) -> Path:
    return instance.logs / f"{name}.log"


def _wait(instance: Instance, name: str, ready: Callable[[], bool]) -> None:
    """Wait until a component does its work.

    Raises ClusterError with the end of its log when it ends instead, or takes too long.
    """
    deadline = time.monotonic() + READY_SECONDS
    while not _reachable(ready):
        if processes.recorded(instance.processes / name) is None:
            raise ClusterError(f"{name} ended at once:\n{_tail(_log(instance, name))}")
        if time.monotonic() > deadline:
            problem = f"{name} is not ready after {READY_SECONDS:.0f} s"
            raise ClusterError(f"{problem}:\n{_tail(_log(instance, name))}")
        time.sleep(POLL_SECONDS)


def _reachable(ready: Callable[[], bool]) -> bool:
    try:
        return ready()
    except UNREACHABLE:
        return False


def _tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def _containerd_ready(instance: Instance) -> bool:
    try:
        images.ctr(instance, "version")
    except ClusterError:
        return False
    return True


def _api_ready(instance: Instance) -> bool:
    try:
        return client(instance).text("/readyz") == "ok"
    except UNREACHABLE:
        return False


def _dns_ready(instance: Instance) -> bool:
    url = f"http://{instance.node_ip}:8181/ready"
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(url, timeout=2) as answer:
        return bool(answer.status == 200)


def _accounts_ready(instance: Instance) -> bool:
    """Whether pods may be made in the default namespace: they need its service account."""
    client(instance).get("/api/v1/namespaces/default/serviceaccounts/default")
    return True


def _node_facts(instance: Instance) -> dict[str, str]:
    """Readiness and versions of the node; empty while it has not registered."""
    try:
        status = client(instance).get(f"/api/v1/nodes/{NODE_NAME}")["status"]
    except UNREACHABLE:
        return {}
    ready = next((c["status"] for c in status.get("conditions", []) if c["type"] == "Ready"), "Unknown")
    info = status["nodeInfo"]
    return {"ready": ready, "kubelet": info["kubeletVersion"], "runtime": info["containerRuntimeVersion"]}


def restart(name: str, component_name: str, progress: Progress) -> None:
    """Kill a component without warning and start it again.

    Raises ClusterError when the cluster does not run.
    """
    host.require_root()
    component = next(c for c in COMPONENTS if c.name == component_name)
    with host.lock(progress):
        instance, inside = running(name)
        binaries = build.ensure(progress)
        process = processes.recorded(instance.processes / component.name)
        if process:
            process.kill()
            (instance.processes / component.name).unlink()
        _ensure(instance, inside, binaries, component, progress)
        progress.say(f"{component.name} killed and started again")
        if component.name in ("apiserver", "etcd"):
            _wait(instance, component.name, lambda: _api_ready(instance))
            progress.say("API server ready")


def running(name: str) -> tuple[Instance, Process]:
    """A cluster and the process that encloses it.

    Raises ClusterError when it does not run.
    """
    instance = load(name)
    inside = capsule.holder(instance) if instance else None
    if instance is None or inside is None:
        raise ClusterError(f"cluster {name} does not run: start it with `python3 tools/localcluster start`")
    return instance, inside


def stop(name: str, progress: Progress) -> bool:
    """Remove a cluster with everything it made, also one that was never completely started.

    Returns whether there was one.
    """
    host.require_root()
    with host.lock(progress):
        instance = load(name)
        if instance is not None:
            _remove(instance, progress)
        # An interrupted start may have made the directory only.
        shutil.rmtree(state_dir(name), ignore_errors=True)
        host.undo_changes()
        return instance is not None


def _remove(instance: Instance, progress: Progress) -> None:
    if inside := capsule.holder(instance):
        inside.kill()  # ends only after all processes of its namespace have
    cgroups.kill_all(instance.cgroup)
    progress.say("processes ended")
    _release_loop_devices(instance)
    network.disconnect(instance)
    cgroups.remove(instance.cgroup)
    shutil.rmtree(instance.state)
    progress.say("disks, network, control groups and files removed")


def _release_loop_devices(instance: Instance, timeout: float = 10.0) -> None:
    """Wait until the kernel has let go of the disks: their mounts went with the enclosure, a little later.

    Whatever is left then is detached by hand.
    """
    deadline = time.monotonic() + timeout
    while devices := loop_devices(instance.volumes):
        if time.monotonic() > deadline:
            run(["losetup", "--detach", *devices])
            return
        time.sleep(POLL_SECONDS)


def loop_devices(volumes: Path) -> list[str]:
    """The loop devices of disks in a directory."""
    found = []
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            backing = file.read_text().strip()
        except OSError:  # detached in this moment
            continue
        if backing.startswith(f"{volumes}/"):
            found.append(f"/dev/{file.parts[3]}")
    return found


def purge_cache() -> None:
    """Remove the built binaries."""
    shutil.rmtree(cache_dir(), ignore_errors=True)


def others_running(name: str) -> list[str]:
    """Names of the other clusters of this machine."""
    if os.geteuid() != 0 or not STATE_ROOT.exists():
        return []
    return [other.name for other in existing() if other.name != name]
