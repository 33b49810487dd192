"""What both stores promise, on a real S3 server and a real file system."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from paradedb_backup import parts, store_volume
from paradedb_backup.config import Config, S3Place, VolumePlace
from paradedb_backup.problems import Problem
from paradedb_backup.s3_reader import Reader
from paradedb_backup.store import Store, open_store
from paradedb_backup.store_s3 import S3Store

RUN = "20261124T013000Z-4f1c"


@pytest.fixture
def store(settings: Config) -> Store:
    return open_store(settings)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> int:
    """Parts of 5 MiB, the smallest that S3 takes, so that little data has many."""
    size = 5 * parts.MIB
    monkeypatch.setattr("paradedb_backup.s3_upload.part_size", lambda _number, _expected: size)
    return size


class Failing:
    """A source that fails after some bytes."""

    def __init__(self, good: int) -> None:
        self._left = good

    def read(self, size: int) -> bytes:
        if self._left <= 0:
            raise Problem("DumpFailed", "pg_dump fell over")
        self._left -= size
        return b"x" * size


def nothing(_size: int) -> None:
    """Counts nothing."""


@pytest.mark.parametrize("size", [0, 1, 5 * parts.MIB - 1, 5 * parts.MIB, 12 * parts.MIB + 7])
def test_a_stream_comes_back_as_it_was(store: Store, small_parts: int, size: int) -> None:
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    counted: list[int] = []
    written = store.upload("dumps/x/0.dump", io.BytesIO(data), size, counted.append)
    assert (written.bytes, written.sha256) == (size, hashlib.sha256(data).hexdigest())
    assert sum(counted) == size
    assert store.size("dumps/x/0.dump") == size
    with store.open("dumps/x/0.dump") as stream:
        assert stream.read() == data


@pytest.mark.parametrize("good", [0, 11 * parts.MIB])
def test_a_source_that_fails_leaves_nothing(store: Store, small_parts: int, good: int) -> None:
    with pytest.raises(Problem, match="fell over"):
        store.upload("dumps/x/0.dump", Failing(good), 0, nothing)
    assert store.size("dumps/x/0.dump") is None
    assert store.entries("dumps") == []


def test_an_upload_that_fails_is_aborted_and_gives_its_memory_back(
    s3_place: S3Place, small_parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = S3Store(s3_place, "orders")
    calls = 0
    send = store._client.upload_part

    def second_fails(**given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ConnectionResetError("cut")
        return send(**given)

    monkeypatch.setattr(store._client, "upload_part", second_fails)
    with pytest.raises(Problem) as raised:
        store.upload("dumps/x/0.dump", io.BytesIO(b"x" * small_parts * 6), 0, nothing)
    assert raised.value.reason == "UploadFailed"
    answer = store._client.list_multipart_uploads(Bucket=s3_place.bucket, Prefix=s3_place.path)
    assert not answer.get("Uploads")
    assert store._memory._used == 0


def test_unfinished_uploads_are_swept_when_they_are_old(s3_place: S3Place) -> None:
    store = S3Store(s3_place, "orders")
    target = {"Bucket": s3_place.bucket, "Key": f"{s3_place.path}/orders/dumps/x/0.dump"}
    store._client.create_multipart_upload(**target)

    def unfinished() -> int:
        answer = store._client.list_multipart_uploads(Bucket=s3_place.bucket, Prefix=f"{s3_place.path}/")
        return len(answer.get("Uploads", []))

    store.put(f"dumps/{RUN}/manifest.json", b"{}")
    store.sweep(3600)
    assert unfinished() == 1
    store.sweep(-3600)
    assert unfinished() == 0


def test_small_objects(store: Store) -> None:
    assert store.get("owner.json") is None
    assert store.create("owner.json", b"mine")
    assert not store.create("owner.json", b"theirs")
    assert store.get("owner.json") == b"mine"
    store.put("owner.json", b"changed")
    assert store.get("owner.json") == b"changed"
    store.delete(["owner.json", "not/there"])
    assert store.get("owner.json") is None
    assert store.size("owner.json") is None
    with pytest.raises(Problem) as raised:
        store.open("owner.json")
    assert raised.value.reason == "BackupDamaged"


def test_of_many_claims_at_once_one_is_first(settings: Config) -> None:
    won: list[int] = []

    def claim(number: int) -> None:
        if open_store(settings).create("owner.json", str(number).encode()):
            won.append(number)

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert open_store(settings).get("owner.json") == str(won[0]).encode()
    assert len(won) == 1


def test_a_draft_becomes_a_backup_and_goes(store: Store) -> None:
    draft = store.draft(RUN)
    store.upload(f"{draft}/0.dump", io.BytesIO(b"data"), 4, nothing)
    store.put(f"{draft}/manifest.json", b"{}")
    store.publish(RUN)
    names = {entry.name: entry.bytes for entry in store.entries("dumps")}
    assert names == {f"dumps/{RUN}/0.dump": 4, f"dumps/{RUN}/manifest.json": 2}
    assert store.remnants(-1) == []
    store.withdraw(RUN)
    store.withdraw(RUN)
    assert store.entries("dumps") == []


def test_a_place_sees_nothing_of_its_neighbours(settings: Config) -> None:
    store = open_store(settings)
    store.put("dumps/x/a", b"1")
    neighbour = open_store(dataclasses.replace(settings, server="orders-2"))
    assert neighbour.entries("dumps") == []
    assert [entry.name for entry in store.entries("dumps")] == ["dumps/x/a"]


def test_a_full_volume_says_so_and_keeps_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = store_volume.VolumeStore(VolumePlace(tmp_path, "spec.backup.pvc"), "orders")
    monkeypatch.setattr(store_volume.os, "fsync", full)
    for write in (
        lambda: store.upload("dumps/x/0.dump", io.BytesIO(b"data"), 4, nothing),
        lambda: store.put("dumps/x/manifest.json", b"{}"),
    ):
        with pytest.raises(Problem) as raised:
            write()
        assert raised.value.reason == "VolumeFull"
        assert "spec.backup.pvc" in raised.value.message
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_file_system_without_links_takes_a_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    store = store_volume.VolumeStore(VolumePlace(tmp_path, "spec.backup.pvc"), "orders")
    assert store.create("owner.json", b"mine")
    assert not store.create("owner.json", b"theirs")
    assert store.get("owner.json") == b"mine"


class Body:
    """A response that breaks after so many bytes."""

    def __init__(self, data: bytes, breaks: int) -> None:
        self._data = io.BytesIO(data[:breaks])
        self._broken = breaks < len(data)

    def read(self, size: int) -> bytes:
        data = self._data.read(size)
        if not data and self._broken:
            raise ConnectionResetError("cut")
        return data

    def close(self) -> None:
        """Nothing to end."""


def reader(place: S3Place, data: bytes, body: Callable[[int], Any]) -> io.BufferedReader:
    return io.BufferedReader(Reader(place, len(data), body), 64)


def test_reading_goes_on_where_a_connection_broke(s3_place: S3Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paradedb_backup.s3_reader.time.sleep", lambda _seconds: None)
    data = bytes(range(256)) * 4
    with reader(s3_place, data, lambda start: Body(data[start:], 100)) as stream:
        assert stream.read() == data
    with (
        reader(s3_place, data, lambda start: Body(data[start:], 100 if start == 0 else 0)) as stream,
        pytest.raises(Problem),
    ):
        stream.read()


@pytest.mark.parametrize("expected", [0, 10**9, 10**11, 10**12, 5 * 10**12, 10**14])
def test_five_terabytes_fit_and_parts_are_no_larger_than_need_be(expected: int) -> None:
    sizes = [parts.part_size(number, expected) for number in range(1, parts.MOST_PARTS + 1)]
    assert sum(sizes) >= min(5 * 10**12, max(2 * 10**12, 1.2 * expected))
    assert min(sizes) >= 5 * parts.MIB
    # Within the memory that a backup pod has by default.
    assert max(sizes) <= 640 * parts.MIB
    assert sizes == sorted(sizes)
    # A stream of half of the expected size has parts of one size, as some stores want it.
    if expected <= 5 * 10**12:
        assert sizes[0] * 5_000 >= expected / 2
        assert len(set(sizes[:5_000])) == 1
    assert sizes[0] <= max(parts.SMALLEST, expected / 8_000 + parts.MIB)


def test_streams_wait_for_memory() -> None:
    memory = parts.Memory(10)
    assert memory.take(4) == 4
    large = threading.Thread(target=memory.take, args=(50,))
    large.start()
    large.join(0.05)
    assert large.is_alive()
    memory.give(4)
    large.join(5)
    assert not large.is_alive()
