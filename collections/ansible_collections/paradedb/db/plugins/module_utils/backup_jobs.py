"""The Jobs of backups that the schedule does not start: the first one of a place, and those asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import (
    backup_preflight,
    backup_state,
    backup_status,
)
from ansible_collections.paradedb.db.plugins.module_utils.backup_making import make, word
from ansible_collections.paradedb.db.plugins.module_utils.backup_names import TASK, claim_name, place_of
from ansible_collections.paradedb.db.plugins.module_utils.backup_state import FAILED, Seen, moment
from ansible_collections.paradedb.db.plugins.module_utils.backup_wishes import ANNOTATION, fulfil
from ansible_collections.paradedb.db.plugins.module_utils.credentials import credentials_name, enabled
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, Object, annotations
from ansible_collections.paradedb.db.plugins.module_utils.labels import API_VERSION, KIND, instance_selector

_LOOK_AGAIN = 60  # seconds until one that waits for another to end is asked for again

_AFTER_FAILURE = 3600  # seconds after which a first backup that failed is tried again

NOTHING: dict[str, Any] = {"changed": False, "events": []}


def tend(
    kube: Kube,
    namespace: str,
    name: str,
    generation: int,
    spec: dict[str, Any],
    settled: bool,
    check_mode: bool,
) -> dict[str, Any]:
    """Make the Jobs that are due. ``settled``: the database is as its spec says, so that one can work.

    A backup is due when none is known for its place: once for each place, and after a failure once more for
    each change of the Secret. What was asked for is noted in the status, which the Jobs do not outlive.

    Nothing is made for a resource whose spec has changed since the pass with ``generation`` began: the
    CronJobs are those of the spec before, and the next pass is on its way.
    """
    resource = kube.get(API_VERSION, KIND, namespace, name)
    if resource is None or resource["metadata"].get("generation", generation) != generation:
        return NOTHING
    had = (resource.get("status") or {}).get("backup") is not None
    ended = _end(kube, resource, spec) if had and not check_mode else []
    wish = annotations(resource).get(ANNOTATION)
    told = fulfil(kube, resource, spec, check_mode) if wish is not None else []
    works = settled and enabled(spec, "backup") and not spec.get("hibernate")
    noted, wait = _first(kube, resource, spec, check_mode, wish) if works else (False, 0)
    again = {"requeue_after": wait} if wait else {}
    return {"changed": bool(told or ended or noted), "events": told, **again}


def _end(kube: Kube, resource: Object, spec: dict[str, Any]) -> list[Object]:
    """End the Jobs that the spec does not ask for, and those that run while the database sleeps."""
    metadata, kinds = resource["metadata"], backup_status.kinds(spec)
    jobs = kube.list("batch/v1", "Job", metadata["namespace"], instance_selector(metadata["name"]))
    tasks = [(job, (job["metadata"].get("labels") or {}).get(TASK)) for job in jobs]
    unwanted = [job for job, task in tasks if task and task not in kinds]
    if spec.get("hibernate"):
        unwanted += [job for job, task in tasks if task in kinds and backup_state.ended(job) is None]
    return [job for job in unwanted if kube.delete(job)]


def _first(
    kube: Kube, resource: Object, spec: dict[str, Any], check_mode: bool, wish: str | None
) -> tuple[bool, int]:
    """Ask for the first backups of a place. Whether something changed, and seconds until another look, or 0.

    ``wish``: the kind that a person asked for in this pass: as good as asked for here.

    That is needed for what waits for another backup to end, or for its next turn after a failure: of both
    only the status is told.
    """
    metadata = resource["metadata"]
    key = _key(kube, metadata["namespace"], metadata["name"], spec)
    told = (resource.get("status") or {}).get("backup") or {}
    noted = told.get("asked") or {}
    asked_for = [kind for kind in backup_status.kinds(spec) if kind in backup_state.MADE]
    kinds = [kind for kind in asked_for if noted.get(kind) != key or not told.get(kind)]
    if not kinds or backup_preflight.unusable(kube, metadata["namespace"], spec):
        return False, 0
    seen = backup_state.of(kube, resource)
    asked, waits, made = {}, [], False
    for kind in kinds:
        before = noted.get(kind, "")
        again = before == key
        if wait := _wait(seen, kind, again):
            waits.append(wait)
            if kind == wish and not again:
                asked[kind] = key
            continue
        failed = seen.document(kind).get("finished") if again else ""
        why = f"{metadata.get('uid')} {before} {key} {failed}"
        if _is_due(seen, kind, before, key) and not check_mode:
            try:
                make(kube, resource, kind, why)
            except Refused:  # no CronJob, or one that is suspended: the pass that mends that asks again
                continue
            made = True
        if not again:
            asked[kind] = key
    if asked and not check_mode:
        kube.merge_patch(resource, {"status": {"backup": {"asked": asked}}}, "status")
    return bool(asked) or made, min(waits, default=0)


def _wait(seen: Seen, kind: str, again: bool) -> int:
    """Seconds until a backup may be asked for, 0 when it may now. ``again``: one was, in this place."""
    if not again:
        return _LOOK_AGAIN if seen.runs(kind) else 0
    if seen.runs(kind):
        return _AFTER_FAILURE
    ends = [moment(seen.document(kind), "finished"), moment({"at": backup_state.ended_at(seen, kind)}, "at")]
    failed = max((end for end in ends if end), default=None)
    if failed is None or seen.last(kind):
        return _AFTER_FAILURE
    return max(_AFTER_FAILURE - int((datetime.now(UTC) - failed).total_seconds()), 0)


def _is_due(seen: Seen, kind: str, noted: str, key: str) -> bool:
    """Whether nothing is known of the place, or what failed there may go well with another Secret."""
    if not noted:
        return not seen.last(kind)
    if noted.partition("-")[0] != key.partition("-")[0]:
        return True
    failed = seen.document(kind).get("state") == FAILED or backup_state.interruption(seen, kind)
    return bool(failed) or not seen.last(kind)


def _key(kube: Kube, namespace: str, name: str, spec: dict[str, Any]) -> str:
    """A word for the place of the backups, and one for its Secrets.

    Their contents make the word, for their versions change with every touch; salted with what nobody may read
    who may read the status.
    """
    s3 = spec["backup"].get("s3") or {}
    where = [place_of(name, spec), s3.get("endpoint"), s3.get("region"), s3.get("pathStyle")]
    if not s3:
        claim = kube.get("v1", "PersistentVolumeClaim", namespace, claim_name(name)) or {"metadata": {}}
        where.append(claim["metadata"].get("uid"))
    salt = (kube.get("v1", "Secret", namespace, credentials_name(name)) or {}).get("data")
    contents = [salt]
    for reference in ("secretRef", "caSecretRef"):
        if secret := (s3.get(reference) or {}).get("name"):
            contents.append((kube.get("v1", "Secret", namespace, secret) or {}).get("data"))
    return f"{word(where)}-{word(contents)}"
