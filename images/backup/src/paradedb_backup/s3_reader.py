"""Reads an object of S3 as one stream, going on where a connection broke."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from paradedb_backup.config import S3Place
from paradedb_backup.problems_s3 import s3_problem

# Breaks in a row, without a byte between them, that end the reading; the pauses between them grow to 16 s.
_BREAKS = 6


class Reader(io.RawIOBase):
    """`read_from(start)` opens the object's body from a byte on; `size` is the object's, in bytes."""

    def __init__(self, place: S3Place, size: int, read_from: Callable[[int], Any]) -> None:
        super().__init__()
        self._place = place
        self._size = size
        self._read_from = read_from
        self._at = 0
        self._body: Any = None

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """See io.RawIOBase; raises Problem when the store stays away."""
        for broken in range(_BREAKS):
            try:
                return self._next(buffer)
            except (ClientError, BotoCoreError, HTTPError, OSError) as error:
                self._drop()
                if broken == _BREAKS - 1 or isinstance(error, ClientError):
                    raise s3_problem(error, self._place) from error
                time.sleep(2**broken / 2)
        raise AssertionError

    def _next(self, buffer: Any) -> int:
        if self._at >= self._size:
            return 0
        if self._body is None:
            self._body = self._read_from(self._at)
        data = self._body.read(len(buffer))
        if not data:
            raise ConnectionResetError(f"ended after {self._at} of {self._size} bytes")
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None

    def close(self) -> None:
        """Ends the connection."""
        self._drop()
        super().close()
