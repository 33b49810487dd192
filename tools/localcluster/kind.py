"""A cluster by kind, where Docker runs."""

from __future__ import annotations

from pathlib import Path

from .providers import kind_dir
from .shell import run


def kubeconfig(name: str) -> Path:
    """The cluster's own kubeconfig; the user's default one is left alone."""
    return kind_dir() / f"{name}.kubeconfig"


def exists(name: str) -> bool:
    """Whether kind has a cluster of that name."""
    return name in run(["kind", "get", "clusters"]).split()


def start_command(name: str) -> list[str]:
    """The command that makes the cluster."""
    return ["kind", "create", "cluster", "--wait=180s", "--name", name, "--kubeconfig", str(kubeconfig(name))]


def export_command(name: str) -> list[str]:
    """The command that writes the kubeconfig of a cluster that exists."""
    return ["kind", "export", "kubeconfig", "--name", name, "--kubeconfig", str(kubeconfig(name))]


def stop_command(name: str) -> list[str]:
    """The command that removes the cluster."""
    return ["kind", "delete", "cluster", "--name", name, "--kubeconfig", str(kubeconfig(name))]


def load_command(name: str, source: str) -> list[str]:
    """The command that loads an image archive, or an image of the Docker engine."""
    what = "image-archive" if Path(source).is_file() else "docker-image"
    return ["kind", "load", what, source, "--name", name]


def logs_command(name: str) -> list[str]:
    """The command that shows the log of the node's container, the kubelet's and containerd's included."""
    return ["docker", "exec", f"{name}-control-plane", "journalctl", "--no-pager"]


def node_command(node: str) -> list[str]:
    """The beginning of a command line that runs the rest in a node's container, which is called like it."""
    return ["docker", "exec", node]


def start(name: str) -> None:
    """Make the cluster, unless it exists; raises CommandError when kind cannot."""
    kind_dir().mkdir(mode=0o700, parents=True, exist_ok=True)
    run(export_command(name) if exists(name) else start_command(name))
    kubeconfig(name).chmod(0o600)


def stop(name: str) -> bool:
    """Remove the cluster. Returns whether there was one."""
    found = exists(name)
    if found:
        run(stop_command(name))
    kubeconfig(name).unlink(missing_ok=True)
    return found
