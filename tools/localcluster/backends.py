"""The commands, for each way to get a cluster."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import build, capsule, images, kind, node, pods, providers
from .api import ApiError
from .components import NAMES
from .instance import load
from .providers import Choice, Kind
from .shell import ClusterError, Progress, environment, run

HEALTHY, DEGRADED, STOPPED = 0, 1, 3


class Backend(ABC):
    """A cluster of one name, however it is provided."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason

    @abstractmethod
    def start(self, progress: Progress) -> None:
        """Make the cluster ready for use."""

    @abstractmethod
    def stop(self, progress: Progress) -> None:
        """Remove what `start` made."""

    @abstractmethod
    def status(self) -> int:
        """Print the state; return 0 when healthy, 1 when something is missing, 3 when stopped."""

    @abstractmethod
    def kubeconfig(self) -> Path:
        """The kubeconfig to use."""

    @abstractmethod
    def load_image(self, source: str, progress: Progress) -> None:
        """Make an image available to pods: an archive file, or a name known to Docker or buildah here."""

    @abstractmethod
    def logs(self, component: str | None, follow: bool, lines: int) -> int:
        """Show logs of the cluster's own components."""

    @abstractmethod
    def enter(self, command: Sequence[str]) -> int:
        """Run a command where the node runs."""

    def restart(self, component: str, progress: Progress) -> None:
        """Kill a component and start it again."""
        raise ClusterError(f"restarting {component} is possible with the native node only")

    @abstractmethod
    def on_node(self, node_name: str) -> list[str]:
        """The beginning of a command line that runs the rest of it on a node, among all its processes."""

    def pod(self, namespace: str, name: str) -> dict[str, Any]:
        """A pod as the API server has it."""
        words = ["--namespace", namespace, "get", "pod", name, "--output", "json"]
        return pods.parse(run([*kubectl_command(), *words], env={"KUBECONFIG": str(self.kubeconfig())}))

    def kubectl(self, arguments: Sequence[str]) -> int:
        """Run kubectl on the cluster."""
        variables = {**os.environ, "KUBECONFIG": str(self.kubeconfig())}
        return subprocess.call([*kubectl_command(), *arguments], env=variables)


def kubectl_command() -> list[str]:
    """The kubectl of the machine, else the one built with the node.

    Raises ClusterError when there is none yet.
    """
    if found := shutil.which("kubectl", path=environment()["PATH"]):
        return [found]
    if binaries := build.built():
        return [str(binaries.kubenode), "kubectl"]
    raise ClusterError("no kubectl is installed")


class Native(Backend):
    """A node of our own on this machine."""

    def start(self, progress: Progress) -> None:
        state = node.inspect(self.name) if os.geteuid() == 0 else None
        if state and state.healthy:
            progress.say(f"cluster {self.name} is running")
            return
        node.start(self.name, progress)
        progress.say(f"cluster {self.name} is up")

    def stop(self, progress: Progress) -> None:
        found = node.stop(self.name, progress)
        progress.say(f"cluster {self.name} is removed" if found else f"there is no cluster {self.name}")

    def status(self) -> int:
        state = node.inspect(self.name)
        if state is None or not any(component.process for component in state.components):
            print(f"cluster {self.name} is stopped")
            return STOPPED
        print(f"kubeconfig          {state.instance.kubeconfig}")
        print(f"API server          {state.instance.server} {'ready' if state.api_ready else 'not ready'}")
        ready = {"True": "ready", "False": "not ready"}.get(state.node.get("ready", ""), "unknown")
        versions = f"{state.node.get('kubelet', '')} {state.node.get('runtime', '')}".rstrip()
        print(f"node                {ready} {versions}".rstrip())
        for component in state.components:
            running = f"running, pid {component.process.pid}" if component.process else "not running"
            print(f"{component.name:<19} {running}")
        return HEALTHY if state.healthy else DEGRADED

    def kubeconfig(self) -> Path:
        return node.running(self.name)[0].kubeconfig

    def load_image(self, source: str, progress: Progress) -> None:
        images.load(node.running(self.name)[0], source, progress)

    def logs(self, component: str | None, follow: bool, lines: int) -> int:
        instance = load(self.name)
        if instance is None:
            raise ClusterError(f"there is no cluster {self.name}")
        files = [instance.logs / f"{name}.log" for name in ([component] if component else NAMES)]
        command = ["tail", f"--lines={lines}", *(["-F"] if follow else [])]
        return subprocess.call([*command, *(str(file) for file in files if file.exists())])

    def enter(self, command: Sequence[str]) -> int:
        _, inside = node.running(self.name)
        shell = os.environ.get("SHELL", "/bin/sh")
        return subprocess.call([*capsule.enter(inside), *(command or [shell])], env=environment())

    def on_node(self, node_name: str) -> list[str]:
        return capsule.enter(node.running(self.name)[1])

    def pod(self, namespace: str, name: str) -> dict[str, Any]:
        instance, _ = node.running(self.name)
        try:
            return node.client(instance).get(f"/api/v1/namespaces/{namespace}/pods/{name}")
        except ApiError as error:
            raise ClusterError(f"pod {namespace}/{name}: {error}") from error

    def restart(self, component: str, progress: Progress) -> None:
        if component not in NAMES:
            raise ClusterError(f"no component {component!r}; there are: {', '.join(NAMES)}")
        node.restart(self.name, component, progress)

    def kubectl(self, arguments: Sequence[str]) -> int:
        instance, _ = node.running(self.name)
        direct = ",".join(filter(None, [os.environ.get("NO_PROXY"), instance.node_ip]))
        variables = {
            **os.environ,
            "KUBECONFIG": str(instance.kubeconfig),
            "NO_PROXY": direct,
            "no_proxy": direct,
        }
        binaries = build.ensure(Progress(sys.stderr))
        return subprocess.call([str(binaries.kubenode), "kubectl", *arguments], env=variables)


