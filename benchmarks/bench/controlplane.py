"""A Kubernetes API of our own on the loopback device: etcd and kube-apiserver, without nodes and controllers.

Nothing but the operator works on the objects, so nothing else is measured, and a StatefulSet starts no pods.
Programs and certificates are those of tools/localcluster.
"""

from __future__ import annotations

import ctypes
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from localcluster import build, pki
from localcluster.instance import Instance
from localcluster.shell import Progress

from bench.api import Api
from bench.waiting import until

_PATIENCE = 60.0  # seconds until the API answers
_LONGEST_WATCH = 4 * 3600  # seconds, longer than any benchmark
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class _Loopback(Instance):
    """A cluster in a directory of its own that is reached at 127.0.0.1."""

    directory: Path
    port: int

    @property
    def state(self) -> Path:
        return self.directory

    @property
    def node_ip(self) -> str:
        return "127.0.0.1"

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self.port}"


@dataclass(frozen=True)
class ControlPlane:
    """What runs, and how to reach it. ``pids`` are its processes."""

    api: Api
    kubeconfig: Path
    pids: tuple[int, ...]


@contextmanager
def control_plane() -> Iterator[ControlPlane]:
    """Start one for as long as the block lasts; nothing of it is left afterwards."""
    binaries = build.ensure(Progress(sys.stderr))
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pdb-bench-api-")))
        instance = _Loopback("benchmark", 0, directory, free_port())
        pki.create(instance)
        etcd = f"http://127.0.0.1:{free_port()}"
        peers = f"http://127.0.0.1:{free_port()}"
        pids = [
            stack.enter_context(_process(command, directory / f"{command[1]}.log"))
            for command in (
                _etcd(str(binaries.kubenode), instance, etcd, peers),
                _apiserver(str(binaries.kubenode), instance, etcd),
            )
        ]
        api = Api(instance.kubeconfig)
        until(api.ready, _PATIENCE, "the API server to answer")
        yield ControlPlane(api, instance.kubeconfig, tuple(pids))


def free_port() -> int:
    """A port of the loopback device nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def die_with_parent() -> None:
    """In a child: end when the benchmark is killed and can no longer clean up."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _etcd(kubenode: str, instance: Instance, clients: str, peers: str) -> list[str]:
    return [
        kubenode,
        "etcd",
        "--name=benchmark",
        f"--data-dir={instance.state}/etcd",
        "--unsafe-no-fsync",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=benchmark={peers}",
        "--log-level=warn",
    ]


def _apiserver(kubenode: str, instance: _Loopback, etcd: str) -> list[str]:
    certificates = instance.pki
    return [
        kubenode,
        "kube-apiserver",
        f"--etcd-servers={etcd}",
        "--bind-address=127.0.0.1",
        f"--secure-port={instance.port}",
        "--endpoint-reconciler-type=none",
        f"--min-request-timeout={_LONGEST_WATCH}",
        "--service-cluster-ip-range=10.96.0.0/12",
        "--authorization-mode=RBAC",
        f"--client-ca-file={certificates}/ca.crt",
        f"--tls-cert-file={certificates}/apiserver.crt",
        f"--tls-private-key-file={certificates}/apiserver.key",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={certificates}/service-accounts.pub",
        f"--service-account-signing-key-file={certificates}/service-accounts.key",
    ]


@contextmanager
def _process(command: list[str], log: Path) -> Iterator[int]:
    """A process for as long as the block lasts; its pid."""
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, preexec_fn=die_with_parent)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()
