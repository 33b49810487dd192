"""barman-cloud's library, with our way to the store: for base backups, their retention and their restore.

Called as a library and not as programs, so that an error arrives as what it is and credentials stay in this
process.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import signal
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from multiprocessing import Process
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from barman.clients import cloud_backup_delete, cloud_restore
from barman.cloud import CloudBackupCatalog
from barman.cloud_providers.aws_s3 import S3CloudInterface
from barman.infofile import BackupInfo
from botocore.exceptions import BotoCoreError, ClientError

from paradedb_backup.config import Config, S3Place
from paradedb_backup.problems import REASONS, Problem
from paradedb_backup.s3_client import client, s3_errors

# By how many seconds the clock may differ from the store's when backups are to be deleted for their age.
_SKEW = 300
_REMEMBERED = 500


class Bucket(S3CloudInterface):  # type: ignore[misc]
    """barman's view of a bucket, through our client."""

    def __init__(self, config: Config, jobs: int = 2) -> None:
        self.place = s3_place(config)
        self.open_uploads: list[dict[str, str]] = []
        self.worker_processes: list[Process] = []
        super().__init__(url=f"s3://{self.place.bucket}/{self.place.path}", jobs=jobs)

    def _reinit_session(self) -> None:
        """Called here and in each process that uploads."""
        made = client(self.place)

        def item(bucket: str, key: str) -> Any:
            return SimpleNamespace(get=lambda **more: made.get_object(Bucket=bucket, Key=key, **more))

        self.s3 = SimpleNamespace(meta=SimpleNamespace(client=made), Object=item)

    def upload_fileobj(self, fileobj: Any, key: str, **_: Any) -> None:
        """Stores what is small: backup.info."""
        with s3_errors(self.place):
            self.s3.meta.client.put_object(Bucket=self.bucket_name, Key=key, Body=fileobj.read())

    def abandon(self) -> None:
        """Ends the processes that upload. barman asks them to end and waits: for ever, when one has ended
        already."""
        ended, self.worker_processes = self.worker_processes, []
        self.queue = None
        for process in ended:
            process.kill()
            process.join()

    _abort = abandon

    def close(self) -> None:
        """Gives up what was not ended; a store that is away keeps it until a later backup sweeps."""
        super().close()
        self.worker_processes = []
        for upload in self.open_uploads:
            with contextlib.suppress(BotoCoreError, ClientError):
                self.s3.meta.client.abort_multipart_upload(**upload)

    def create_multipart_upload(self, key: str) -> Any:
        """Remembered until it is completed."""
        with s3_errors(self.place):
            upload = super().create_multipart_upload(key)
        self.open_uploads.append({"Bucket": self.bucket_name, "Key": key, "UploadId": upload["UploadId"]})
        return upload

    def wait_for_multipart_upload(self, key: str) -> Any:
        """The upload is complete."""
        found = super().wait_for_multipart_upload(key)
        self.open_uploads = [upload for upload in self.open_uploads if upload["Key"] != key]
        return found

    def has_failed(self) -> bool:
        """Whether an upload has failed, which barman looks for with the next part only."""
        return bool(self.queue and not self.errors_queue.empty())

    def raise_failed(self) -> None:
        """Raises the error of an upload that has failed, if there is one."""
        if self.queue:
            self._handle_async_errors()

    def lost(self) -> bool:
        """Whether a process that uploads has ended badly, which barman does not notice."""
        return any(process.exitcode for process in self.worker_processes)

    def _worker_process_main(self, process_number: int) -> None:
        """barman ends the processes that upload by SIGINT, which means something else in the first one."""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        super()._worker_process_main(process_number)

    def _worker_process_execute_job(self, task: Mapping[str, Any], process_number: int) -> None:
        """Its error comes to the first process as text, so it has to be a Problem's here."""
        with s3_errors(self.place):
            super()._worker_process_execute_job(task, process_number)


def s3_place(config: Config) -> S3Place:
    """The config's place; only buckets hold continuous backups."""
    if not isinstance(config.place, S3Place):
        raise Problem("NoBackup", f"continuous backups are in a bucket, {config.place.field} is a volume")
    return config.place


@contextmanager
def barman_errors(place: S3Place, reason: str) -> Iterator[None]:
    """Errors of barman's code as Problems; `reason` is for what the store did not cause. barman logs the
    error that it met and then exits with a number."""
    heard = logging.handlers.BufferingHandler(_REMEMBERED)
    logger = logging.getLogger("barman")
    before = logger.level, logger.propagate
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(heard)
    try:
        yield
    except (Exception, SystemExit) as error:
        raise _problem(error, heard.buffer, place, reason) from error
    finally:
        logger.removeHandler(heard)
        logger.setLevel(before[0])
        logger.propagate = before[1]


def _problem(error: BaseException, heard: list[logging.LogRecord], place: S3Place, reason: str) -> Problem:
    if isinstance(error, Problem):
        return error
    errors = [record.exc_info[1] for record in heard if record.exc_info and record.exc_info[1]]
    cause = errors[0] if errors else error
    if isinstance(cause, Problem):
        return cause
    said = str(cause).strip()
    if isinstance(cause, SystemExit):
        said = next((item.getMessage() for item in heard[::-1] if item.levelno >= logging.ERROR), "")
    named, _, words = said.partition(": ")
    if named in REASONS:
        return Problem(named, words)
    if isinstance(cause, Exception):
        try:
            with s3_errors(place):
                raise cause
        except Problem as problem:
            return problem
        except Exception:  # noqa: S110 - none of the store's errors
            pass
    return Problem(reason, " ".join(said.split())[:600] or type(cause).__name__)


def restore(config: Config, run: str, folder: Path) -> None:
    """Unpacks the base backup `run` into the empty folder. Raises Problem NoBackup or BackupDamaged, or the
    store's."""
    place = s3_place(config)
    with barman_errors(place, "BackupDamaged"), closing(Bucket(config)) as bucket:
        catalog = CloudBackupCatalog(bucket, config.server)
        info = catalog.get_backup_info(run)
        if info is None or info.status != BackupInfo.DONE:
            raise Problem("NoBackup", f"{place.field}: there is no complete base backup {run}")
        cloud_restore.CloudBackupDownloaderObjectStore(bucket, catalog).download_backup(info, str(folder), {})


def expire(config: Config) -> str:
    """Deletes base backups, and the log before them, that no moment of the recovery window needs. The newest
    one is never deleted. A warning when nothing could be decided, else empty."""
    place = s3_place(config)
    with barman_errors(place, "UploadFailed"), closing(Bucket(config)) as bucket:
        answer = bucket.s3.meta.client.list_objects_v2(Bucket=place.bucket, Prefix=bucket.path, MaxKeys=1)
        said = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        if said is None or abs((parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds()) > _SKEW:
            return "no base backup was deleted: the clocks of this node and of the store differ by 5 minutes"
        # Their command, which makes its own interface of its arguments; ours is handed to it instead.
        made = cloud_backup_delete.get_cloud_interface
        cloud_backup_delete.get_cloud_interface = lambda _arguments: bucket
        try:
            window = f"RECOVERY WINDOW OF {config.window_days} DAYS"
            cloud_backup_delete.main(
                ["--retention-policy", window, "--minimum-redundancy", "1", bucket.url, config.server]
            )
        finally:
            cloud_backup_delete.get_cloud_interface = made
    return ""
