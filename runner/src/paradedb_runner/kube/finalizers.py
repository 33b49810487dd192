"""Adding and dropping our finalizer by JSON patches that fail if anybody changed the list meanwhile."""

from collections.abc import Callable
from typing import Any

from paradedb_runner.kube.api import JSON_PATCH, Api, ApiError
from paradedb_runner.kube.objects import Object, is_deleting, metadata

_TRIES = 5
_CHANGED = {409, 422}  # 422 is how a failed test in a JSON patch is reported


def has_finalizer(obj: Object, name: str) -> bool:
    """Whether the object waits for us."""
    return name in (metadata(obj).get("finalizers") or [])


async def add_finalizer(api: Api, path: str, obj: Object, name: str) -> Object:
    """Add it unless the object has it or is being deleted. Returns the object as it is now."""
    return await _change(
        api, path, obj, lambda now: not is_deleting(now) and not has_finalizer(now, name), _add, name
    )


async def drop_finalizer(api: Api, path: str, obj: Object, name: str) -> None:
    """
    Remove exactly ours, so that the deletion goes on. An object that is gone, or another of its name, is
    left.
    """
    uid = metadata(obj)["uid"]
    try:
        await _change(
            api, path, obj, lambda now: metadata(now)["uid"] == uid and has_finalizer(now, name), _drop, name
        )
    except ApiError as error:
        if error.status != 404:
            raise


async def _change(
    api: Api,
    path: str,
    obj: Object,
    wanted: Callable[[Object], bool],
    operations: Callable[[list[str], str], list[dict[str, Any]]],
    name: str,
) -> Object:
    for attempt in range(_TRIES):
        if not wanted(obj):
            return obj
        meta = metadata(obj)
        current = meta.get("finalizers") or []
        test = (
            {"op": "test", "path": "/metadata/finalizers", "value": current}
            if current
            else {"op": "test", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"]}
        )
        same = {"op": "test", "path": "/metadata/uid", "value": meta["uid"]}
        try:
            return await api.patch(path, [same, test, *operations(current, name)], JSON_PATCH)
        except ApiError as error:
            if error.status not in _CHANGED or attempt == _TRIES - 1:
                raise
        obj = await api.get(path)
    return obj


def _add(current: list[str], name: str) -> list[dict[str, Any]]:
    if current:
        return [{"op": "add", "path": "/metadata/finalizers/-", "value": name}]
    return [{"op": "add", "path": "/metadata/finalizers", "value": [name]}]


def _drop(current: list[str], name: str) -> list[dict[str, Any]]:
    return [{"op": "remove", "path": f"/metadata/finalizers/{current.index(name)}"}]
