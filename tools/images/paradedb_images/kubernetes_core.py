"""Put the collection kubernetes.core where Ansible finds it, from PyPI instead of Galaxy.

The PyPI wheel of the package `ansible` holds kubernetes.core complete and checked. Its version and hash are
pinned here, so that what lands in the operator image, in the tests and on a developer's machine is the same.
The file runs on its own (`python3 kubernetes_core.py DEST`), since the Dockerfile uses it inside a build
stage.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ANSIBLE_VERSION = "14.5.0"
ANSIBLE_WHEEL_SHA256 = "245623ccc2d31d0f6f4bdb63168d550cad305fb032cc43d96e8f61ce8ab0ba84"
COLLECTION = "ansible_collections/kubernetes/core"
ORIGIN_MARKER = ".from-wheel"
# The wheel is pure Python; the version only tells pip which wheels to consider, whatever Python runs pip.
PYTHON_VERSION = "3.13"


def download_wheel(directory: Path) -> Path:
    """Download the pinned wheel into `directory` with pip and return its path; pip checks the hash.

    Raises subprocess.CalledProcessError when pip cannot get the wheel or the hash differs.
    """
    requirements = directory / "requirements.txt"
    requirements.write_text(f"ansible=={ANSIBLE_VERSION} --hash=sha256:{ANSIBLE_WHEEL_SHA256}\n")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-cache-dir",
    ]
    command += ["--no-deps", "--only-binary", ":all:", "--python-version", PYTHON_VERSION]
    command += ["--dest", str(directory), "--require-hashes", "--requirement", str(requirements)]
    subprocess.run(command, check=True)
    return next(directory.glob("ansible-*.whl"))


def extract(wheel: Path, collections_path: Path) -> Path:
    """Unpack only kubernetes.core from `wheel`, below `collections_path`; return its folder."""
    target = collections_path / COLLECTION
    shutil.rmtree(target, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        members = [name for name in archive.namelist() if name.startswith(f"{COLLECTION}/")]
        if not members:
            raise FileNotFoundError(f"{wheel.name} holds no {COLLECTION}")
        archive.extractall(collections_path, members)
    return target


def origin(collections_path: Path) -> str:
    """Hash of the wheel that the kubernetes.core below `collections_path` came from, empty when unknown."""
    marker = collections_path / COLLECTION / ORIGIN_MARKER
    return marker.read_text() if marker.is_file() else ""


def provide(collections_path: Path) -> str:
    """Make sure the pinned kubernetes.core is below `collections_path`; return its version.

    A marker inside the collection names the wheel it came from, so that a second call downloads nothing.
    """
    if origin(collections_path) != ANSIBLE_WHEEL_SHA256:
        collections_path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as directory:
            target = extract(download_wheel(Path(directory)), collections_path)
        (target / ORIGIN_MARKER).write_text(ANSIBLE_WHEEL_SHA256)
    manifest = json.loads((collections_path / COLLECTION / "MANIFEST.json").read_text())
    return str(manifest["collection_info"]["version"])


if __name__ == "__main__":
    print(f"kubernetes.core {provide(Path(sys.argv[1]))}")
