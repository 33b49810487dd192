"""Kubernetes events on the resource, for whoever reads ``kubectl describe``."""

from __future__ import annotations

import contextlib
import secrets

from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, KubeError, Object

LONGEST_MESSAGE = 1024  # the API server's limit, in bytes


_TRIES = 5  # somebody else may write the same event, and the API server forgets events


def emit(kube: Kube, resource: Object, event: dict[str, str], now: str) -> None:
    """Write one event (``type``, ``reason``, ``message``) about the resource.

    An event is told or not: a quota, or a namespace that is being deleted, must not fail a pass.
    """
    metadata = resource["metadata"]
    involved = {key: resource[key] for key in ("apiVersion", "kind")}
    involved |= {key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion")}
    place = {"name": f"{metadata['name']}.{secrets.token_hex(8)}", "namespace": metadata["namespace"]}
    definition = event_object(place, involved, event, now)
    definition["source"] = {"component": "paradedb-operator"}
    definition["reportingComponent"] = "database.paradedb.io/paradedb-operator"
    with contextlib.suppress(KubeError):
        kube.create(definition)


def event_object(place: Object, involved: Object, event: dict[str, str], now: str) -> Object:
    """An event that happened once; ``place`` is its own name and namespace, ``involved`` what it is about."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": place,
        "involvedObject": involved,
        "type": event["type"],
        "reason": event["reason"],
        "message": event["message"].encode(errors="replace")[:LONGEST_MESSAGE].decode(errors="ignore"),
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def record(kube: Kube, definition: Object, check_mode: bool) -> Object:
    """Create the event, or count it up when one of its name and reason is there; the event as it is then.

    Raises KubeError when the API server refuses it.
    """
    namespace, name = definition["metadata"]["namespace"], definition["metadata"]["name"]
    for attempt in range(1, _TRIES + 1):
        known = kube.get("v1", "Event", namespace, name)
        wanted = _counted(known, definition) if known else definition
        if check_mode:
            return wanted
        try:
            return kube.merge_patch(known, wanted) if known else kube.create(wanted)
        except KubeError as error:
            if error.status not in (404, 409) or attempt == _TRIES:
                raise
    raise AssertionError("the last attempt returned or raised")


def _counted(known: Object, definition: Object) -> Object:
    """The definition as one more of ``known``, or as the first of a new reason; while that is as read."""
    version = {"resourceVersion": known["metadata"]["resourceVersion"]}
    wanted = definition | {"metadata": definition["metadata"] | version}
    if known.get("reason") != definition["reason"]:
        return wanted
    first = known.get("firstTimestamp") or definition["firstTimestamp"]
    return wanted | {"count": (known.get("count") or 1) + 1, "firstTimestamp": first}
