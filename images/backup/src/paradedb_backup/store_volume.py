"""Backups on a mounted volume. A backup is written into dumps/.partial-<id>, brought to the disk and
renamed."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

from paradedb_backup.config import VolumePlace
from paradedb_backup.problems import Problem
from paradedb_backup.store import Entry, Source, Written

_BLOCK = 1024 * 1024
# Bytes after which what was written is brought to the disk, so that the last fsync is short and a full disk
# is met early.
_SYNC_EVERY = 256 * _BLOCK
_PARTIAL = ".partial-"
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS)


class VolumeStore:
    """See store.Store."""

    def __init__(self, place: VolumePlace, server: str) -> None:
        self._place = place
        self._root = place.root / server

    @property
    def field(self) -> str:
        """The part of the spec that says where the store is."""
        return self._place.field

    def entries(self, folder: str) -> list[Entry]:
        """All files below the folder, at any depth, drafts included."""
        found = []
        with self._errors():
            for path in sorted((self._root / folder).rglob("*")):
                # Another run may rename or remove what was there a moment ago.
                with suppress(FileNotFoundError):
                    status = path.stat()
                    if S_ISREG(status.st_mode):
                        modified = datetime.fromtimestamp(status.st_mtime, UTC)
                        found.append(Entry(str(path.relative_to(self._root)), status.st_size, modified))
        return found

    def get(self, name: str) -> bytes | None:
        """A small file, or None when it is not there."""
        with self._errors():
            try:
                return (self._root / name).read_bytes()
            except FileNotFoundError:
                return None

    def open(self, name: str) -> BinaryIO:
        """A file to read from its start to its end."""
        with self._errors():
            try:
                return (self._root / name).open("rb")
            except FileNotFoundError:
                raise Problem("BackupDamaged", f"{self._root / name} is not there") from None

    def put(self, name: str, data: bytes) -> None:
        """Stores a small file, replacing what has the name."""
        with self._errors():
            part = self._written_part(name, data)
            part.replace(self._root / name)
            _sync_folder(part.parent)

    def create(self, name: str, data: bytes) -> bool:
        """Stores a small file unless one has the name; whether it did. A link, unlike a rename, never
        replaces; for file systems without links a look has to do."""
        with self._errors():
            part = self._written_part(name, data)
            path = self._root / name
            try:
                path.hardlink_to(part)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                if path.exists():
                    return False
                part.rename(path)
            finally:
                part.unlink(missing_ok=True)
            _sync_folder(path.parent)
            return True

    def upload(self, name: str, source: Source, expected: int, counted: Callable[[int], None]) -> Written:
        """Stores a stream; the file goes when the source or the disk fails."""
        path = self._root / name
        with self._errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with path.open("xb", buffering=0) as file:
                    return _copy(source, file, counted)
            except BaseException:
                path.unlink(missing_ok=True)
                raise

    def size(self, name: str) -> int | None:
        """A file's size in bytes, or None when it is not there."""
        with self._errors():
            try:
                return (self._root / name).stat().st_size
            except FileNotFoundError:
                return None

    def delete(self, names: Iterable[str]) -> None:
        """Removes files; one that is not there is no problem."""
        with self._errors():
            for name in names:
                (self._root / name).unlink(missing_ok=True)

    def draft(self, run: str) -> str:
        """A folder that no reader takes for a backup."""
        return f"dumps/{_PARTIAL}{run}"

    def publish(self, run: str) -> None:
        """Renames the draft, after its files are on the disk, and brings the rename there."""
        with self._errors():
            draft = self._root / self.draft(run)
            _sync_folder(draft)
            draft.rename(self._root / "dumps" / run)
            _sync_folder(draft.parent)
            _sync_folder(self._root)

    def withdraw(self, run: str) -> None:
        """Renames the backup to a draft first."""
        with self._errors():
            draft = self._root / self.draft(run)
            backup = self._root / "dumps" / run
            if backup.exists():
                backup.rename(draft)
                _sync_folder(draft.parent)
            if draft.exists():
                shutil.rmtree(draft)

    def remnants(self, older: float) -> list[str]:
        """Ids of drafts that nothing was written to for so many seconds before the newest file of all. The
        files' times are of the nodes that wrote them: a clock that is behind keeps a remnant longer, no
        more."""
        newest: dict[str, datetime] = {}
        with self._errors():
            for folder in sorted((self._root / "dumps").glob("*")):
                with suppress(FileNotFoundError):
                    times = [path.stat().st_mtime for path in (folder, *folder.rglob("*"))]
                    newest[folder.name] = datetime.fromtimestamp(max(times), UTC)
        now = max(newest.values(), default=None)
        return [
            name.removeprefix(_PARTIAL)
            for name, modified in newest.items()
            if name.startswith(_PARTIAL) and now is not None and (now - modified).total_seconds() > older
        ]

    def sweep(self, older: float) -> None:
        """Nothing to do: what is unfinished lies in drafts."""

    def _written_part(self, name: str, data: bytes) -> Path:
        """A file beside `name` with the data, on the disk."""
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
        try:
            with part.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return part

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _problem(error, self._place) from error


def _copy(source: Source, file: BinaryIO, counted: Callable[[int], None]) -> Written:
    digest = hashlib.sha256()
    size = unsynced = 0
    while data := source.read(_BLOCK):
        digest.update(data)
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]
        size += len(data)
        unsynced += len(data)
        counted(len(data))
        if unsynced >= _SYNC_EVERY:
            os.fdatasync(file.fileno())
            unsynced = 0
    os.fsync(file.fileno())
    return Written(size, digest.hexdigest())


def _sync_folder(folder: Path) -> None:
    """Brings a folder's names to the disk."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _problem(error: OSError, place: VolumePlace) -> Problem:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Problem(
            "VolumeFull",
            f"the volume of the backups is full; enlarge it ({place.field}) or keep fewer backups",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Problem(
            "AccessDenied",
            f"the volume of the backups cannot be written ({error.strerror}); see {place.field}",
        )
    return Problem(
        "UploadFailed", f"the volume of the backups ({place.field}) failed: {error.strerror or error}"
    )
