"""What can happen to a dump: no false success, nothing older is lost, and the next run is fine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from program import Program, dumps, s3_place
from servers import S3, Postgres, eventually, kill_group, unprivileged

# The upload has begun then, and is far from its end.
MIDDLE = "4000000"


@pytest.fixture
def orders(program: Program, s3: S3) -> Program:
    """The program with the S3 server behind the gate, and one good dump."""
    program.configure(s3_place(s3.gate.port))
    program.good("dump")
    return program


def is_well(program: Program, s3: S3, before: set[str]) -> None:
    """The next run succeeds, and everything that was there before is there, byte for byte of its manifest."""
    s3.gate.order("open")
    program.good("dump")
    files = s3.files(program.server)
    assert before < dumps(files)
    for run in dumps(files):
        check_manifest(s3, program.server, run, files)


def check_manifest(s3: S3, server: str, run: str, files: dict[str, int]) -> None:
    manifest = json.loads((s3.buckets / "backups" / server / "dumps" / run / "manifest.json").read_text())
    parts = [manifest["globals"], *manifest["databases"]]
    for part in parts:
        assert files[f"dumps/{run}/{part['file']}"] == part["bytes"]


def uploading(program: Program, s3: S3) -> subprocess.Popen[str]:
    """A dump that hangs in the middle of its upload."""
    s3.gate.order(f"hold {MIDDLE}")
    process = program.start("dump")
    s3.gate.wait()
    return process


def test_the_server_goes_in_mid_upload(orders: Program, s3: S3) -> None:
    before = dumps(s3.files("orders"))
    s3.gate.order(f"cut {MIDDLE}")
    failed = orders.bad("dump")
    assert failed["reason"] in ("UploadFailed", "EndpointUnreachable")
    assert failed["last"]["id"] in before
    assert dumps(s3.files("orders")) == before
    is_well(orders, s3, before)


def test_the_server_hesitates_and_goes_on(orders: Program, s3: S3) -> None:
    process = uploading(orders, s3)
    s3.gate.order("open")
    assert process.wait(60) == 0
    assert orders.state("dump")["state"] == "succeeded"


def test_killed_at_once(orders: Program, s3: S3) -> None:
    before = dumps(s3.files("orders"))
    kill_group(uploading(orders, s3))
    assert dumps(s3.files("orders")) == before
    assert orders.state("dump")["last"]["id"] in before
    is_well(orders, s3, before)


def test_asked_to_end(orders: Program, s3: S3) -> None:
    """As Kubernetes asks a pod, with as long as the server does not answer."""
    before = dumps(s3.files("orders"))
    process = uploading(orders, s3)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 1
    assert orders.state("dump")["reason"] == "Interrupted"
    is_well(orders, s3, before)


def test_the_database_restarts(orders: Program, s3: S3) -> None:
    before = dumps(s3.files("orders"))
    copying = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'COPY public.bulk%'"
    process = orders.start("dump")
    eventually("rows are being copied", lambda: orders.postgres.sql(copying))
    orders.postgres.stop("immediate")
    orders.postgres.start()
    assert process.wait(60) == 1
    failed = orders.state("dump")
    assert failed["state"] == "failed"
    assert failed["reason"] in ("DumpFailed", "DatabaseUnreachable")
    assert dumps(s3.files("orders")) == before
    is_well(orders, s3, before)


def test_the_database_is_down(orders: Program, s3: S3) -> None:
    before = dumps(s3.files("orders"))
    orders.postgres.stop()
    try:
        assert orders.bad("dump")["reason"] == "DatabaseUnreachable"
    finally:
        orders.postgres.start()
    is_well(orders, s3, before)


def test_two_at_once(orders: Program, s3: S3) -> None:
    before = dumps(s3.files("orders"))
    first = uploading(orders, s3)
    second = orders.start("dump")
    s3.gate.order("open")
    codes = [first.wait(120), second.wait(120)]
    found = dumps(s3.files("orders"))
    assert before < found
    assert len(found) == len(before) + codes.count(0)
    assert 0 in codes
    for run in found:
        check_manifest(s3, "orders", run, s3.files("orders"))


@pytest.mark.parametrize("days", [-400, 400])
def test_the_clock_steps(orders: Program, s3: S3, days: int) -> None:
    """Retention keeps the newest two in the order in which they were made, whatever the clock said."""
    orders.configure(s3_place(s3.gate.port), retention={"keepLast": 2, "keepDaily": 0, "keepWeekly": 0})
    stepped = "\n".join(
        (
            "import datetime, sys",
            "from paradedb_backup import cli, times",
            "real = times.now",
            f"times.now = lambda: real() + datetime.timedelta(days={days})",
            "sys.exit(cli.main(['dump']))",
        )
    )
    first = dumps(s3.files("orders"))
    done = subprocess.run(
        [*unprivileged(), sys.executable, "-c", stepped],
        env=orders.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    second = dumps(s3.files("orders")) - first
    assert len(second) == 1
    orders.good("dump")
    third = dumps(s3.files("orders")) - first - second
    assert len(third) == 1
    assert dumps(s3.files("orders")) == second | third


def test_another_database_of_the_same_name(
    orders: Program, s3: S3, make_postgres: Callable[[str], Postgres]
) -> None:
    """A database that was made anew writes nothing where another's backups are."""
    before = s3.files("orders")
    other = make_postgres("other")
    other.initialise()
    other.start()
    stranger = Program(orders.folder, other, "orders").configure(s3_place(s3.gate.port))
    assert stranger.bad("dump")["reason"] == "PlaceTaken"
    assert s3.files("orders") == before
    other.stop("immediate")


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for one dump, and not for two."""
    path = tmp_path / "volume"
    path.mkdir()
    if os.geteuid():
        pytest.skip("only root can mount a small file system")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", path], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


def volume_dumps(path: Path) -> set[str]:
    return {file.parent.name for file in path.glob("orders/dumps/2*/manifest.json")}


def test_the_volume_is_full(program: Program, small_volume: Path) -> None:
    program.configure({"volume": str(small_volume)})
    program.good("dump")
    before = volume_dumps(small_volume)
    assert len(before) == 1
    failed = program.bad("dump")
    assert failed["reason"] == "VolumeFull"
    assert "spec.backup.pvc" in failed["message"]
    assert volume_dumps(small_volume) == before
    # Nothing of it is left in the way of the next, which has room.
    subprocess.run(["mount", "-o", "remount,size=200m", small_volume], check=True)
    program.good("dump")
    assert before < volume_dumps(small_volume)


def test_killed_while_it_writes_to_a_volume(program: Program, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    program.configure({"volume": str(volume)})
    program.good("dump")
    before = volume_dumps(volume)
    process = program.start("dump")

    def is_writing() -> bool:
        parts = volume.glob("orders/dumps/.partial-*/*")
        return any(file.stat().st_size > int(MIDDLE) for file in parts)

    eventually("a part is written", is_writing)
    kill_group(process)
    assert volume_dumps(volume) == before
    program.good("dump")
    assert before < volume_dumps(volume)
