"""The S3 server of the scenario `backup`, started in a namespace, looked into, and made to fail."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from cluster import ROOT, ParadeDB, apply, eventually, find, kubectl

BACKUP = "database.paradedb.io/backup"  # an annotation


def _load(path: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


objects = _load(ROOT / "molecule/backup/files/s3_objects.py")


class S3:
    """The server in one namespace."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def start(self) -> S3:
        apply({"apiVersion": "v1", "kind": "List", "items": objects.objects(self.namespace)})
        kubectl("-n", self.namespace, "rollout", "status", "deployment/s3", "--timeout=120s")
        return self

    def store(self, path: str = "", **changes: Any) -> dict[str, Any]:
        """spec.backup.s3 for it."""
        found: dict[str, Any] = objects.store(self.namespace, path, **changes)
        return found

    def order(self, text: str) -> None:
        """What its gate is to do; see molecule/backup/files/gate.py."""
        self._run("gate", "sh", "-c", 'printf "%s" "$0" >/data/part; mv /data/part /data/orders', text)

    def wait(self) -> None:
        """Until the order has taken effect."""
        done = ("gate", "sh", "-c", "ls /data/orders.done 2>/dev/null || true")
        eventually("the gate has stopped somebody", lambda: self._run(*done))

    def files(self, folder: str) -> list[str]:
        """What is in a folder of the bucket."""
        return self._run("s3", "find", f"/data/buckets/{objects.BUCKET}/{folder}", "-type", "f").split()

    def move(self, file: str, to: str) -> None:
        self._run("s3", "mv", file, to)

    def _run(self, container: str, *command: str) -> str:
        where = ("-n", self.namespace, "exec", "deployment/s3", "-c", container)
        return kubectl(*where, "--", *command).stdout


def backup(database: ParadeDB, field: str = "dump") -> dict[str, Any]:
    """The last good dump, base backup or verification, as the status tells it."""
    found = (database.status().get("backup") or {}).get(field) or {}
    return dict(found)


def jobs(database: ParadeDB) -> dict[str, bool]:
    """The database's Jobs, and whether each is still at work."""
    found = find("jobs", database.namespace, f"app.kubernetes.io/instance={database.name}")
    return {job["metadata"]["name"]: bool(job["status"].get("active")) for job in found}


def ask(database: ParadeDB, kind: str = "dump") -> None:
    """Ask for a backup by the annotation until a Job is made.

    It is refused while another is at work, which may be one that the operator has begun by itself meanwhile.
    """

    def waiting() -> bool:
        return BACKUP in database.resource()["metadata"].get("annotations", {})

    def asked() -> bool:
        before = jobs(database)
        if any(before.values()):
            return False
        database.annotate(BACKUP, kind)
        eventually("the annotation is answered", lambda: not waiting())
        return jobs(database).keys() > before.keys()

    eventually(f"a Job for a {kind} is made", asked)


def make_backup(database: ParadeDB, kind: str = "dump", seconds: float = 180) -> dict[str, Any]:
    """Ask for one by the annotation and wait for it."""
    field = {"verify": "verification"}.get(kind, kind)
    before = backup(database, field)
    ask(database, kind)
    found: dict[str, Any] = eventually(
        f"a {kind} succeeds",
        lambda: (new := backup(database, field)) != before and new.get("result") != "failed" and new,
        seconds,
    )
    return found


def wait_healthy(database: ParadeDB, reason: str = "", seconds: float = 180) -> dict[str, Any]:
    """Wait until BackupHealthy is true, or false for this reason; the condition."""
    try:
        found: dict[str, Any] = eventually(
            f"BackupHealthy says {reason or 'True'}",
            lambda: (
                (now := database.condition("BackupHealthy")).get("reason" if reason else "status")
                == (reason or "True")
                and now
            ),
            seconds,
        )
    except AssertionError as error:
        raise AssertionError(f"{error}: {database.condition('BackupHealthy')}\n{database.story()}") from None
    return found


def in_primary(database: ParadeDB, statement: str, ordinal: int = 0) -> str:
    """SQL as the superuser over the socket of an instance."""
    psql = ("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", "/var/run/postgresql", "-U", "postgres")
    pod = (f"{database.name}-{ordinal}", "-c", "paradedb")
    return kubectl("-n", database.namespace, "exec", *pod, "--", *psql, "-c", statement).stdout.strip()


def wait_archived(database: ParadeDB) -> None:
    """All of the log until now is in the archive."""
    segment = in_primary(database, "SELECT pg_walfile_name(pg_switch_wal())")
    last = "SELECT last_archived_wal FROM pg_stat_archiver"
    eventually(f"{segment} is archived", lambda: in_primary(database, last) >= segment)
