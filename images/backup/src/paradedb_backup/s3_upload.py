"""Uploads a stream of unknown length: parts in memory, sent while the next one is read."""

from __future__ import annotations

import hashlib
import io
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from paradedb_backup.parts import MOST_PARTS, Memory, part_size
from paradedb_backup.problems import Problem
from paradedb_backup.store import Source, Written

# Parts of one stream on their way at once.
_SENDERS = 2


def send(
    client: Any,
    target: dict[str, str],
    source: Source,
    expected: int,
    counted: Callable[[int], None],
    memory: Memory,
) -> Written:
    """Stores the stream as the object `target` (Bucket, Key). The object appears with the last call only,
    after the source ended well; when anything fails the upload is aborted and the error raised."""
    upload = {**target, "UploadId": client.create_multipart_upload(**target)["UploadId"]}
    try:
        with ThreadPoolExecutor(_SENDERS) as senders:
            digest, sent = _send_parts(client, upload, source, expected, counted, memory, senders)
        client.complete_multipart_upload(
            **upload,
            MultipartUpload={"Parts": [{"PartNumber": n, "ETag": tag} for n, (tag, _) in enumerate(sent, 1)]},
        )
    except BaseException:
        _abort(client, upload)
        raise
    return Written(sum(size for _, size in sent), digest)


def _send_parts(
    client: Any,
    upload: dict[str, str],
    source: Source,
    expected: int,
    counted: Callable[[int], None],
    memory: Memory,
    senders: ThreadPoolExecutor,
) -> tuple[str, list[tuple[str, int]]]:
    """The stream's SHA-256, and tag and size of each part. The last part is short, and empty when the stream
    is."""
    digest = hashlib.sha256()
    waiting: deque[Future[tuple[str, int]]] = deque()
    sent: list[tuple[str, int]] = []
    for number in range(1, MOST_PARTS + 1):
        size = part_size(number, expected)
        share = memory.take(size)
        try:
            data = source.read(size)
        except BaseException:
            memory.give(share)
            raise
        ended = len(data) < size
        digest.update(data)
        if data or number == 1:
            waiting.append(senders.submit(_send_part, client, upload, number, data, share, memory, counted))
        else:
            memory.give(share)
        del data  # Or it would be there beside the next one.
        # Collected early: a store that fails ends the reading soon, and no part waits for a sender.
        while waiting and (ended or len(waiting) > _SENDERS or waiting[0].done()):
            sent.append(waiting.popleft().result())
        if ended:
            return digest.hexdigest(), sent
    raise Problem("UploadFailed", f"the dump is larger than {MOST_PARTS} parts hold")


def _send_part(
    client: Any,
    upload: dict[str, str],
    number: int,
    data: bytes,
    share: int,
    memory: Memory,
    counted: Callable[[int], None],
) -> tuple[str, int]:
    """Sends one part, which the client repeats when need be: a BytesIO shares the bytes and is sent in small
    blocks, so that the time-out is for a block."""
    try:
        tag = client.upload_part(**upload, PartNumber=number, Body=io.BytesIO(data))["ETag"]
    finally:
        memory.give(share)
    counted(len(data))
    return tag, len(data)


def _abort(client: Any, upload: dict[str, str]) -> None:
    """Best effort: what stays is swept by a later run, and the error that led here is what counts."""
    try:
        client.abort_multipart_upload(**upload)
    except Exception as error:
        print(f"the unfinished upload of {upload['Key']} stays for now: {error}", file=sys.stderr, flush=True)
