"""Building the node's binaries from source, once for each version of the sources."""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .instance import cache_dir
from .shell import ClusterError, Progress, environment, run

# Where Go's own installation puts it.
GO_DIR = "/usr/local/go/bin"
SOURCES = Path(__file__).resolve().parent / "kubenode"
KUBERNETES_VERSION = "v1.35.4"
VERSION_PACKAGES = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
REPORT_EVERY = 30.0


@dataclass(frozen=True)
class Binaries:
    """The built programs: all of Kubernetes in one, and the one that holds a pod's namespaces."""

    directory: Path

    @property
    def kubenode(self) -> Path:
        """etcd, the control plane, the node agents, CoreDNS and kubectl."""
        return self.directory / "kubenode"

    @property
    def pause(self) -> Path:
        """The program of the pause image."""
        return self.directory / "pause"


def built() -> Binaries | None:
    """The binaries of the present sources if they are in the cache."""
    found = Binaries(cache_dir() / "bin" / source_hash())
    return found if found.pause.exists() and found.kubenode.exists() else None


def ensure(progress: Progress) -> Binaries:
    """The binaries of the present sources, built first if need be.

    Raises ClusterError when there is no Go toolchain that can build them.
    """
    if found := built():
        return found
    go = _find_go()
    cache_dir().mkdir(parents=True, exist_ok=True)
    with (cache_dir() / "build.lock").open("w") as lock:
        # Whoever waited here finds that another command has built them.
        fcntl.flock(lock, fcntl.LOCK_EX)
        return built() or _build(go, progress)


def _build(go: str, progress: Progress) -> Binaries:
    """Build the binaries; they replace those of earlier sources, and appear only when complete."""
    target = cache_dir() / "bin" / source_hash()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="building-") as scratch:
        with progress.step(f"building Kubernetes {KUBERNETES_VERSION}, minutes the first time"):
            _compile(go, ["-o", f"{scratch}/kubenode", "."], progress)
            _compile(go, ["-o", f"{scratch}/pause", "./pause"], progress)
        for old in target.parent.iterdir():
            if old != Path(scratch):
                shutil.rmtree(old)
        target.mkdir()
        for name in ("pause", "kubenode"):
            (Path(scratch) / name).rename(target / name)
    return Binaries(target)


def source_hash() -> str:
    """Identifies the sources and how they are built."""
    digest = hashlib.sha256(" ".join(_flags()).encode())
    for path in sorted(SOURCES.rglob("*")):
        if path.suffix in (".go", ".mod", ".sum"):
            digest.update(f"{path.relative_to(SOURCES)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _flags() -> list[str]:
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    version = {"Version": KUBERNETES_VERSION, "Major": major, "Minor": minor, "TreeState": "clean"}
    values = [f"git{key}={value}" for key, value in version.items()]
    settings = [f"-X {package}.{value}" for package in VERSION_PACKAGES for value in values]
    return ["-trimpath", "-ldflags", " ".join(["-s", "-w", *settings])]


def _go_environment() -> dict[str, str]:
    settings = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local"}
    return {**environment(), **settings}


def _find_go() -> str:
    """The go command, if it is new enough for the sources."""
    wanted = required_version((SOURCES / "go.mod").read_text())
    advice = f"Go {'.'.join(map(str, wanted))} or newer is needed to build Kubernetes, see https://go.dev/dl/"
    go = shutil.which("go", path=f"{environment()['PATH']}:{GO_DIR}")
    if go is None:
        raise ClusterError(f"no go command found: {advice}")
    version = run([go, "env", "GOVERSION"], env={"GOTOOLCHAIN": "local"}).strip()
    if parse_version(version.removeprefix("go")) < wanted:
        raise ClusterError(f"{go} is {version}: {advice}")
    return go


def required_version(module_file: str) -> tuple[int, ...]:
    """The Go version a go.mod asks for."""
    found = re.search(r"^go (\S+)$", module_file, re.MULTILINE)
    if found is None:
        raise ClusterError("go.mod names no Go version")
    return parse_version(found[1])


def parse_version(text: str) -> tuple[int, ...]:
    """The numbers of a version such as 1.26.8 or 1.27rc1 (which counts as 1.27)."""
    return tuple(int(number) for number in re.findall(r"\d+", re.split(r"[a-z]", text)[0]))


def _compile(go: str, arguments: list[str], progress: Progress) -> None:
    """Run the compiler, which is silent for minutes, and say regularly that it is still at work."""
    log = cache_dir() / "build.log"
    with log.open("w") as output:
        command = [go, "build", *_flags(), *arguments]
        worker = subprocess.Popen(
            command,
            cwd=SOURCES,
            env=_go_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            while _still_running(worker):
                progress.say(f"still compiling, log in {log}")
        finally:
            if worker.poll() is None:
                worker.terminate()
                worker.wait()
    if worker.returncode != 0:
        raise ClusterError(f"building failed, see {log}:\n{_tail(log)}")


def _still_running(worker: subprocess.Popen[bytes]) -> bool:
    try:
        worker.wait(timeout=REPORT_EVERY)
    except subprocess.TimeoutExpired:
        return True
    return False


def _tail(path: Path, lines: int = 20) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
