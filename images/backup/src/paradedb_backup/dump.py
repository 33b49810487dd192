"""The command `dump`: all databases and the globals to the store, as one backup that is there in full or not
at all."""

from __future__ import annotations

import json
import sys
import threading
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

from paradedb_backup import catalog, config, contents, owner, report, retention, times
from paradedb_backup.config import Config
from paradedb_backup.database import connected
from paradedb_backup.dump_database import Part, compression, dump_globals, dump_if_there
from paradedb_backup.problems import Problem, interruptible
from paradedb_backup.report import Report
from paradedb_backup.store import Store, open_store
from paradedb_backup.work import Work

# How long a stopped run waits for its threads, and then for the store to let go of what they wrote. A pod has
# 30 seconds to end unless it asks for more.
_STOP_SECONDS = 14.0
_TAKE_BACK_SECONDS = 8.0


def main(_arguments: list[str]) -> None:
    """Makes a backup and tells what came of it."""
    interruptible()
    run(config.for_backup(), times.new_id(times.now()))


def run(settings: Config, run_id: str) -> None:
    """Makes the backup `run_id`; Problem, with nothing left behind, when it cannot be made."""
    last = report.last(settings, "dump")
    told = Report("dump", run_id, report.writer(settings), last, place=config.where(settings))
    with report.reported(told, "DumpFailed"):
        store = open_store(settings)
    work, pool = Work(), ThreadPoolExecutor(1)
    # Signals arrive in this thread: libraries that wrap every exception in one of theirs must not run in it.
    making = pool.submit(_make, settings, store, work, run_id)
    pool.shutdown(wait=False)
    try:
        with report.reported(told, "DumpFailed"):
            size, warning = _watched(making, work, told, int(last["bytes"]) if last else 0)
    except Problem as problem:
        # While it still hangs in a call to the store, which may yet be done, what it wrote stays for a later
        # run to remove.
        if making.done():
            _take_back(store, run_id, problem)
        raise
    with report.reported(told, "DumpFailed"):
        told.progress("removing old backups", size)
        kept = retention.apply(store, settings.retention, run_id, settings.deadline)
        told.succeeded(run_id, size, "; ".join(said for said in (warning, kept) if said))


def _watched(making: Future[tuple[int, str]], work: Work, told: Report, usual: int) -> tuple[int, str]:
    """Tells of the progress until the end, `usual` being the bytes of the last backup."""
    try:
        while not wait([making], timeout=1).done:
            phase, size = work.progress()
            told.progress(phase, size, min(99, 100 * size // usual) if usual else None)
        return making.result()
    except BaseException:
        work.stop()
        wait([making], timeout=_STOP_SECONDS)
        raise


def _make(settings: Config, store: Store, work: Work, run_id: str) -> tuple[int, str]:
    """Dumps everything and publishes it; the bytes of all files, and a warning or nothing."""
    started = times.now()
    # First of all, because the store's answer to this call names its problem best.
    sequence = max((backup.sequence for backup in catalog.backups(store)), default=0) + 1
    with connected(settings.database, "postgres") as connection:
        server = contents.server(connection)
    owner.claim(store, settings, server.system)
    folder = store.draft(run_id)
    databases = _dump_all(settings, store, work, folder, server)
    with work.stopping(lambda: None):
        globals_part = dump_globals(settings, store, work, folder, server.roles)
    size = sum(int(part["bytes"]) for part in (globals_part, *databases))
    manifest = {
        "version": catalog.VERSION,
        "id": run_id,
        "sequence": sequence,
        "started": times.text(started),
        "finished": times.text(times.now()),
        "serverVersion": server.version,
        "systemIdentifier": server.system,
        "superuser": settings.database.user,
        "globals": globals_part,
        "databases": databases,
        "closed": server.closed,
        "bytes": size,
    }
    with work.phase("confirming"), work.stopping(lambda: None):
        for part in (globals_part, *databases):
            _confirm(store, f"{folder}/{part['file']}", part["bytes"])
        data = json.dumps(manifest).encode()
        store.put(f"{folder}/{catalog.MANIFEST}", data)
        _confirm(store, f"{folder}/{catalog.MANIFEST}", len(data))
        store.publish(run_id)
    return size, _warning(server.closed)


def _dump_all(settings: Config, store: Store, work: Work, folder: str, server: contents.Server) -> list[Part]:
    """The databases, as many at once as `jobs`, the largest first; one that fails ends the others."""
    compress = compression()
    found = server.databases
    files = {name: f"{folder}/{number}.dump" for number, name in enumerate(found)}
    with ThreadPoolExecutor(settings.jobs) as pool:
        parts = {
            name: pool.submit(dump_if_there, settings, store, work, name, found[name], files[name], compress)
            for name in sorted(found, key=lambda name: -found[name].bytes)
        }
        try:
            for done in wait(parts.values(), return_when=FIRST_EXCEPTION).done:
                done.result()
        except BaseException:
            work.stop()
            pool.shutdown(cancel_futures=True)
            raise
    return [part for name in found if (part := parts[name].result()) is not None]


def _warning(closed: list[str]) -> str:
    """What a success has to say beside it."""
    if not closed:
        return ""
    names = ", ".join(json.dumps(name, ensure_ascii=False) for name in closed)
    return f"left out, because they take no connections (ALLOW_CONNECTIONS): {names}"


def _confirm(store: Store, name: str, size: int) -> None:
    """The store itself says that it has all of the object."""
    found = store.size(name)
    if found != size:
        raise Problem("UploadFailed", f"the store has {found} bytes of {name}, which has {size}")


def _take_back(store: Store, run_id: str, problem: Problem) -> None:
    """Removes what was written of the backup. When the store does not let go of it, a later run removes
    it."""

    def remove() -> None:
        try:
            store.withdraw(run_id)
        except Problem as other:
            print(f"what was written of {run_id} stays for now: {other}", file=sys.stderr, flush=True)

    removing = threading.Thread(target=remove, daemon=True)
    removing.start()
    removing.join(_TAKE_BACK_SECONDS if problem.reason == "Interrupted" else None)
