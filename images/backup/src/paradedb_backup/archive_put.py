"""Stores a file of the log as barman-cloud does, and never in the place of another content."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

from botocore.exceptions import ClientError

from paradedb_backup.config import S3Place
from paradedb_backup.problems import Problem
from paradedb_backup.s3_client import s3_errors

# Measured on segments of pgbench: 8 to 20 % of the size within 0.07 s; level 6 takes up to 0.5 s for 2 %.
_LEVEL = 1
_PRESENT = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}


def key(place: S3Place, server: str, name: str) -> str:
    """The object of a file of the log, without what tells its compression: wals/<16 characters>/<name>."""
    folder = "" if name.endswith(".history") else f"{name[:16]}/"
    return f"{place.path}/{server}/wals/{folder}{name}".lstrip("/")


def is_stored(store: Any, place: S3Place, name: str) -> bool:
    """Whether the object is there, whatever its content. Listed, for an answer to HEAD does not tell what is
    wrong."""
    wanted = f"{name}.gz"
    with s3_errors(place):
        answer = store.list_objects_v2(Bucket=place.bucket, Prefix=wanted, MaxKeys=1)
    return any(item["Key"] == wanted for item in answer.get("Contents", []))


def put(store: Any, place: S3Place, name: str, data: bytes) -> None:
    """Stores the file; Problem PlaceTaken when the archive has another one of its name. Looks first: not
    every store knows the condition. The store checks the SHA-256 that the request is signed with."""
    target = {"Bucket": place.bucket, "Key": f"{name}.gz"}
    present = is_stored(store, place, name)
    with s3_errors(place):
        if not present and _stored(store, target, gzip.compress(data, _LEVEL, mtime=0)):
            return
        # An earlier call may have stored it before PostgreSQL could note that, which a crash brings about.
        if not _is_same(store, target, data):
            raise Problem(
                "PlaceTaken",
                f"the archive has another {name}.gz, of another database or another history of this one; "
                f"set another path in {place.field}.path",
            )


def _stored(store: Any, target: dict[str, str], packed: bytes) -> bool:
    """Whether this call stored it, and no other one meanwhile."""
    try:
        store.put_object(**target, Body=packed, IfNoneMatch="*")
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in _PRESENT:
            return False
        if code != "NotImplemented":
            raise
        store.put_object(**target, Body=packed)
    return True


def _is_same(store: Any, target: dict[str, str], data: bytes) -> bool:
    try:
        return gzip.decompress(store.get_object(**target)["Body"].read()) == data
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return False
