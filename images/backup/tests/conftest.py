"""The two stores that the tests run with."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from paradedb_backup.config import Config, Database, Place, Retention, S3Place, VolumePlace

ROOT = Path(__file__).parents[3]
BUCKET = "backups"


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real S3 server with one bucket."""
    command = [sys.executable, str(ROOT / "tools/images"), "versitygw"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode:
        pytest.skip(f"the S3 server of the tests cannot be built: {built.stderr.strip()[-300:]}")
    folder = tmp_path_factory.mktemp("s3")
    (folder / "buckets" / BUCKET).mkdir(parents=True)
    (folder / "sidecar").mkdir()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    words = [built.stdout.split()[-1], "--quiet", "--port", f"127.0.0.1:{port}", "--region", "eu-test-1"]
    words += ["posix", "--sidecar", str(folder / "sidecar"), str(folder / "buckets")]
    keys = {"ROOT_ACCESS_KEY": "access", "ROOT_SECRET_KEY": "secret"}
    with subprocess.Popen(words, env={**os.environ, **keys}, stdout=subprocess.DEVNULL) as server:
        try:
            for _ in range(200):
                with socket.socket() as client:
                    if client.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()


@pytest.fixture
def s3_place(s3_endpoint: str, tmp_path: Path) -> S3Place:
    """A prefix of its own in the bucket."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "accessKeyId").write_text("access\n")
    (credentials / "secretAccessKey").write_text("secret\n")
    path = f"some/{tmp_path.name}"
    return S3Place(s3_endpoint, BUCKET, path, "eu-test-1", True, credentials, None, "spec.backup.s3")


@pytest.fixture(params=["s3", "volume"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Each of the two kinds in turn."""
    if request.param == "s3":
        found: S3Place = request.getfixturevalue("s3_place")
        return found
    return VolumePlace(tmp_path / "volume", "spec.backup.pvc")


@pytest.fixture
def settings(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """As the operator gives them."""
    monkeypatch.setenv("PARADEDB_BACKUP_ROOT", str(tmp_path / "root"))
    secrets = tmp_path / "database"
    return Config(
        namespace="tests",
        name="orders",
        server="orders",
        place=place,
        retention=Retention(last=2, daily=0, weekly=0),
        jobs=2,
        window_days=None,
        state="orders-backup-state",
        database=Database(
            "127.0.0.1", 5432, "postgres", False, True, secrets / "password", secrets / "ca.crt"
        ),
        preload="",
        version="17",
        deadline=3600,
        method="",
        backup=None,
        target={},
    )
