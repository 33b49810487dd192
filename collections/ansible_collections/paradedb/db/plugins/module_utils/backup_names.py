"""The names by which the objects of a ParadeDB's backups find each other."""

from __future__ import annotations

from typing import Any

DUMP, BASE, VERIFY = "dump", "base", "verify"
TASKS = (DUMP, BASE, VERIFY)

# The label of CronJobs, Jobs and their pods that says which task they do. As an annotation of a ParadeDB: the
# one that shall be done now.
TASK = "database.paradedb.io/backup"


def cron_job_name(name: str, task: str) -> str:
    """Of a task's CronJob; on-demand Jobs are called after it."""
    return f"{name}-backup" if task == DUMP else f"{name}-{task}"


def claim_name(name: str) -> str:
    """The volume with the backups, which the operator never deletes."""
    return f"{name}-backup"


def place_of(name: str, spec: dict[str, Any]) -> str:
    """Where the backups of this database go, in one line, as the programs write it; empty without a place."""
    backup = spec.get("backup") or {}
    if s3 := backup.get("s3"):
        path = "/".join(part for part in ((s3.get("path") or "").strip("/"), name) if part)
        return f"s3://{s3['bucket']}/{path}"
    return f"volume {claim_name(name)}" if backup.get("pvc") is not None else ""


def state_name(name: str) -> str:
    """The ConfigMap in which the programs tell how they are doing."""
    return f"{name}-backup-state"


def archive_state_name(name: str) -> str:
    """The ConfigMap in which the database's own pods tell of archiving and recovery; they write no other.

    Who is a superuser in SQL can write what these pods can, and so no reports of backups.
    """
    return f"{name}-archive-state"
