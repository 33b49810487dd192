"""What a new database is not made from, told before anything is done."""

from __future__ import annotations

from paradedb_backup import catalog, config
from paradedb_backup.config import Config, S3Place
from paradedb_backup.problems import Problem
from paradedb_backup.store import Store, open_store

FIELD = "spec.bootstrap.recovery"


def dump(store: Store, wanted: str | None) -> catalog.Backup:
    """The dump to restore. Raises Problem NoBackup with the field that names it."""
    try:
        return catalog.find(store, wanted)
    except Problem as problem:
        if problem.reason != "NoBackup":
            raise
        field = f"{FIELD}.backup" if wanted else FIELD
        raise Problem("NoBackup", f"{field}: {problem.message}") from None


def archive() -> None:
    """A new database must not archive where another one's log is. Raises Problem ArchiveNotEmpty."""
    if not (config.root() / "etc/backup/backup.json").exists():
        return
    own = config.for_backup()
    if own.window_days is None or not isinstance(own.place, S3Place):
        return
    try:
        store = open_store(own)
        taken = store.get("owner.json") is not None or store.entries("wals") or store.entries("base")
    except Problem as problem:
        # Its own backups may be broken without keeping the database from being made; archiving looks again.
        print(f"the place of the new database's backups could not be looked into: {problem}", flush=True)
        return
    if taken:
        raise Problem(
            "ArchiveNotEmpty",
            f"{own.place.field}.path: {config.where(own)}, where the new database would archive, is not "
            "empty; set another path or metadata.name, or move away what is there",
        )


def superuser(settings: Config, theirs: str | None) -> None:
    """Roles are restored by their names, and the grants of a superuser that is none fail. Raises Problem."""
    if theirs and theirs != settings.database.user:
        raise Problem(
            "RestoreFailed",
            f"spec.auth.superuserSecretRef: the superuser of the backup's database is {theirs!r}, of this "
            f"one {settings.database.user!r}; name a Secret whose username is {theirs!r}",
        )
