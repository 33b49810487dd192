"""barman's upload of a base backup, with what it leaves open: an id of its own, a wait that ends, and a look
at what arrived."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

from barman.cloud import CloudBackupUploader
from barman.postgres import PostgreSQLConnection
from barman.xlog import generate_segment_names

from paradedb_backup.barman_cloud import Bucket
from paradedb_backup.problems import Problem
from paradedb_backup.store import Store

_ARCHIVE_BYTES = 100 * 1024**3
_HEARTBEAT_SECONDS = 10
# The log that a backup needs must be archived within this time after its end, three times archive_timeout.
_ARCHIVE_SECONDS = 900.0
_WATCH_SECONDS = 2.0
_ID = "%Y%m%dT%H%M%S"


class Uploader(CloudBackupUploader):  # type: ignore[misc]
    """`phase` is what it does, for people."""

    def __init__(self, server: str, bucket: Bucket, postgres: PostgreSQLConnection, store: Store) -> None:
        super().__init__(server, bucket, _ARCHIVE_BYTES, postgres, keepalive_interval=_HEARTBEAT_SECONDS)
        self.phase = "starting"
        self._store = store
        self._size = 0
        self._late = False

    def stored(self) -> int:
        """Bytes packed so far."""
        self._size = max(self._size, sum(tar.size for tar in self._tars()))
        return self._size

    def _tars(self) -> list[Any]:
        """What is uploaded; barman forgets them at the end."""
        lists = list(self.controller.tar_list.values()) if self.controller else []
        return [tar for tars in lists for tar in tars or []]

    def _get_backup_info(self, server_name: str) -> Any:
        """Its id is the time, in UTC, and always after that of every earlier one: barman takes the order of
        ids for that of time."""
        info = super()._get_backup_info(server_name)
        info.backup_id = next_id([entry.name for entry in self._store.entries("base")], datetime.now(UTC))
        return info

    def _take_backup(self) -> None:
        self.phase = "copying the data directory"
        super()._take_backup()

    def _stop_backup(self) -> None:
        """PostgreSQL waits here until the log is archived, if need be for ever, and no signal reaches us."""
        self.phase = "waiting for the log to be archived"
        ended = threading.Event()
        threading.Thread(target=self._watch, args=[self.postgres.connect(), ended], daemon=True).start()
        try:
            super()._stop_backup()
        except Exception as error:
            self.cloud_interface.raise_failed()
            if self._late:
                raise Problem(
                    "BaseBackupFailed",
                    f"the log that the backup needs was not archived within {_ARCHIVE_SECONDS:.0f} s; "
                    "see the condition ContinuousArchiving",
                ) from error
            raise
        finally:
            ended.set()

    def _watch(self, connection: Any, ended: threading.Event) -> None:
        """Cancels the wait when it takes too long, or when an upload has failed meanwhile."""
        until = time.monotonic() + _ARCHIVE_SECONDS
        while not ended.wait(_WATCH_SECONDS):
            self._late = time.monotonic() > until
            if self._late or self.cloud_interface.has_failed():
                connection.cancel()
                return

    def _finalise_copy(self) -> None:
        """The last step before barman calls the backup done: looks whether the store has all of it."""
        self.phase = "finishing the upload"
        tars = self._tars()
        super()._finalise_copy()
        self._size = sum(tar.size for tar in tars)
        self.phase = "looking at what was stored"
        run = self.backup_info.backup_id
        sizes = {entry.name: entry.bytes for entry in self._store.entries(f"base/{run}")}
        for tar in tars:
            name = f"base/{run}/{tar.key.rpartition('/')[2]}"
            if sizes.get(name) != tar.size:
                raise Problem(
                    "UploadFailed", f"{name} has {sizes.get(name)} bytes in the store, {tar.size} were sent"
                )
        self._check_log()

    def _check_log(self) -> None:
        """Whether the archive has every segment from the backup's first to its last."""
        info = self.backup_info
        stored = {entry.name.rpartition("/")[2].split(".")[0] for entry in self._store.entries("wals")}
        wanted = generate_segment_names(info.begin_wal, info.end_wal, info.version, info.xlog_segment_size)
        missing = [name for name in wanted if name not in stored]
        if missing:
            raise Problem("WALMissing", f"the archive lacks {missing[0]}, which the backup needs")


def connected(target: str) -> Any:
    """A connection of barman's, to be closed by `with`. The first checkpoint is made at once."""
    postgres = PostgreSQLConnection(
        target, immediate_checkpoint=True, application_name="paradedb_base_backup"
    )
    postgres.connect()
    return closing(postgres)


def next_id(names: list[str], now: datetime) -> str:
    """An id for a backup made now: its second, or the one after the newest there is (base/<id>/...)."""
    times = []
    for name in names:
        try:
            times.append(datetime.strptime(name.split("/")[1], _ID).replace(tzinfo=UTC))
        except (ValueError, IndexError):
            continue
    return max([now, *(time + timedelta(seconds=1) for time in times)]).strftime(_ID)