class KindCluster(Backend):
    """A cluster made by kind in Docker."""

    def start(self, progress: Progress) -> None:
        with progress.step(f"kind cluster {self.name}"):
            kind.start(self.name)

    def stop(self, progress: Progress) -> None:
        found = kind.stop(self.name)
        progress.say(f"cluster {self.name} is removed" if found else f"there is no cluster {self.name}")

    def status(self) -> int:
        if not kind.exists(self.name):
            print(f"cluster {self.name} is stopped")
            return STOPPED
        print(f"kubeconfig          {kind.kubeconfig(self.name)}")
        return HEALTHY if self.kubectl(["get", "nodes"]) == 0 else DEGRADED

    def kubeconfig(self) -> Path:
        return kind.kubeconfig(self.name)

    def load_image(self, source: str, progress: Progress) -> None:
        run(kind.load_command(self.name, source))
        progress.say(f"{source}: loaded")

    def logs(self, component: str | None, follow: bool, lines: int) -> int:
        unit = ["--unit", component] if component else []
        options = [f"--lines={lines}", *unit, *(["--follow"] if follow else [])]
        return subprocess.call([*kind.logs_command(self.name), *options])

    def enter(self, command: Sequence[str]) -> int:
        inside = ["docker", "exec", "--interactive", "--tty", f"{self.name}-control-plane"]
        return subprocess.call([*inside, *(command or ["bash"])])

    def on_node(self, node_name: str) -> list[str]:
        return kind.node_command(node_name)


class Existing(Backend):
    """A cluster of the user's, never changed by us."""

    def start(self, progress: Progress) -> None:
        variables = {"KUBECONFIG": str(self.kubeconfig())}
        ready = run([*kubectl_command(), "get", "--raw", "/readyz"], env=variables)
        if ready.strip() != "ok":
            raise ClusterError(f"the cluster of {self.kubeconfig()} is not ready: {ready.strip()}")
        progress.say(f"the cluster of {self.kubeconfig()} answers")

    def stop(self, progress: Progress) -> None:
        progress.say(f"nothing to stop: {self.reason}, and that cluster is not ours")

    def status(self) -> int:
        print(f"kubeconfig          {self.kubeconfig()}")
        return HEALTHY if self.kubectl(["get", "nodes"]) == 0 else DEGRADED

    def kubeconfig(self) -> Path:
        return Path(os.environ["KUBECONFIG"])

    def load_image(self, source: str, progress: Progress) -> None:
        raise ClusterError(
            f"{source}: the nodes of an existing cluster are out of our reach; import it there "
            "(with containerd: ctr --namespace k8s.io images import ARCHIVE)"
        )

    def logs(self, component: str | None, follow: bool, lines: int) -> int:
        raise ClusterError("the components of an existing cluster are out of our reach")

    def enter(self, command: Sequence[str]) -> int:
        raise ClusterError("the nodes of an existing cluster are out of our reach")

    def on_node(self, node_name: str) -> list[str]:
        raise ClusterError(f"{node_name}: the nodes of an existing cluster are out of our reach")


BACKENDS: dict[Kind, type[Backend]] = {
    Kind.EXISTING: Existing,
    Kind.KIND: KindCluster,
    Kind.NATIVE: Native,
}


def pick(name: str) -> tuple[Choice, Backend]:
    """The backend for this machine and environment."""
    choice = providers.choose(providers.look(name), os.environ)
    return choice, BACKENDS[choice.kind](name, choice.reason)
