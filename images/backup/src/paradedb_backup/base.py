"""The command `base`: a base backup, made by barman's library inside the primary's container.

Told on stdout, one JSON document a line: {"phase", "bytes", "percent"}, at the end {"succeeded": id, "bytes",
"message"} or {"failed": reason, "message"}. Whoever asked writes a line to stdin now and then; when none
comes the backup ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions

from paradedb_backup import config, owner
from paradedb_backup.barman_cloud import Bucket, barman_errors, expire, s3_place
from paradedb_backup.base_remnants import sweep
from paradedb_backup.base_uploader import Uploader, connected
from paradedb_backup.config import Config
from paradedb_backup.problems import Problem, interruptible
from paradedb_backup.problems_database import database_problem
from paradedb_backup.store import Store, open_store

_TELL_SECONDS = 2.0
# remote.py writes to stdin three times as often as that.
SILENCE_SECONDS = 60.0
# To tell the store that the backup failed, before it is ended the hard way.
_GRACE_SECONDS = 20.0


def main(_arguments: list[str]) -> int:
    """The exit code; the last line of stdout says the same."""
    # A group of its own, so that the processes which upload can be ended with this one. In a pod it leads its
    # session.
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    interruptible()
    threading.Thread(target=_listen, args=[sys.stdin.fileno()], daemon=True).start()
    try:
        with _alone():
            tell(_made(config.for_backup()))
    except Problem as problem:
        tell({"failed": problem.reason, "message": problem.message})
        return 1
    except Exception as error:
        tell({"failed": "BaseBackupFailed", "message": f"{type(error).__name__}: {error}"})
        return 1
    return 0


def tell(document: dict[str, Any]) -> None:
    """One line of stdout."""
    print(json.dumps(document), flush=True)


def _listen(source: int) -> None:
    """Ends the program when whoever asked for the backup is gone: its exec outlives the connection
    otherwise."""
    while select.select([source], [], [], SILENCE_SECONDS)[0] and os.read(source, 1024):
        pass
    _end()


def _end() -> None:
    """Ends the program, and the processes that upload with it."""
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)


def _made(settings: Config) -> dict[str, Any]:
    """Makes the backup, then deletes what the recovery window does not need; the last document to tell."""
    place = s3_place(settings)
    target = connection_string(settings.database.user)
    system, expected = _look(settings, target)
    store = open_store(settings)
    owner.claim(store, settings, system)
    with (
        barman_errors(place, "BaseBackupFailed"),
        closing(Bucket(settings, settings.jobs)) as bucket,
        connected(target) as postgres,
    ):
        uploader = Uploader(settings.server, bucket, postgres, store)
        with _progress(uploader, expected), _given_up(bucket):
            uploader.backup()
    return {
        "succeeded": uploader.backup_info.backup_id,
        "bytes": uploader.stored(),
        "message": _tidied(settings, store),
    }


def _tidied(settings: Config, store: Store) -> str:
    """Applies the retention. A warning, or empty: the backup is none the worse when this fails."""
    tell({"phase": "deleting what is not kept", "bytes": 0, "percent": None})
    try:
        warning = expire(settings)
        sweep(settings, store)
    except Problem as problem:
        return f"the backup is good, but older ones could not be deleted: {problem}"
    return warning


def connection_string(user: str) -> str:
    """How to reach the database of this container: its socket, as postmaster.pid tells it. Problem
    DatabaseUnreachable when there is none."""
    try:
        lines = (Path(os.environ["PGDATA"]) / "postmaster.pid").read_text().splitlines()
        port, folder = lines[3], lines[4]
    except (OSError, IndexError, KeyError) as error:
        raise Problem("DatabaseUnreachable", "the database does not run in this container") from error
    return str(psycopg2.extensions.make_dsn(host=folder, port=port, user=user, dbname="postgres"))


def _look(settings: Config, target: str) -> tuple[str, int]:
    """The system identifier and the size of all databases in bytes. Problem when this is not the primary."""
    try:
        with closing(psycopg2.connect(target)) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_is_in_recovery(), (SELECT system_identifier FROM pg_control_system()),"
                " (SELECT sum(pg_database_size(oid)) FROM pg_database), current_setting('archive_mode')"
            )
            standby, system, size, mode = cursor.fetchone()
    except psycopg2.Error as error:
        raise database_problem(error, settings.database, "BaseBackupFailed") from error
    if standby:
        raise Problem("BaseBackupFailed", "this instance is no longer the primary")
    if mode == "off":
        raise Problem(
            "BaseBackupFailed", "the database does not archive its log yet: it has to be restarted for that"
        )
    return str(system), int(size)


@contextmanager
def _alone() -> Iterator[None]:
    """Two base backups at once would take each other's bandwidth and may take each other's name. Parts of one
    that was killed are removed."""
    with (config.root() / "tmp/paradedb-base.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Problem("BaseBackupFailed", "another base backup of this database is running") from error
        for part in Path(tempfile.gettempdir()).glob("barman-upload-*.part"):
            part.unlink(missing_ok=True)
        yield


@contextmanager
def _given_up(bucket: Bucket) -> Iterator[None]:
    """What still uploads when the block fails is not waited for."""
    try:
        yield
    except BaseException:
        bucket.abandon()
        raise


@contextmanager
def _progress(uploader: Uploader, expected: int) -> Iterator[None]:
    """Tells how far the backup is while the block lasts."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_TELL_SECONDS):
            if uploader.cloud_interface.lost():
                _end()
            done = uploader.stored()
            percent = min(99, done * 100 // expected) if expected else None
            tell({"phase": uploader.phase, "bytes": done, "percent": percent})

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
