"""A backup that a person asks for by an annotation."""

from __future__ import annotations

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import backup_state, backup_status
from ansible_collections.paradedb.db.plugins.module_utils.backup_making import make
from ansible_collections.paradedb.db.plugins.module_utils.backup_names import TASK, TASKS, VERIFY
from ansible_collections.paradedb.db.plugins.module_utils.backup_state import Seen
from ansible_collections.paradedb.db.plugins.module_utils.credentials import enabled
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, KubeError, Object, annotations

# On a ParadeDB: which backup shall be made now. The operator takes it away when the Job is made.
ANNOTATION = TASK

Event = dict[str, str]


def fulfil(kube: Kube, resource: Object, spec: dict[str, Any], check_mode: bool) -> list[Event]:
    """Do what the annotation asks for, or say why not, and take it away."""
    kind = str(annotations(resource)[ANNOTATION])
    try:
        seen = backup_state.of(kube, resource)
        check(seen, spec, kind)
        why = f"{kind} {_written(resource)}"
        made = "" if check_mode else make(kube, resource, kind, why)["metadata"]["name"]
        told = _event("Normal", "BackupRequested", f"Made Job {made}, as was asked for")
    except Refused as refused:
        told = _event("Warning", refused.reason, str(refused))
    if not check_mode:
        _take_away(kube, resource)
    return [told]


def _event(kind: str, reason: str, message: str) -> Event:
    return {"type": kind, "reason": reason, "message": message}


def check(seen: Seen, spec: dict[str, Any], kind: str) -> None:
    """Raises Refused when a backup of that kind cannot begin now."""
    field = f"metadata.annotations[{ANNOTATION}]"
    if kind not in TASKS:
        raise Refused("BackupRefused", field, f"{kind!r} is none of {', '.join(TASKS)}")
    if not enabled(spec, "backup"):
        raise Refused("BackupRefused", "spec.backup.enabled", "backups are off; set it to true")
    if kind not in backup_status.kinds(spec):
        needed = "spec.backup.verify" if kind == VERIFY else "spec.backup.continuous.enabled"
        raise Refused("BackupRefused", needed, f"the spec asks for no {kind}; set this field")
    if spec.get("hibernate"):
        raise Refused("BackupRefused", "spec.hibernate", "no instance runs; wake the database first")
    if seen.runs(kind):
        raise Refused("BackupRefused", field, f"a {kind} runs already; ask again when it has ended")


def _written(resource: Object) -> str:
    """When the annotation was written: the same wish, uttered again, is another one."""
    field = f"f:{ANNOTATION}"
    for entry in resource["metadata"].get("managedFields") or []:
        if field in (entry.get("fieldsV1", {}).get("f:metadata", {}).get("f:annotations") or {}):
            return f"{resource['metadata'].get('uid')} {entry.get('manager')} {entry.get('time')}"
    return f"{resource['metadata'].get('uid')} {resource['metadata'].get('resourceVersion')}"


def _take_away(kube: Kube, resource: Object) -> None:
    """Take the annotation away. One that was changed since it was read is left to the next pass."""
    version = resource["metadata"].get("resourceVersion")
    patch = {"metadata": {"resourceVersion": version, "annotations": {ANNOTATION: None}}}
    try:
        kube.merge_patch(resource, patch)
    except KubeError as error:
        if error.status != 409:
            raise
