"""Backups as the programs and the Job controller leave them, for tests."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from .life import paradedb

Object = dict[str, Any]
S3 = {"endpoint": "https://s3", "bucket": "shop", "path": "eu/", "secretRef": {"name": "s3-keys"}}
BACKUP = {"enabled": True, "schedule": "0 2 * * *", "activeDeadlineSeconds": 3600, "s3": S3}
CONTINUOUS = {"enabled": True, "schedule": "0 1 * * 0"}
NOW = datetime.now(UTC)
GOOD = {"id": "20260101T020000Z-aaaa", "bytes": 2**20, "durationSeconds": 34}


def ago(**age: float) -> str:
    """A time as the programs write it."""
    return (NOW - timedelta(**age)).strftime("%Y-%m-%dT%H:%M:%SZ")


def good(**age: float) -> Object:
    """A report of a success; it lasted a minute."""
    finished = ago(**age)
    started = (datetime.fromisoformat(finished) - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    report = {"state": "succeeded", "started": started, "finished": finished, "reason": "", "message": ""}
    return {**report, **GOOD, "percent": 100, "last": GOOD | {"finished": finished}}


def running(**more: Any) -> Object:
    return {
        "state": "running",
        "id": "now",
        "started": ago(minutes=5),
        "phase": "dumping shop",
        "percent": 40,
    } | more


def failed(reason: str = "AccessDenied", message: str = "spec.backup.s3: no", **more: Any) -> Object:
    times = {"started": ago(minutes=5), "finished": ago(minutes=4)}
    return {"state": "failed", "id": "now", **times, "reason": reason, "message": message} | more


def state(**documents: Any) -> Object:
    """What the programs reported, those of instances or the others; a text stands as it is."""
    of_instances = set(documents) <= {"archive", "recovery"}
    data = {key: value if isinstance(value, str) else json.dumps(value) for key, value in documents.items()}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "orders-archive-state" if of_instances else "orders-backup-state"},
        "data": data,
    }


def job(kind: str = "dump", ended: str = "", reason: str = "", name: str = "", **age: float) -> Object:
    """A Job; ``ended``: Complete, Failed, or empty while it runs."""
    labels = {
        "app.kubernetes.io/name": "paradedb",
        "app.kubernetes.io/instance": "orders",
        "app.kubernetes.io/managed-by": "paradedb-operator",
        "database.paradedb.io/backup": kind,
    }
    conditions = (
        [{"type": ended, "status": "True", "reason": reason, "message": "it said so"}] if ended else []
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name or f"orders-{kind}-1", "labels": labels},
        "status": {"startTime": ago(**(age or {"minutes": 6})), "conditions": conditions},
    }


def cron_job(kind: str = "dump") -> Object:
    suffix = {"dump": "backup"}.get(kind, kind)
    labels = job(kind)["metadata"]["labels"]
    template = {"metadata": {"labels": labels}, "spec": {"backoffLimit": 2, "template": {"spec": {}}}}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": f"orders-{suffix}", "labels": labels},
        "spec": {"schedule": "0 2 * * *", "jobTemplate": template},
    }


def keys(version: str = "1") -> Object:
    """The Secret of the bucket, with another key in each version."""
    data = {"accessKeyId": "a2V5", "secretAccessKey": base64.b64encode(f"key{version}".encode()).decode()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s3-keys", "resourceVersion": version},
        "data": data,
    }


def database(status: Object | None = None, **spec: Any) -> Object:
    resource = paradedb(**({"phase": "Running", "observedGeneration": 1} | (status or {})))
    resource["metadata"] |= {"namespace": "prod", "uid": "the-uid"}
    resource["spec"] |= spec
    return resource
