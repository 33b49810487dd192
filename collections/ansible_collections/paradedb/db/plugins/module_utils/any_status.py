"""The status of any resource: merge what is given into what is there, write once, and only a change."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.any_kind import discover, shown
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, KubeError, Object

_TRIES = 5  # others write the same status: the runner, other controllers

# By the rules of Kubernetes' own Condition.
_TYPE = re.compile(
    r"(?:[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?"
)
_REASON = re.compile(r"[A-Za-z](?:[A-Za-z0-9_,:]*[A-Za-z0-9_])?")
_DATE, _CLOCK = r"[0-9]{4}-[0-9]{2}-[0-9]{2}", r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?"
_TIME = re.compile(rf"{_DATE}[T ]{_CLOCK}(?:[+-][0-9]{{2}}:[0-9]{{2}}|Z)")
_LONGEST_TYPE, _LONGEST_REASON = 316, 1024


def write(
    kube: Kube,
    where: Object,
    status: Object,
    conditions: list[Object] | None,
    replace: bool,
    check_mode: bool,
) -> dict[str, Any]:
    """Give the object at ``where`` (api_version, kind, namespace, name) the status.

    Without ``replace`` it is merged: mappings key by key (null takes a key out), conditions by their type,
    anything else as a whole. Raises Refused and KubeError.
    """
    given = status if conditions is None else status | {"conditions": checked(conditions)}
    if not isinstance(given.get("conditions") or [], list):
        raise Refused("InvalidStatus", "status.conditions", "is not a list")
    kind = discover(kube, where["api_version"], where["kind"])
    if not kind.has_status:
        raise Refused(
            "NoStatus",
            "kind",
            f"{kind.kind} of {kind.api_version} has no status subresource; if the kind is yours, add "
            "'subresources: {status: {}}' to the version in its CustomResourceDefinition",
        )
    path = kind.path(where["namespace"], where["name"])
    for attempt in range(1, _TRIES + 1):
        found = _read(kube, path, f"{kind.kind} {where['name']}")
        before = found.get("status") or {}
        wanted = desired(before, given, replace, _now())
        if wanted == before:
            return _result(found, before, wanted)
        try:
            return _result(_patch(kube, path, found, before, wanted, check_mode), before, wanted)
        except KubeError as error:
            if error.status != 409 or attempt == _TRIES:
                raise
    raise AssertionError("the last attempt returned or raised")


def checked(conditions: list[Object]) -> list[Object]:
    """The conditions without empty options, with times as Kubernetes writes them. Raises Refused."""
    found = [_condition(f"conditions[{index}]", item) for index, item in enumerate(conditions)]
    types = [item["type"] for item in found]
    for index, name in enumerate(types):
        if name in types[:index]:
            raise Refused("InvalidCondition", f"conditions[{index}].type", f"{name} is given twice")
    return found


def desired(before: Object, given: Object, replace: bool, now: str) -> Object:
    """The status to be."""
    status = _merged({} if replace else before, given)
    if isinstance(given.get("conditions"), list):
        old = before.get("conditions")
        old = old if isinstance(old, list) else []
        status["conditions"] = _merge_conditions(old, given["conditions"], replace, now)
    return status


def _condition(field: str, given: Object) -> Object:
    condition = {name: value for name, value in given.items() if value is not None}
    name, reason = condition["type"], condition.get("reason")
    if len(name) > _LONGEST_TYPE or not _TYPE.fullmatch(name):
        raise Refused("InvalidCondition", f"{field}.type", f"{name[:80]!r} is not a word such as Ready")
    if reason and (len(reason) > _LONGEST_REASON or not _REASON.fullmatch(reason)):
        words = f"{reason[:80]!r} is not one CamelCase word such as PingFailed"
        raise Refused("InvalidCondition", f"{field}.reason", words)
    for time in ("lastTransitionTime", "lastHeartbeatTime"):
        if text := condition.pop(time, ""):
            condition[time] = _time(f"{field}.{time}", text)
    return condition


def _time(field: str, text: str) -> str:
    try:
        if not _TIME.fullmatch(text):
            raise ValueError
        return _written(datetime.fromisoformat(text).astimezone(UTC))
    except (ValueError, OverflowError):
        raise Refused(
            "InvalidCondition", field, f"{text[:80]!r} is not a time such as 2026-01-31T12:00:00Z (RFC 3339)"
        ) from None


def _merged(before: Any, given: Any) -> Any:
    """JSON merge patch (RFC 7396) of ``given`` over ``before``."""
    if not isinstance(given, dict):
        return given
    result = dict(before) if isinstance(before, dict) else {}
    for name, value in given.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result


def _merge_conditions(old: list[Any], given: list[Any], replace: bool, now: str) -> list[Any]:
    """The given conditions in the places of those of the same type; the others stay, unless ``replace``."""
    known = {name: item for item in old if (name := _type(item))}
    new: dict[str, Object] = {}
    for index, item in enumerate(given):
        if not _type(item):
            raise Refused("InvalidCondition", f"status.conditions[{index}]", "has no type")
        new[item["type"]] = _transition(known.get(item["type"]), item, now)
    if replace:
        return list(new.values())
    kept = [new.pop(_type(item), item) for item in old]
    return [*kept, *new.values()]


def _type(condition: Any) -> str:
    """The type of what should be a condition, empty when it is none."""
    name = condition.get("type") if isinstance(condition, dict) else None
    return name if isinstance(name, str) else ""


def _transition(old: Object | None, given: Object, now: str) -> Object:
    """The condition with the time of its last transition, which is when its status changed."""
    if old is None or old.get("status") != given.get("status") or not old.get("lastTransitionTime"):
        return {"lastTransitionTime": now, **given}
    if all(old.get(name) == value for name, value in given.items() if name != "lastTransitionTime"):
        return old
    return given | {"lastTransitionTime": old["lastTransitionTime"]}


def _read(kube: Kube, path: str, words: str) -> Object:
    try:
        return kube.request("GET", path)
    except KubeError as error:
        if error.status != 404:
            raise
        raise Refused("NotFound", "name", f"there is no {words}") from None


def _patch(kube: Kube, path: str, found: Object, before: Object, wanted: Object, check_mode: bool) -> Object:
    """Write the difference. KubeError 409 says that somebody wrote since ``found`` was read."""
    body = {
        "metadata": {"resourceVersion": found["metadata"]["resourceVersion"]},
        "status": _difference(before, wanted),
    }
    query = {"dryRun": "All"} if check_mode else {}
    return kube.request("PATCH", f"{path}/status", body, query, "application/merge-patch+json")


def _difference(before: Object, wanted: Object) -> Object:
    """The JSON merge patch from one to the other."""
    patch: Object = {name: None for name in before if name not in wanted}
    for name, value in wanted.items():
        old = before.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            if value != old:
                patch[name] = _difference(old, value)
        elif name not in before or value != old:
            patch[name] = value
    return patch


def _result(found: Object, before: Object, wanted: Object) -> dict[str, Any]:
    after = found.get("status") or {}
    dropped = [
        f"{field} is not in the schema of the kind, the API server dropped it"
        for field in _missing("status", wanted, after)
    ]
    result = {
        "changed": after != before,
        "result": shown(found),
        "diff": {"before": before, "after": after},
    }
    return result | ({"warnings": dropped} if dropped else {})


def _missing(field: str, wanted: Object, found: Object) -> list[str]:
    """Paths of the fields of ``wanted`` that ``found`` does not have."""
    missing = []
    for name, value in wanted.items():
        if name not in found:
            missing.append(f"{field}.{name}")
        elif isinstance(value, dict) and isinstance(found[name], dict):
            missing += _missing(f"{field}.{name}", value, found[name])
    return missing


def _now() -> str:
    return _written(datetime.now(UTC))


def _written(moment: datetime) -> str:
    return moment.replace(microsecond=0, tzinfo=None).isoformat() + "Z"
