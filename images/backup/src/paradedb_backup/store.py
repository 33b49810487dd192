"""Where backups are kept: one interface, an S3 bucket or a volume behind it.

All names are relative to the place of one database, `<prefix>/<server>/`, with slashes between their parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol

from paradedb_backup.config import Config, S3Place


@dataclass(frozen=True)
class Entry:
    """A stored object: its name, its size in bytes and when it was stored, by the store's own clock."""

    name: str
    bytes: int
    modified: datetime


@dataclass(frozen=True)
class Written:
    """What an upload stored."""

    bytes: int
    sha256: str


class Source(Protocol):
    """What an upload reads. `read` gives fewer bytes than asked for only at the end, and raises when the
    source failed."""

    def read(self, size: int) -> bytes: ...


class Store(Protocol):
    """Every method raises Problem with a reason that names the field of the spec to mend."""

    @property
    def field(self) -> str:
        """The part of the spec that says where the store is."""

    def entries(self, folder: str) -> list[Entry]:
        """All objects below the folder, at any depth."""

    def get(self, name: str) -> bytes | None:
        """A small object, or None when it is not there."""

    def open(self, name: str) -> BinaryIO:
        """An object to read from its start to its end; Problem BackupDamaged when it is not there."""

    def put(self, name: str, data: bytes) -> None:
        """Stores a small object, replacing what has the name. It is there in full or not at all."""

    def create(self, name: str, data: bytes) -> bool:
        """Stores a small object unless one has the name; whether it did."""

    def upload(self, name: str, source: Source, expected: int, counted: Callable[[int], None]) -> Written:
        """Stores a stream. `expected` is a guess of its size in bytes; `counted` is told of bytes as they are
        stored. Nothing has the name when the source or the store fails."""

    def size(self, name: str) -> int | None:
        """An object's size in bytes as the store has it, or None when it is not there."""

    def delete(self, names: Iterable[str]) -> None:
        """Removes objects; one that is not there is no problem."""

    def draft(self, run: str) -> str:
        """The folder to write a backup into."""

    def publish(self, run: str) -> None:
        """Makes the backup, whose last object is the manifest, appear as dumps/<run>."""

    def withdraw(self, run: str) -> None:
        """Removes a backup or a draft, so that at no moment a part of it looks like a backup."""

    def remnants(self, older: float) -> list[str]:
        """Ids of what is no complete backup and was not written to for so many seconds of the store's
        clock."""

    def sweep(self, older: float) -> None:
        """Gives up unfinished uploads begun so many seconds ago."""


def open_store(config: Config) -> Store:
    """The store of the file's place and server."""
    place = config.place
    if isinstance(place, S3Place):
        from paradedb_backup.store_s3 import S3Store

        return S3Store(place, config.server)
    from paradedb_backup.store_volume import VolumeStore

    return VolumeStore(place, config.server)
