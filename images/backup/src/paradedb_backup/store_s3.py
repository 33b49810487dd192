"""Backups in an S3 bucket."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, BinaryIO, cast

from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from paradedb_backup.config import S3Place
from paradedb_backup.parts import Memory
from paradedb_backup.problems import Problem
from paradedb_backup.s3_client import client, s3_errors
from paradedb_backup.s3_reader import Reader
from paradedb_backup.s3_upload import send
from paradedb_backup.store import Entry, Source, Written

# To GET and to HEAD, whose answer has no body; a bare 404 to GET is not an S3 store's.
_ABSENT = {"GetObject": {"NoSuchKey"}, "HeadObject": {"404", "NoSuchKey", "NotFound"}}


class S3Store:
    """See store.Store."""

    def __init__(self, place: S3Place, server: str) -> None:
        self._place = place
        self._prefix = f"{place.path}/{server}/" if place.path else f"{server}/"
        self._client = client(place)
        self._memory = Memory()

    @property
    def field(self) -> str:
        """The part of the spec that says where the store is."""
        return self._place.field

    def entries(self, folder: str) -> list[Entry]:
        """All objects below the folder, at any depth."""
        found = []
        with s3_errors(self._place):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._place.bucket, Prefix=f"{self._key(folder)}/"
            )
            for page in pages:
                # Any well-formed answer, a web page too, passes the client as an empty list.
                if page.get("Name") != self._place.bucket:
                    raise ResponseParserError("not a list of the bucket")
                for item in page.get("Contents", []):
                    name = item["Key"].removeprefix(self._prefix)
                    found.append(Entry(name, item["Size"], item["LastModified"]))
        return found

    def get(self, name: str) -> bytes | None:
        """A small object, or None when it is not there."""
        with s3_errors(self._place):
            answer = self._absent_is_none(self._client.get_object, name)
            return None if answer is None else cast(bytes, answer["Body"].read())

    def open(self, name: str) -> BinaryIO:
        """An object to read from its start to its end."""
        size = self.size(name)
        if size is None:
            raise Problem("BackupDamaged", f"{self._key(name)} is not in the bucket {self._place.bucket}")

        def read_from(start: int) -> Any:
            # An object of no bytes has no range.
            ranged = {"Range": f"bytes={start}-"} if start else {}
            return self._client.get_object(**self._object(name), **ranged)["Body"]

        return cast(BinaryIO, io.BufferedReader(Reader(self._place, size, read_from), 1024 * 1024))

    def put(self, name: str, data: bytes) -> None:
        """Stores a small object, replacing what has the name."""
        with s3_errors(self._place):
            self._client.put_object(**self._object(name), Body=data)

    def create(self, name: str, data: bytes) -> bool:
        """Stores a small object unless one has the name; whether it did. Looks before and after, because a
        store that does not know the condition ignores it."""
        if self.size(name) is not None:
            return False
        with s3_errors(self._place):
            try:
                self._client.put_object(**self._object(name), Body=data, IfNoneMatch="*")
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code in {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}:
                    return False
                if code != "NotImplemented":
                    raise
                self._client.put_object(**self._object(name), Body=data)
        return self.get(name) == data

    def upload(self, name: str, source: Source, expected: int, counted: Callable[[int], None]) -> Written:
        """Stores a stream; nothing has the name when the source or the store fails."""
        with s3_errors(self._place):
            return send(self._client, self._object(name), source, expected, counted, self._memory)

    def size(self, name: str) -> int | None:
        """An object's size in bytes as the store has it, or None when it is not there."""
        with s3_errors(self._place):
            answer = self._absent_is_none(self._client.head_object, name)
            return None if answer is None else int(answer["ContentLength"])

    def delete(self, names: Iterable[str]) -> None:
        """Removes objects, one call each: every store and every policy of rights knows that call."""
        with s3_errors(self._place):
            for name in names:
                self._client.delete_object(**self._object(name))

    def draft(self, run: str) -> str:
        """The folder itself: without a manifest it is no backup."""
        return f"dumps/{run}"

    def publish(self, run: str) -> None:
        """Nothing to do: the manifest was the last object."""

    def withdraw(self, run: str) -> None:
        """The manifest goes first."""
        folder = f"dumps/{run}"
        self.delete([f"{folder}/manifest.json"])
        self.delete(entry.name for entry in self.entries(folder))

    def remnants(self, older: float) -> list[str]:
        """Ids of folders without a manifest that nothing was written to for so many seconds."""
        newest: dict[str, datetime] = {}
        complete = set()
        for entry in self.entries("dumps"):
            _, run, *rest = entry.name.split("/", 2)
            newest[run] = max(newest.get(run, entry.modified), entry.modified)
            if rest == ["manifest.json"]:
                complete.add(run)
        # The newest object was stored just now, by the store's clock; this machine's may be wrong.
        now = max(newest.values(), default=None)
        return [
            run
            for run, modified in sorted(newest.items())
            if run not in complete and now is not None and (now - modified).total_seconds() > older
        ]

    def sweep(self, older: float) -> None:
        """Gives up unfinished uploads begun so many seconds before the newest object, by the store's
        clock."""
        now = max((entry.modified for entry in self.entries("dumps")), default=None)
        if now is None:
            return
        with s3_errors(self._place):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._place.bucket, Prefix=f"{self._key('dumps')}/"
            )
            for upload in [upload for page in pages for upload in page.get("Uploads", [])]:
                if (now - upload["Initiated"]).total_seconds() > older:
                    self._client.abort_multipart_upload(
                        Bucket=self._place.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )

    def _key(self, name: str) -> str:
        return self._prefix + name

    def _object(self, name: str) -> dict[str, str]:
        return {"Bucket": self._place.bucket, "Key": self._key(name)}

    def _absent_is_none(self, call: Callable[..., Any], name: str) -> Any:
        """The answer about an object, or None when it is not there. An answer to HEAD has no body, so that
        one about a missing bucket looks the same: the caller's next call tells."""
        try:
            return call(**self._object(name))
        except ClientError as error:
            if error.response["Error"]["Code"] in _ABSENT[error.operation_name]:
                return None
            raise
