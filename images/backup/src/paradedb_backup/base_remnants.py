"""What base backups that ended badly left in the store."""

from __future__ import annotations

from datetime import datetime

from paradedb_backup.barman_cloud import Bucket
from paradedb_backup.config import Config
from paradedb_backup.s3_client import s3_errors
from paradedb_backup.store import Entry, Store


def sweep(config: Config, store: Store) -> None:
    """Removes base backups that are not done, and uploads that were not ended, older than the longest that a
    run may take. Ages are by the store's clock, from the object that was stored last."""
    entries = store.entries("base")
    now = max((entry.modified for entry in entries), default=None)
    if now is None:
        return
    for run in _runs(entries):
        mine = [entry for entry in entries if entry.name.split("/")[1] == run]
        newest = max(entry.modified for entry in mine)
        if (now - newest).total_seconds() > config.deadline and not _is_done(store, run):
            # Their description goes last, so that a sweep which is interrupted is taken up again.
            store.delete(
                sorted((entry.name for entry in mine), key=lambda name: name.endswith("/backup.info"))
            )
    _abort_uploads(config, now)


def _runs(entries: list[Entry]) -> list[str]:
    return sorted({entry.name.split("/")[1] for entry in entries if entry.name.count("/") > 1})


def _is_done(store: Store, run: str) -> bool:
    info = store.get(f"base/{run}/backup.info") or b""
    return b"status=DONE" in info.splitlines()


def _abort_uploads(config: Config, now: datetime) -> None:
    bucket = Bucket(config)
    store, place = bucket.s3.meta.client, bucket.place
    prefix = f"{place.path}/{config.server}/base/".lstrip("/")
    with s3_errors(place):
        pages = store.get_paginator("list_multipart_uploads").paginate(Bucket=place.bucket, Prefix=prefix)
        for upload in [upload for page in pages for upload in page.get("Uploads", [])]:
            if (now - upload["Initiated"]).total_seconds() > config.deadline:
                store.abort_multipart_upload(
                    Bucket=place.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                )
