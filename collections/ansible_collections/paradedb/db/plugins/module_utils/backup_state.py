"""What is seen of a ParadeDB's backups: the reports of the programs, and the Jobs that run them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import backup_known as known
from ansible_collections.paradedb.db.plugins.module_utils.backup_names import (
    BASE,
    DUMP,
    TASK,
    TASKS,
    claim_name,
)
from ansible_collections.paradedb.db.plugins.module_utils.backup_reports import Document, documents, moment
from ansible_collections.paradedb.db.plugins.module_utils.conditions import BACKUP_HEALTHY
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, Object
from ansible_collections.paradedb.db.plugins.module_utils.labels import instance_selector
from ansible_collections.paradedb.db.plugins.module_utils.quantity import parse_quantity

ARCHIVE, RECOVERY = "archive", "recovery"  # the reports besides those of the tasks
MADE = (DUMP, BASE)  # what makes a backup
RUNNING, SUCCEEDED, FAILED = "running", "succeeded", "failed"

NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Seen:
    """What the programs say (by kind of work), and the Jobs of each kind, the newest last."""

    documents: dict[str, Document]
    jobs: dict[str, list[Object]]

    def document(self, kind: str) -> Document:
        """What the program of that kind said last; empty before it said anything."""
        return self.documents.get(kind, {})

    def last(self, kind: str) -> Document:
        """The last success of that kind; empty before there is one."""
        found = self.document(kind).get("last")
        return found if isinstance(found, dict) and moment(found, "finished") else {}

    def runs(self, kind: str) -> bool:
        """Whether a Job of that kind has not ended."""
        return any(ended(job) is None for job in self.jobs.get(kind, []))


def of(kube: Kube, resource: Object) -> Seen:
    """What is seen of the backups of a ParadeDB in their present place."""
    namespace, name = resource["metadata"]["namespace"], resource["metadata"]["name"]
    seen = look(kube, namespace, name)
    told = known.complete(seen.documents, resource, _volume(kube, namespace, resource))
    return Seen(told, seen.jobs)


def look(kube: Kube, namespace: str, name: str) -> Seen:
    """Read the reports and the Jobs.

    A Job may begin between the two readings; its report looks like that of one that is gone. So what looks
    like an interruption is looked at twice.
    """
    seen = _read(kube, namespace, name)
    return _read(kube, namespace, name) if any(interruption(seen, kind) for kind in TASKS) else seen


def _volume(kube: Kube, namespace: str, resource: Object) -> Object | None:
    """The volume with the backups, where they are on one."""
    name, backup = resource["metadata"]["name"], resource["spec"].get("backup") or {}
    if backup.get("pvc") is None:
        return None
    return kube.get("v1", "PersistentVolumeClaim", namespace, claim_name(name))


def _read(kube: Kube, namespace: str, name: str) -> Seen:
    listed = sorted(kube.list("batch/v1", "Job", namespace, instance_selector(name)), key=_began)
    jobs = {kind: [job for job in listed if _task(job) == kind] for kind in TASKS}
    return Seen(documents(kube, namespace, name), jobs)


def _task(job: Object) -> str:
    return str((job["metadata"].get("labels") or {}).get(TASK) or "")


def _began(job: Object) -> datetime:
    return (
        moment(job.get("status") or {}, "startTime") or moment(job["metadata"], "creationTimestamp") or NEVER
    )


def ended(job: Object) -> Object | None:
    """The condition by which a Job has ended, Complete or Failed; None while it goes on."""
    conditions = (job.get("status") or {}).get("conditions") or []
    ends = [
        item for item in conditions if item["type"] in ("Complete", "Failed") and item["status"] == "True"
    ]
    return ends[0] if ends else None


def interruption(seen: Seen, kind: str) -> str:
    """Why the last run of that kind ended without a word of its program; empty when it did not.

    A report ``running`` is not believed when no Job of that kind runs: who wrote it was killed.
    """
    if seen.runs(kind):
        return ""
    said = seen.document(kind)
    last = next(iter(reversed(seen.jobs.get(kind, []))), None)
    end = (ended(last) if last else None) or {}
    finished = moment(said, "finished") or NEVER
    # A report of the future is of a wrong clock: whose it is cannot be told.
    theirs = last is not None and _began(last) <= finished < datetime.now(UTC) + known.SLACK
    unreported = said.get("state") == RUNNING or not theirs
    if end.get("type") == "Failed" and unreported:
        if end.get("reason") == "DeadlineExceeded":
            return "it took longer than spec.backup.activeDeadlineSeconds allows"
        return f"Job {last['metadata']['name']} failed: {end.get('message') or end.get('reason')}"  # type: ignore[index]
    return "its Job is gone" if said.get("state") == RUNNING else ""


def ended_at(seen: Seen, kind: str) -> str | None:
    """When the last Job of that kind ended; when its program began where the Job is gone."""
    jobs = seen.jobs.get(kind, [])
    end = (ended(jobs[-1]) if jobs else None) or {}
    return end.get("lastTransitionTime") or seen.document(kind).get("started")


def too_small(kube: Kube, resource: Object) -> list[dict[str, Any]]:
    """The check BackupHealthy, when the volume with the backups has not grown as the spec asks."""
    claim = _volume(kube, resource["metadata"]["namespace"], resource)
    backup = resource["spec"].get("backup") or {}
    wanted = (backup.get("pvc") or {}).get("size") if backup.get("enabled") else None
    size = (((claim or {}).get("spec") or {}).get("resources") or {}).get("requests", {}).get("storage")
    if not (wanted and size) or parse_quantity(size) >= parse_quantity(wanted):
        return []
    words = f"the volume has {size} and could not grow to {wanted}; see kubectl describe pvc"
    message = f"spec.backup.pvc.size: {words}"
    return [{"type": BACKUP_HEALTHY, "ok": False, "reason": "VolumeCannotGrow", "message": message}]
