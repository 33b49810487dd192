"""The command `archive PATH`: PostgreSQL's archive_command. Stores one file of the write-ahead log as
barman-cloud does.

https://www.postgresql.org/docs/17/continuous-archiving.html#BACKUP-ARCHIVING-WAL: ends with 0 only when the
file is stored, and never replaces another content. It runs for every segment: what is not needed is not
imported.
"""

from __future__ import annotations

import re
import signal
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from paradedb_backup import archive_left, archive_state, config, owner
from paradedb_backup.archive_put import key, put
from paradedb_backup.config import Config, S3Place
from paradedb_backup.problems import Problem
from paradedb_backup.s3_client import client
from paradedb_backup.store_s3 import S3Store

_NAME = re.compile(r"[0-9A-F]{24}(\.partial|\.[0-9A-F]{8}\.backup)?|[0-9A-F]{8}\.history")
_SECONDS = 60
# With the history of a timeline goes what an earlier primary left, as much as the log may take.
_HISTORY_SECONDS = 600
_BYTES_A_SECOND = 1024 * 1024


def main(arguments: list[str]) -> None:
    """Stores the file and notes what came of it."""
    path = Path(arguments[0])
    settings = config.for_backup()
    noted = archive_state.read(settings)
    try:
        with _limited(path):
            _archive(settings, path, noted)
    except Problem as problem:
        archive_state.failed(settings, noted, path, problem)
        raise
    except Exception as error:
        unknown = Problem("UploadFailed", f"{path.name}: {type(error).__name__}: {error}")
        archive_state.failed(settings, noted, path, unknown)
        raise unknown from error
    archive_state.succeeded(settings, noted, path)


def _archive(settings: Config, path: Path, noted: archive_state.Noted) -> None:
    place = settings.place
    if not isinstance(place, S3Place):
        raise Problem("UploadFailed", f"the log is archived to a bucket only, {place.field} is a volume")
    if not _NAME.fullmatch(path.name):
        raise Problem("UploadFailed", f"{path.name} is no name of a file of the log")
    if archive_state.claim_is_old(noted):
        owner.claim(S3Store(place, settings.server), settings, system_identifier(path.parent.parent))
        archive_state.claimed(noted)
    store = client(place)
    if path.name.endswith(".history"):
        archive_left.complete(store, place, settings.server, path)
    put(store, place, key(place, settings.server, path.name), path.read_bytes())


def system_identifier(data: Path) -> str:
    """The system identifier of the database in this data directory: the first 8 bytes of pg_control."""
    (number,) = struct.unpack("=Q", (data / "global/pg_control").read_bytes()[:8])
    return str(number)


@contextmanager
def _limited(path: Path) -> Iterator[None]:
    """Ends a call that hangs: PostgreSQL waits for it when it shuts down."""
    seconds = _SECONDS + path.stat().st_size // _BYTES_A_SECOND
    if path.name.endswith(".history"):
        seconds = _HISTORY_SECONDS

    def late(_number: int, _frame: FrameType | None) -> None:
        raise Problem("EndpointUnreachable", f"the store did not take {path.name} within {seconds} s")

    signal.signal(signal.SIGALRM, late)
    # Again each second: libraries catch what is raised in them.
    signal.setitimer(signal.ITIMER_REAL, seconds, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
