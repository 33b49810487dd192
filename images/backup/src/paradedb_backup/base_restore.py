"""Restores a base backup of barman-cloud's and replays the archived log over it."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from paradedb_backup import postgres, replay, segments
from paradedb_backup.base_catalog import Base
from paradedb_backup.config import Config
from paradedb_backup.log_archive import Archive, names_of, way
from paradedb_backup.problems import Problem
from paradedb_backup.replay import Progress
from paradedb_backup.scratch import Server
from paradedb_backup.store import Store, open_store

# What to do about a log that is not whole, by the field that the backups are told with.
_ADVICE = {
    "spec.bootstrap.recovery": "put it back there, choose a later base backup "
    "(spec.bootstrap.recovery.backup) or "
    "a target before that place (spec.bootstrap.recovery.target)",
    "spec.backup": "make a base backup now (annotation database.paradedb.io/backup: base), for without a new "
    "one "
    "nothing after that place can be recovered",
}
Told = Callable[..., None]  # of the phase, the bytes and the percentage: Report.progress


@contextmanager
def recovered(
    settings: Config,
    base: Base,
    folder: Path,
    wal: Path | None,
    target: Mapping[str, str],
    own: Mapping[str, str],
    configuration: Path | None,
    field: str,
    told: Told,
) -> Iterator[tuple[Server, Progress]]:
    """The promoted server, made in ``folder`` with its log in ``wal`` if given.

    ``own``, ``configuration``: see scratch.running. ``field``: of the spec, of the recovery or of the
    backups. Raises Problem, before anything is copied where the archive's names alone say that it cannot be
    done.
    """
    postgres.check_version(base.version, f"the base backup {base.id}")
    command = restore_command("recovery" if field == "spec.bootstrap.recovery" else "backup")
    archive = _archive(open_store(settings), base, command, field)
    archive.check(target)
    told("restoring the base backup", 0, None)
    folder.mkdir(mode=0o700)
    copy(settings, base.id, folder)
    _link_log(folder, wal)
    first, last = archive.path.start.number, archive.reach()[0]
    total = segments.parse(last, base.segment).number - first + 1 if last else 1

    def replaying(name: str) -> None:
        done = segments.parse(name, base.segment).number - first + 1
        told("replaying the write-ahead log", base.bytes + done * base.segment, min(99, 100 * done // total))

    user = settings.database.user
    with replay.replayed(folder, user, archive, target, command, own, configuration, replaying) as both:
        yield both


def copy(settings: Config, base: str, folder: Path) -> None:
    """The files of a base backup. Dumps do without barman, which takes long to import."""
    from paradedb_backup import barman_cloud

    barman_cloud.restore(settings, base, folder)


def restore_command(source: str) -> str:
    """This program's own ``fetch``, from the archive of /etc/recovery or of /etc/backup."""
    program = [sys.executable] if getattr(sys, "frozen", False) else [sys.executable, "-m", "paradedb_backup"]
    return shlex.join([*program, "fetch", "--from", source]).replace("%", "%%") + ' "%f" "%p"'


def _archive(store: Store, base: Base, command: str, field: str) -> Archive:
    """What is in the archive, and the way over its timelines."""
    names = names_of(entry.name for entry in store.entries("wals"))
    start = segments.parse(base.begin_wal, base.segment)
    path = way(start, base.end_lsn, base.segment, names, lambda name: _fetched(command, name))
    return Archive(path, names, field, _ADVICE[field])


def _fetched(command: str, name: str) -> str:
    """A small file of the archive, by the command that PostgreSQL uses. Raises Problem BackupDamaged."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        words = command.replace("%f", name).replace("%p", str(file)).replace("%%", "%")
        done = subprocess.run(["sh", "-c", words], check=False, capture_output=True, text=True)
        if done.returncode or not file.exists():
            raise Problem(
                "BackupDamaged", f"{name} of the archive cannot be read: {done.stderr.strip()[-300:]}"
            )
        return file.read_text()


def _link_log(folder: Path, wal: Path | None) -> None:
    """An empty pg_wal, on the volume for it where there is one."""
    shutil.rmtree(folder / "pg_wal", ignore_errors=True)
    if wal is None:
        (folder / "pg_wal").mkdir(mode=0o700)
        return
    wal.mkdir(mode=0o700)
    (folder / "pg_wal").symlink_to(wal)


def tidy_log(folder: Path) -> None:
    """Leaves of the log, after a clean end, only the new timeline, and has its history archived if the
    database archives: what it took from the other database's archive is not to go into its own."""
    names = [file.name for file in folder.iterdir() if segments.SEGMENT.fullmatch(file.name)]
    newest = max(names)[:8]
    for name in names:
        if name[:8] != newest:
            (folder / name).unlink()
    status = folder / "archive_status"
    for file in status.iterdir():
        file.unlink()
    if (folder / f"{newest}.history").exists():
        (status / f"{newest}.history.ready").touch(mode=0o600)
