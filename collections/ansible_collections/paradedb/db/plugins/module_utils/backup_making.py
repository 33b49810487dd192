"""Jobs of backups, made of their CronJob's template, so that they differ in nothing from a scheduled one."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.backup_names import cron_job_name
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, KubeError, Object, owner_reference
from ansible_collections.paradedb.db.plugins.module_utils.labels import API_VERSION, KIND


def job(cron_job: Object, name: str, owner: Object) -> Object:
    """A Job of a CronJob's template, as the controller makes it; it goes when its ``owner`` does."""
    template = copy.deepcopy(cron_job["spec"]["jobTemplate"])
    metadata, spec = template.get("metadata") or {}, template["spec"]
    metadata |= {
        "name": name,
        "namespace": cron_job["metadata"]["namespace"],
        "ownerReferences": [owner_reference(owner)],
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def cron_job(kube: Kube, namespace: str, name: str, kind: str) -> Object:
    """The CronJob of that kind. Raises Refused where there is none, or none of its Jobs may begin."""
    found = kube.get("batch/v1", "CronJob", namespace, cron_job_name(name, kind))
    if found is None:
        said = f"there is no CronJob {cron_job_name(name, kind)!r} in namespace {namespace!r}"
        raise Refused(
            "BackupRefused", "metadata.name", f"{said}; does the spec ask for backups of this kind?"
        )
    if found["spec"].get("suspend"):
        why = "the database is hibernated, or being made from a backup"
        raise Refused("BackupRefused", "metadata.name", f"{why}; ask again when that is over")
    return found


def make(kube: Kube, resource: Object, kind: str, why: str) -> Object:
    """Make a Job whose name says why, so that it is made once, however often a pass is repeated."""
    metadata = resource["metadata"]
    template = cron_job(kube, metadata["namespace"], metadata["name"], kind)
    name = f"{template['metadata']['name']}-{word(why)}"
    made = job(template, name, {"apiVersion": API_VERSION, "kind": KIND, **resource})
    try:
        return kube.create(made)
    except KubeError as error:
        if error.status == 409:
            return made
        raise


def word(value: Any) -> str:
    """A short word that stands for a value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]
