"""A backup that a person starts and may wait for, with or without an operator in the cluster."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import (
    backup_making,
    backup_state,
    backup_wishes,
    recovery_status,
)
from ansible_collections.paradedb.db.plugins.module_utils.backup_reports import Document, number
from ansible_collections.paradedb.db.plugins.module_utils.backup_state import FAILED, RUNNING, SUCCEEDED, Seen
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, Object
from ansible_collections.paradedb.db.plugins.module_utils.labels import API_VERSION, KIND
from ansible_collections.paradedb.db.plugins.module_utils.quantity import written

_PERIOD = 2  # seconds between two looks
Show = Callable[[str], Any]


def perform(
    kube: Kube, namespace: str, name: str, kind: str, timeout: int, check_mode: bool, show: Show
) -> dict[str, Any]:
    """Make a Job, and wait until it ends. ``timeout``: seconds; 0 does not wait. ``show`` gets each step.

    Raises Refused when it cannot begin, when it fails, and when it does not end in time.
    """
    resource = kube.get(API_VERSION, KIND, namespace, name)
    template = backup_making.cron_job(kube, namespace, name, kind)
    seen = backup_state.look(kube, namespace, name)
    if resource is not None:
        backup_wishes.check(seen, resource["spec"], kind)
    if seen.runs(kind):
        raise Refused("BackupRefused", "metadata.name", f"a {kind} runs already; ask again when it has ended")
    job_name = f"{template['metadata']['name']}-{secrets.token_hex(4)}"
    owner = resource or {"apiVersion": "batch/v1", "kind": "CronJob", **template}
    job = backup_making.job(template, job_name, owner)
    result = {"changed": True, "job": job_name, "diff": {"before": {}, "after": job}}
    if check_mode:
        return result
    kube.create(job)
    if not timeout:
        return result
    before = seen.document(kind).get("started")
    return result | _follow(kube, namespace, name, kind, job, before, timeout, show)


def _follow(
    kube: Kube,
    namespace: str,
    name: str,
    kind: str,
    job: Object,
    before: Any,
    timeout: int,
    show: Show,
) -> dict[str, Any]:
    """What came of the Job. Raises Refused when that is nothing good.

    ``before``: when the run began that was reported before; each tells of another start.
    """
    job_name, deadline, shown = job["metadata"]["name"], time.monotonic() + timeout, ""
    while True:
        found = kube.get("batch/v1", "Job", namespace, job_name)
        seen = backup_state.look(kube, namespace, name)
        said = seen.document(kind)
        reported = bool(said) and said.get("started") != before
        if found is None or backup_state.ended(found):
            return _outcome(said if reported else {}, seen, kind, job_name)
        if (line := step(said if reported else {})) != shown:
            shown = line
            show(f"{job_name}: {line}")
        if time.monotonic() > deadline:
            message = f"{job_name} has not ended within {timeout} s, and goes on ({shown})"
            raise Refused("BackupTimeout", "", message)
        time.sleep(_PERIOD)


def step(said: Document) -> str:
    """What the Job does now, in words. ``said``: its report; empty before there is one."""
    if said.get("state") != RUNNING:
        return str(said.get("state") or "its pod is being started")
    percent = f", {said['percent']} %" if isinstance(said.get("percent"), int) else ""
    size = f", {written(number(said, 'bytes'))}" if number(said, "bytes") else ""
    return f"{said.get('phase') or 'running'}{percent}{size}"


def _outcome(said: Document, seen: Seen, kind: str, job_name: str) -> dict[str, Any]:
    """The success that its report tells of. Raises Refused for everything else."""
    if said.get("state") == FAILED:
        raise Refused(str(said.get("reason") or "BackupFailed"), "", str(said.get("message") or job_name))
    if said.get("state") != SUCCEEDED:
        why = backup_state.interruption(seen, kind) or "it ended without a report"
        raise Refused("BackupInterrupted", "", f"{job_name}: {why}")
    return {
        "backup": str(said.get("id", "")),
        "size": written(number(said, "bytes")),
        "duration": number(seen.last(kind), "durationSeconds"),
        "checks": recovery_status.sentences(said.get("checks")),
        "msg": str(said.get("message") or ""),
    }
