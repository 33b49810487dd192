"""The command `verify`: restores the newest backup, looks into it, and throws it away."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2.extensions
import psycopg2.extras

from paradedb_backup import (
    base_catalog,
    base_restore,
    catalog,
    checks,
    config,
    postgres,
    report,
    restore,
    scratch,
    times,
)
from paradedb_backup.base_catalog import Base
from paradedb_backup.catalog import Backup
from paradedb_backup.config import Config, S3Place
from paradedb_backup.problems import Problem, interruptible
from paradedb_backup.report import Report
from paradedb_backup.store import open_store

_FIELD = "spec.backup"


def main(_arguments: list[str]) -> None:
    """Verifies in the volume that the pod has for it."""
    interruptible()
    # Lets a signal end a statement that takes long.
    psycopg2.extensions.set_wait_callback(psycopg2.extras.wait_select)
    run(config.for_backup(), config.root() / "scratch" / "data")


def run(settings: Config, folder: Path) -> None:
    """Restores the newest dump and the newest base backup into ``folder``, of which nothing is left. Raises
    Problem when one of them is not good."""
    last, place = report.last(settings, "verify"), config.where(settings)
    told = Report("verify", times.new_id(times.now()), report.writer(settings), last, place=place)
    with report.reported(told, "RestoreFailed"):
        found: dict[str, checks.Result] = {}
        size = 0
        for backup in _newest(settings):
            told.add(backup=backup.id)
            found = _merged(found, _verify(settings, backup, folder, told))
            told.add(checks=found)
            size += backup.bytes
            if wrong := checks.failing(found):
                words = "; ".join(f"{name}: {', '.join(found[name]['wrong'])}" for name in wrong)
                raise Problem("ChecksFailed", f"the backup {backup.id} was restored, but {words}")
        told.succeeded(backup.id, size)


def _newest(settings: Config) -> list[Backup | Base]:
    """The newest of each kind, the newest of all last. Raises Problem NoBackup when there is none of
    either."""
    dumps = catalog.backups(open_store(settings))
    continuous = isinstance(settings.place, S3Place) and settings.window_days
    bases = base_catalog.bases(settings) if continuous else []
    found: list[Backup | Base] = [*dumps[-1:], *bases[-1:]]
    if not found:
        raise Problem("NoBackup", f"{_FIELD}: there is no complete backup yet to verify")
    return sorted(found, key=lambda backup: backup.finished)


def _verify(settings: Config, backup: Backup | Base, folder: Path, told: Report) -> dict[str, checks.Result]:
    with _removed(folder):
        try:
            if isinstance(backup, Backup):
                return _verify_dump(settings, backup, folder, told)
            return _verify_base(settings, backup, folder, told)
        except Problem as problem:
            raise postgres.full(problem, f"{_FIELD}.verify.size") from problem


def _merged(one: dict[str, checks.Result], other: dict[str, checks.Result]) -> dict[str, checks.Result]:
    """The results of two backups as those of one: what was counted together, what is available in both."""
    return {name: checks.together(one[name], other[name]) for name in one.keys() & other.keys()} | {
        name: result for name, result in (one | other).items() if name not in one or name not in other
    }


def _verify_dump(settings: Config, backup: Backup, folder: Path, told: Report) -> dict[str, Any]:
    user = backup.manifest.get("superuser") or settings.database.user
    postgres.initialise(folder, user)
    with scratch.running(folder, user, _settings(settings), postgres.settings_file()) as server:
        share = max(backup.bytes, 1)
        restore.restore_dump(
            server,
            settings,
            open_store(settings),
            backup,
            lambda phase, size: told.progress(phase, size, min(90, 90 * size // share)),
        )
        told.progress("counting the rows", backup.bytes, 91)
        found = {"rows": checks.rows(server, backup), "extensions": checks.extensions(server, backup)}
        return found | _structure(server, told, backup.bytes, False)


def _verify_base(settings: Config, base: Base, folder: Path, told: Report) -> dict[str, Any]:
    base_catalog.choose([base], base.id, {}, _FIELD)
    own, file = _settings(settings), postgres.settings_file()
    recovered = base_restore.recovered(settings, base, folder, None, {}, own, file, _FIELD, told.progress)
    with recovered as (server, _progress):
        return {"extensions": checks.extensions(server)} | _structure(server, told, base.bytes, True)


def _structure(server: scratch.Server, told: Report, size: int, thorough: bool) -> dict[str, Any]:
    indexes = checks.search_indexes(server)
    found = checks.structure(server, thorough, lambda name: told.progress(f"checking {name}", size, 95))
    return {"indexes": indexes, "amcheck": found}


def _settings(settings: Config) -> Mapping[str, str]:
    return {"shared_preload_libraries": postgres.preload(settings.preload), **scratch.SMALL}


@contextmanager
def _removed(folder: Path) -> Iterator[None]:
    """Nothing is there before and after the block."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
