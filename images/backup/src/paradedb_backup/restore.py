"""Restores a dump into a fresh database: the roles, then each database as it was."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from paradedb_backup import postgres, restore_stream
from paradedb_backup.catalog import Backup
from paradedb_backup.config import Config, VolumePlace
from paradedb_backup.globals import restore_globals
from paradedb_backup.problems import Problem
from paradedb_backup.scratch import Server
from paradedb_backup.store import Store

Told = Callable[[str, int], None]


def restore_dump(server: Server, config: Config, store: Store, backup: Backup, told: Told) -> None:
    """The whole backup. ``told`` gets the phase and the bytes that were read since the start.

    Raises Problem BackupDamaged for what is not what was dumped, RestoreFailed for what PostgreSQL refuses.
    """
    folder = f"dumps/{backup.id}"
    major = int(backup.manifest["serverVersion"].split(".")[0].split()[0])
    postgres.check_version(major, f"the backup {backup.id}", older=True)
    _check_extensions(server, backup)
    told("restoring the roles", 0)
    restore_globals(server, store, folder, backup.manifest["globals"])
    done = backup.manifest["globals"]["bytes"]
    for part in backup.manifest["databases"]:
        phase = f"restoring {part['name']}"
        told(phase, done)
        _restore_database(server, config, store, folder, part, _shifted(told, phase, done))
        done += part["bytes"]


def _shifted(told: Told, phase: str, before: int) -> Callable[[int], None]:
    """Tells of the bytes of one part as those since the start."""
    return lambda size: told(phase, before + size)


def _check_extensions(server: Server, backup: Backup) -> None:
    """Whether the image has what the databases need. Raises Problem RestoreFailed naming the first that it
    lacks."""
    with server.session() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT name FROM pg_catalog.pg_available_extensions")
        available = {name for (name,) in cursor.fetchall()}
    for part in backup.manifest["databases"]:
        for name in part["extensions"]:
            if name not in available:
                raise Problem(
                    "RestoreFailed",
                    f"spec.image: the image has no extension {name}, which the database {part['name']!r} of "
                    "the backup needs",
                )


def _restore_database(
    server: Server,
    config: Config,
    store: Store,
    folder: str,
    part: Mapping[str, Any],
    told: Callable[[int], None],
) -> None:
    """One database; ``told`` gets the bytes of it that were read."""
    name = f"{folder}/{part['file']}"
    command = ["pg_restore", "--exit-on-error", "--no-tablespaces", "--create"]
    command.append(f"--dbname={_make_way(server, part['name'])}")
    if isinstance(config.place, VolumePlace):
        file = config.place.root / config.server / name
        _check(file, part)
        _from_file(server, [*command, f"--jobs={config.jobs}", str(file)], part)
        told(part["bytes"])
    else:
        restore_stream.restore(server, store, name, command, part, told)


def _make_way(server: Server, name: str) -> str:
    """Removes a database that every server has, so that it is made with the dumped one's owner, rights and
    settings. The database to be connected to meanwhile."""
    other = "template1" if name == "postgres" else "postgres"
    if name in ("postgres", "template1"):
        with server.session(other) as connection, connection.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {name} IS_TEMPLATE false")
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
    return other


def _check(file: Path, part: Mapping[str, Any]) -> None:
    """Reads the file first, for pg_restore reads it out of order."""
    try:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        digest = "missing"
    if digest != part["sha256"]:
        raise restore_stream.damaged(str(file))


def _from_file(server: Server, command: list[str], part: Mapping[str, Any]) -> None:
    done = subprocess.run(command, env=server.environment(), stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode:
        raise restore_stream.failed(part["name"], done.stderr)
