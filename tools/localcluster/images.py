"""Bringing images into the node: it has no way to a registry, so all come from files."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from .configs import PAUSE_IMAGE
from .instance import Instance
from .shell import ClusterError, Progress, environment, run

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
NAMESPACE = "k8s.io"


def ctr(instance: Instance, *arguments: str | Path) -> str:
    """Run containerd's own client against the node."""
    return run(["ctr", "--address", instance.containerd_socket, "--namespace", NAMESPACE, *arguments])


def write_archive(target: Path, name: str, files: dict[str, Path], command: list[str]) -> None:
    """Write a one-layer image archive (docker-archive format) of executable files, reproducibly."""
    layer = _tar({path: source.read_bytes() for path, source in files.items()}, mode=0o755)
    config = {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": command},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    parts = {"layer.tar": layer, "config.json": _json(config), "manifest.json": _json(manifest)}
    target.write_bytes(_tar(parts, mode=0o644))


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.mode, entry.size = mode, len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def load_pause(instance: Instance, pause: Path) -> None:
    """Load the image every pod's sandbox runs."""
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "pause.tar"
        write_archive(archive, PAUSE_IMAGE, {"pause": pause}, ["/pause"])
        load_archive(instance, archive)


def load(instance: Instance, source: str, progress: Progress) -> None:
    """Load an image archive, or an image that Docker or buildah on this machine holds under that name.

    Raises ClusterError when there is neither.
    """
    if Path(source).is_file():
        _report(progress, source, load_archive(instance, Path(source)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "image.tar"
        _export(source, archive)
        _report(progress, source, load_archive(instance, archive))


def _report(progress: Progress, source: str, names: list[str] | None) -> None:
    progress.say(f"{source}: already loaded" if names is None else f"{source}: loaded {', '.join(names)}")


def _export(name: str, archive: Path) -> None:
    path = environment()["PATH"]
    if shutil.which("docker", path=path):
        try:
            run(["docker", "save", "--output", archive, name])
        except ClusterError:
            archive.unlink(missing_ok=True)
        else:
            return
    if not shutil.which("buildah", path=path):
        raise ClusterError(f"{name}: no such file, and no image of Docker or buildah here")
    run(["buildah", "push", "--quiet", "--disable-compression", name, f"docker-archive:{archive}:{name}"])


def load_archive(instance: Instance, archive: Path) -> list[str] | None:
    """Load all images of an archive and unpack them, so that pods start at once.

    Returns their names, or None when this archive is the last one loaded under its names, all still there.
    """
    digest = _file_hash(archive)
    records = Records(instance.state / "images.json")
    if records.current(digest, set(ctr(instance, "images", "list", "--quiet").split())):
        return None
    names = loaded_names(ctr(instance, "images", "import", archive))
    if not names:
        raise ClusterError(f"{archive}: no named image in it")
    records.add(digest, names)
    return names


def loaded_names(output: str) -> list[str]:
    """The images that `ctr images import` says it has unpacked."""
    words = [line.split() for line in output.splitlines() if line.startswith("unpacking ")]
    return [line[1] for line in words]


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Records:
    """Which archive each image name was last loaded from, and the names each archive brought."""

    def __init__(self, path: Path) -> None:
        self._path = path
        stored = json.loads(self._path.read_text()) if self._path.exists() else {}
        self._source: dict[str, str] = stored.get("source", {})
        self._names: dict[str, list[str]] = stored.get("names", {})

    def current(self, digest: str, present: set[str]) -> bool:
        """Whether all images of an archive are there and none was replaced since."""
        names = self._names.get(digest, [])
        return bool(names) and all(self._source[name] == digest and name in present for name in names)

    def add(self, digest: str, names: list[str]) -> None:
        """Remember that an archive was loaded."""
        self._names[digest] = names
        self._source.update(dict.fromkeys(names, digest))
        part = self._path.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps({"source": self._source, "names": self._names}, indent=1))
        part.rename(self._path)
