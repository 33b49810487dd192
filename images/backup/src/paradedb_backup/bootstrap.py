"""The command `bootstrap`: makes a new database from a backup, before Patroni takes it over.

It runs in an init container. All is done beside the place where the data are to be, and renamed in one step
at the end: whatever ends it in between, the next start throws away what there is and begins anew.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import psycopg2.extensions
import psycopg2.extras

from paradedb_backup import (
    base_catalog,
    base_restore,
    checks,
    collations,
    config,
    globals,
    postgres,
    refusals,
    report,
    restore,
    scratch,
    subscriptions,
    times,
)
from paradedb_backup.config import Config
from paradedb_backup.problems import Problem, interruptible
from paradedb_backup.report import Report
from paradedb_backup.store import open_store

MARKER = "paradedb_recovery.json"
_TERMINATION = "dev/termination-log"


def main(_arguments: list[str]) -> None:
    """Restores into PGDATA unless that was done."""
    interruptible()
    # Lets a signal end a statement that takes long.
    psycopg2.extensions.set_wait_callback(psycopg2.extras.wait_select)
    try:
        run(config.for_recovery(), Path(os.environ["PGDATA"]))
    except Problem as problem:
        _tell_kubelet(problem)
        raise


def run(settings: Config, data: Path) -> None:
    """Makes the database in ``data``. Raises Problem, with nothing there, when that cannot be done."""
    if (data / "PG_VERSION").exists():
        _repeat(settings, data)
        return
    told = _report(settings)
    with report.reported(told, "RestoreFailed"):
        try:
            outcome = _make(settings, data, told)
        except Problem as problem:
            raise postgres.full(problem, "spec.storage.size") from problem
        told.add(backup=outcome["backup"], checks=outcome["checks"])
        told.succeeded(outcome["backup"], outcome["bytes"], outcome["message"])


def _make(settings: Config, data: Path, told: Report) -> dict[str, Any]:
    """Restores, checks and puts the database into its place; what the marker says."""
    refusals.archive()
    staging, wal = data.with_name(f"{data.name}.recovering"), _wal_folder(data)
    _clear(data, staging, wal)
    method = _from_dump if settings.method == "dump" else _from_base
    outcome = method(settings, staging, wal, told)
    told.progress("writing to the disk", outcome["bytes"])
    _finish(staging, data, outcome)
    return outcome


def _from_dump(settings: Config, staging: Path, wal: Path | None, told: Report) -> dict[str, Any]:
    store = open_store(settings)
    backup = refusals.dump(store, settings.backup)
    refusals.superuser(settings, backup.manifest.get("superuser"))
    told.add(backup=backup.id)
    postgres.initialise(staging, settings.database.user, wal)

    def moved(phase: str, size: int) -> None:
        told.progress(phase, size, min(99, 100 * size // max(backup.bytes, 1)))

    with _running(settings, staging) as server:
        restore.restore_dump(server, settings, store, backup, moved)
        told.progress("checking", backup.bytes, 99)
        globals.own_roles(server)
        found = {"rows": checks.rows(server, backup), "extensions": checks.extensions(server, backup)}
        if checks.failing(found):
            raise Problem(
                "ChecksFailed", f"the backup {backup.id} was not restored whole: {_sentence(found)}"
            )
        found["indexes"] = checks.search_indexes(server)
    return {"backup": backup.id, "bytes": backup.bytes, "checks": found, "message": _warning(found)}


def _from_base(settings: Config, staging: Path, wal: Path | None, told: Report) -> dict[str, Any]:
    base = base_catalog.choose(base_catalog.bases(settings), settings.backup, settings.target, refusals.FIELD)
    told.add(backup=base.id)
    with base_restore.recovered(
        settings,
        base,
        staging,
        wal,
        settings.target,
        {"shared_preload_libraries": postgres.preload(settings.preload)},
        postgres.settings_file(),
        refusals.FIELD,
        told.progress,
    ) as (server, progress):
        told.progress("checking", base.bytes, 99)
        globals.own_roles(server)
        disabled = subscriptions.disable(server)
        found = {"extensions": checks.extensions(server), "indexes": checks.search_indexes(server)}
        found["collations"] = collations.look(server)
    parts = [
        f"recovered to {progress.stopped or progress.done}" if settings.target else "",
        f"subscriptions are disabled: {', '.join(disabled)}" if disabled else "",
        _warning(found),
    ]
    message = "; ".join(part for part in parts if part)
    base_restore.tidy_log(staging / "pg_wal")
    return {"backup": base.id, "bytes": base.bytes, "checks": found, "message": message}


def _running(settings: Config, staging: Path) -> Any:
    own = {"shared_preload_libraries": postgres.preload(settings.preload)}
    return scratch.running(staging, settings.database.user, own, postgres.settings_file())


def _wal_folder(data: Path) -> Path | None:
    """pg_wal on the volume of its own, where there is one: see instances.yaml.j2 of the role statefulset."""
    volume = data.parent.parent / "wal"
    return volume / "pg_wal" if volume.is_dir() else None


def _clear(data: Path, staging: Path, wal: Path | None) -> None:
    """Removes what an earlier try has left. Raises Problem RestoreFailed where something else is."""
    if data.exists() and any(data.iterdir()):
        raise Problem("RestoreFailed", f"{refusals.FIELD}: {data} holds files and no database; remove them")
    for folder in (staging, wal):
        if folder is not None and folder.exists():
            shutil.rmtree(folder)


def _finish(staging: Path, data: Path, outcome: dict[str, Any]) -> None:
    """Brings everything to the disk, then renames it."""
    for name in ("patroni.dynamic.json", "standby.signal", "recovery.signal"):
        (staging / name).unlink(missing_ok=True)
    (staging / MARKER).write_text(json.dumps(outcome))
    (staging / MARKER).chmod(0o600)
    postgres.output(["initdb", "--sync-only", "--pgdata", str(staging)])
    staging.rename(data)
    number = os.open(data.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _repeat(settings: Config, data: Path) -> None:
    """The database is there. Tells so again when the end of the run that made it was not heard of."""
    try:
        outcome = json.loads((data / MARKER).read_text())
    except FileNotFoundError:
        raise Problem(
            "RestoreFailed",
            f"{refusals.FIELD}: the volume holds a database that was not made by it; delete the volume's "
            "claim "
            "or this field",
        ) from None
    try:
        state = report.read(settings).get("recovery", {}).get("state")
    except (OSError, ValueError):
        state = None
    if state != "succeeded":
        told = _report(settings)
        told.add(backup=outcome["backup"], checks=outcome["checks"])
        told.succeeded(outcome["backup"], outcome["bytes"], outcome["message"])


def _report(settings: Config) -> Report:
    fields = {
        "method": settings.method,
        "source": settings.server,
        "backup": settings.backup,
        "target": settings.target,
    }
    return Report("recovery", times.new_id(times.now()), report.writer(settings), None, **fields)


def _warning(found: dict[str, Any]) -> str:
    """What is wrong with a database that can be used all the same."""
    return f"{_sentence(found)}; see docs/backup.md" if checks.failing(found) else ""


def _sentence(found: dict[str, Any]) -> str:
    return ", ".join(words for name in checks.failing(found) for words in found[name]["wrong"])


def _tell_kubelet(problem: Problem) -> None:
    """The container's last words, in the form in which the operator reads those of prepare.sh."""
    field = "" if problem.message.startswith("spec.") else f"{refusals.FIELD}: "
    try:
        (config.root() / _TERMINATION).write_text(f"{problem.reason}|{field}{problem.message}"[:4000])
    except OSError as error:
        print(f"the end could not be told: {error.strerror}", flush=True)
