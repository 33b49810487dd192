"""
Conditions as ansible-operator publishes them, for watches with ``manageStatus``; others are never touched.

Running stays True between passes (with reason Successful), because people wait for exactly that. What
differs: a pass over an unchanged generation that succeeded before changes nothing, so a quiet resource is
never written to.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from paradedb_runner.engine.interface import Failure, Stats
from paradedb_runner.kube.api import Api, ApiError, Resource
from paradedb_runner.kube.objects import Key, Object, metadata

_TRIES = 5
Change = Callable[[Object], Object]


def running(obj: Object) -> Object:
    """The status when a pass starts."""
    status = _status(obj)
    success = _find(status["conditions"], "Successful")
    generation = metadata(obj).get("generation")
    if success and success["status"] == "True" and success.get("observedGeneration") == generation:
        return status
    _set(status, generation, "Running", "True", "Running", "Running reconciliation")
    if success:
        _set(status, generation, "Successful", "False", "", "")
    return status


def succeeded(obj: Object, stats: Stats) -> Object:
    """The status when a pass ended well."""
    status = _status(obj)
    generation = metadata(obj).get("generation")
    result, changed = _result(stats), bool(stats.changed)
    text = "Awaiting next reconciliation"
    _set(status, generation, "Running", "True", "Successful", text, result, anew=changed)
    _set(status, generation, "Successful", "True", "Successful", "Last reconciliation succeeded")
    _set(status, generation, "Failure", "False", "", "")
    return status | _observed(generation)


def failed(obj: Object, failure: Failure, stats: Stats | None) -> Object:
    """The status when a pass failed, for whatever reason: Running never stays True over a dead run."""
    status = _status(obj)
    generation = metadata(obj).get("generation")
    _set(status, generation, "Running", "False", "Failed", failure.message)
    result = _result(stats or Stats())
    _set(status, generation, "Failure", "True", failure.reason, failure.message, result, anew=True)
    _set(status, generation, "Successful", "False", "", "")
    return status | _observed(generation)


async def write_status(api: Api, resource: Resource, key: Key, obj: Object, change: Change) -> Object:
    """
    Apply ``change`` to the status of the object, and again to a fresh copy whenever somebody wrote in
    between.

    Nothing is sent if nothing changed. Returns the object as last seen.
    """
    path = resource.path(key.namespace, key.name)
    for _ in range(_TRIES):
        status = change(obj)
        if status == (obj.get("status") or {}):
            return obj
        version = metadata(obj)["resourceVersion"]
        try:
            return await api.patch(
                f"{path}/status" if resource.has_status else path,
                {"metadata": {"resourceVersion": version}, "status": status},
            )
        except ApiError as error:
            if error.status != 409:
                raise
        obj = await api.get(path)
    raise ApiError(409, f"the status of {key} changes faster than it can be written")


def _status(obj: Object) -> Object:
    """A copy that may be changed."""
    status = obj.get("status") or {}
    return {**status, "conditions": [dict(condition) for condition in status.get("conditions") or []]}


def _observed(generation: int | None) -> Object:
    return {} if generation is None else {"observedGeneration": generation}


def _find(conditions: list[Object], kind: str) -> Object | None:
    return next((condition for condition in conditions if condition.get("type") == kind), None)


def _set(
    status: Object,
    generation: int | None,
    kind: str,
    value: str,
    reason: str,
    message: str,
    result: dict[str, Any] | None = None,
    *,
    anew: bool = False,
) -> None:
    """
    Set one condition, keeping fields of it that we do not know; untouched if it already says so, unless its
    result is to be written ``anew``.
    """
    old = _find(status["conditions"], kind)
    said = old and (old.get("status"), old.get("reason", ""), old.get("observedGeneration", generation))
    if said == (value, reason, generation) and not anew:
        return
    condition = old if old is not None else {"type": kind}
    if old is None:
        status["conditions"].append(condition)
    if condition.get("status") != value:
        condition["lastTransitionTime"] = _now()
    condition |= {"status": value, "reason": reason, "message": message}
    condition |= _observed(generation)
    if result:
        condition |= {"ansibleResult": result}


def _result(stats: Stats) -> dict[str, Any]:
    return {
        "ok": stats.ok,
        "changed": stats.changed,
        "skipped": stats.skipped,
        "failures": stats.failures,
        "completion": datetime.now(UTC).isoformat(),
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
