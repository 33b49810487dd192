"""Which Kubernetes to use: one the user names, kind, or a node of our own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from .instance import STATE_ROOT, cache_dir
from .shell import ClusterError, environment, run


class Kind(Enum):
    """The ways to get a cluster."""

    EXISTING = "existing cluster"
    KIND = "kind"
    NATIVE = "native node"


@dataclass(frozen=True)
class Choice:
    """The way chosen, and why."""

    kind: Kind
    reason: str


@dataclass(frozen=True)
class Machine:
    """What the choice depends on."""

    docker_answers: bool
    kind_installed: bool
    linux: bool
    native_exists: bool


def look(name: str) -> Machine:
    """Find out what this machine offers."""
    path = environment()["PATH"]
    return Machine(
        docker_answers=_docker_answers(),
        kind_installed=shutil.which("kind", path=path) is not None,
        linux=os.uname().sysname == "Linux",
        native_exists=os.geteuid() == 0 and (STATE_ROOT / name / "instance.json").exists(),
    )


def _docker_answers() -> bool:
    if not shutil.which("docker", path=environment()["PATH"]):
        return False
    try:
        run(["docker", "version", "--format", "{{.Server.Version}}"])
    except ClusterError:
        return False
    return True


def choose(machine: Machine, variables: Mapping[str, str]) -> Choice:
    """Choose a provider.

    A KUBECONFIG that this tool wrote is no cluster of the user's: it is what `start` told them to set.
    Raises ClusterError when there is no way.
    """
    kubeconfig = variables.get("KUBECONFIG", "")
    if kubeconfig and not written_by_us(kubeconfig):
        return Choice(Kind.EXISTING, f"KUBECONFIG is set to {kubeconfig}")
    if machine.native_exists:
        return Choice(Kind.NATIVE, "a native node of this name exists")
    if machine.docker_answers and machine.kind_installed:
        return Choice(Kind.KIND, "a Docker engine answers and kind is installed")
    because = "no Docker engine answers"
    if machine.docker_answers:
        because = "a Docker engine answers but kind is not installed"
    if machine.linux:
        return Choice(Kind.NATIVE, f"{because}, and this is Linux")
    raise ClusterError(
        f"{because}, a native node needs Linux: start Docker and install kind, or set KUBECONFIG"
    )


def written_by_us(kubeconfig: str) -> bool:
    """Whether a kubeconfig is one of this tool's own."""
    path = Path(kubeconfig)
    return path.is_relative_to(STATE_ROOT) or path.parent == kind_dir()


def kind_dir() -> Path:
    """Directory of the kubeconfig files of kind clusters."""
    return cache_dir() / "kind"
