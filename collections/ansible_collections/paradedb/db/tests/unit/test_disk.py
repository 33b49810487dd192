from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import disk
from ansible_collections.paradedb.db.plugins.module_utils.kube import ExecFailed, KubeError

from .fake_kube import FakeKube, Object, pod
from .test_volumes import claim

MEGABYTE = 2**20
HEADER = "    Avail Inodes IFree\n"
ROOM = f"{MEGABYTE * 300} 1000 900\n"
FULL = f"{MEGABYTE * 3} 1000 900\n"


def instance(wal: bool = False) -> Object:
    made = pod("orders-0", ready=False)
    if wal:
        mount = {"name": "wal", "mountPath": "/var/lib/postgresql/wal"}
        made["spec"]["containers"][0]["volumeMounts"].append(mount)
    return made


def full(output: str, wal: bool = False) -> Any:
    cluster = FakeKube(claim("data-orders-0", "400Mi"), claim("wal-orders-0", "1Gi"))
    cluster.run = lambda command, stdin: HEADER + output
    found = disk.full(cluster, "prod", instance(wal))  # type: ignore[arg-type]
    ((_pod, command, _stdin),) = cluster.commands
    assert ("/var/lib/postgresql/wal" in command) == wal
    return found


def test_the_full_volume_is_named_with_the_way_out() -> None:
    found = full(FULL)
    assert (found.reason, found.field) == ("DiskFull", "spec.storage.size")
    assert str(found) == (
        "spec.storage.size: the volume data-orders-0 of pod orders-0 is full: 3 MiB of 400Mi are free, "
        "too few for PostgreSQL to go on; set spec.storage.size to more than 400Mi to grow it"
    )


def test_the_volume_of_the_log_is_told_apart() -> None:
    assert full(ROOM + FULL, wal=True).field == "spec.storage.walStorage.size"
    assert "more than 1Gi" in str(full(ROOM + FULL, wal=True))
    assert full(FULL + ROOM, wal=True).field == "spec.storage.size"
    assert full(ROOM + ROOM, wal=True) is None


@pytest.mark.parametrize(
    ("line", "is_full"),
    [
        (f"{16 * MEGABYTE - 1} 1000 900", True),
        (f"{16 * MEGABYTE} 1000 900", False),
        ("0 1000 900", True),
        (f"{300 * MEGABYTE} 1000 0", True),
        (f"{300 * MEGABYTE} 0 0", False),  # a file system that makes inodes as it goes
        (f"{300 * MEGABYTE} - -", False),
    ],
)
def test_full_is_what_has_no_room_for_a_segment_or_no_more_files(line: str, is_full: bool) -> None:
    assert (full(line + "\n") is not None) is is_full


@pytest.mark.parametrize("error", [ExecFailed(1, "df: unrecognized option"), KubeError(404, "gone")])
def test_what_cannot_be_told_is_no_refusal(error: Exception) -> None:
    cluster = FakeKube()

    def fail(command: list[str], stdin: str) -> str:
        raise error

    cluster.run = fail
    assert disk.full(cluster, "prod", instance()) is None  # type: ignore[arg-type]
