"""The command `fetch [--from recovery|backup] NAME PATH`: PostgreSQL's restore_command. Brings one file of
the archived log.

https://www.postgresql.org/docs/17/continuous-archiving.html#BACKUP-PITR-RECOVERY: 1 says that the archive
does not have the file, which ends the log; above 125 makes PostgreSQL stop, as any other failure has to.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paradedb_backup import config
from paradedb_backup.archive_put import key
from paradedb_backup.config import S3Place
from paradedb_backup.problems import Problem
from paradedb_backup.s3_client import client, s3_errors

ABSENT, STOP = 1, 200
# What passes by itself is tried again for so many seconds: PostgreSQL that stops begins the recovery from its
# start.
_PATIENCE = 300
_PASSING = {"EndpointUnreachable", "UploadFailed"}
# How barman-cloud may have packed the file; a whole one goes before one that was left unfinished by a
# failover.
_UNPACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    "": bytes,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
}
_OTHERS = (".zst", ".lz4", ".snappy")
_ORDER = [f"{partial}{suffix}" for partial in ("", ".partial") for suffix in _UNPACK]


def main(arguments: list[str]) -> int:
    """The exit code."""
    which = config.for_recovery
    if arguments[:1] == ["--from"]:
        which = {"recovery": config.for_recovery, "backup": config.for_backup}[arguments[1]]
        arguments = arguments[2:]
    name, target = arguments[0], Path(arguments[1])
    try:
        settings = which()
        if not isinstance(settings.place, S3Place):
            raise Problem("NoBackup", f"the log is archived in a bucket, {settings.place.field} is a volume")
        data = _patiently(settings.place, settings.server, name)
        if data is None:
            print(f"{name} is not in the archive", file=sys.stderr)
            return ABSENT
        _write(target, data)
    except Problem as problem:
        print(f"{name}: {problem}", file=sys.stderr)
        return STOP
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
        return STOP
    return 0


def _patiently(place: S3Place, server: str, name: str) -> bytes | None:
    """The file's content, or None when the archive does not have it."""
    begun, pause = time.monotonic(), 1.0
    while True:
        try:
            with s3_errors(place):
                return _content(client(place), place, key(place, server, name))
        except Problem as problem:
            if problem.reason not in _PASSING or time.monotonic() - begun > _PATIENCE:
                raise
            print(f"{name}: {problem}; again in {pause:.0f} s", file=sys.stderr, flush=True)
        time.sleep(pause)
        pause = min(pause * 2, 30)


def _content(store: Any, place: S3Place, name: str) -> bytes | None:
    answer = store.list_objects_v2(Bucket=place.bucket, Prefix=name)
    present = {item["Key"].removeprefix(name) for item in answer.get("Contents", [])}
    suffix = next((suffix for suffix in _ORDER if suffix in present), None)
    if suffix is None:
        unknown = sorted(suffix for suffix in present if suffix.endswith(_OTHERS))
        if unknown:
            raise Problem("BackupDamaged", f"{name}{unknown[0]} is packed in a way that is not known here")
        return None
    packed = store.get_object(Bucket=place.bucket, Key=name + suffix)["Body"].read()
    try:
        return _UNPACK[suffix.removeprefix(".partial")](packed)
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise Problem("BackupDamaged", f"{name}{suffix} cannot be unpacked: {error}") from error


def _write(target: Path, data: bytes) -> None:
    """PostgreSQL takes the file when this program ends with 0; it has to be on the disk by then."""
    with target.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
