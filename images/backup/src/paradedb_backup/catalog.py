"""Which backups a store holds: the folders of dumps/ with a manifest."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from paradedb_backup import config, times
from paradedb_backup.problems import Problem
from paradedb_backup.store import Store, open_store

MANIFEST = "manifest.json"
VERSION = 1


@dataclass(frozen=True)
class Backup:
    """A complete backup. `sequence` orders backups, which a clock that was set back cannot turn; `bytes` is
    what it takes."""

    id: str
    sequence: int
    started: datetime
    finished: datetime
    bytes: int
    manifest: Mapping[str, Any]


def backups(store: Store) -> list[Backup]:
    """All complete backups, the oldest first. One whose manifest cannot be read is told of and left out: it
    is neither restored nor deleted."""
    found = []
    for run in _complete(store):
        try:
            found.append(read(store, run))
        except Problem as problem:
            if problem.reason != "BackupDamaged":
                raise
            print(f"left out: {problem.message}", file=sys.stderr, flush=True)
    return sorted(found, key=lambda backup: (backup.sequence, backup.id))


def find(store: Store, run: str | None) -> Backup:
    """The backup of this id, or the newest one; Problem NoBackup when there is none."""
    if run is None:
        every = backups(store)
        if not every:
            raise Problem("NoBackup", f"the place holds no complete backup; see {store.field}")
        return every[-1]
    if run not in _complete(store):
        raise Problem("NoBackup", f"the place holds no complete backup {run}; see {store.field}")
    return read(store, run)


def read(store: Store, run: str) -> Backup:
    """One backup's manifest; Problem BackupDamaged when it is not one."""
    data = store.get(f"dumps/{run}/{MANIFEST}")
    try:
        manifest = json.loads(data or b"")
        if manifest["version"] != VERSION:
            raise Problem("BackupDamaged", f"the backup {run} is of an unknown version; use a newer operator")
        return Backup(
            id=run,
            sequence=int(manifest["sequence"]),
            started=times.parse(manifest["started"]),
            finished=times.parse(manifest["finished"]),
            bytes=int(manifest["bytes"]),
            manifest=manifest,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Problem("BackupDamaged", f"the manifest of the backup {run} cannot be read") from error


def _complete(store: Store) -> list[str]:
    names = (entry.name.split("/") for entry in store.entries("dumps"))
    return sorted(
        name[1] for name in names if len(name) == 3 and name[2] == MANIFEST and times.is_id(name[1])
    )


def main(_arguments: list[str]) -> None:
    """The command `list`: one line for each backup, the oldest first."""
    every = backups(open_store(config.for_backup()))
    print(f"{'ID':<22}  {'FINISHED':<20}  {'BYTES':>15}  DATABASES")
    for backup in every:
        # Written as JSON: a name may hold any character.
        names = " ".join(json.dumps(database["name"]) for database in backup.manifest["databases"])
        print(f"{backup.id:<22}  {times.text(backup.finished)}  {backup.bytes:>15}  {names}")
