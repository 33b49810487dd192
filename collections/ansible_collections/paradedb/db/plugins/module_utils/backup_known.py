"""The last good backups: by the reports of the programs, and by the status where those lack them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.backup_names import (
    BASE,
    DUMP,
    TASKS,
    VERIFY,
    place_of,
)
from ansible_collections.paradedb.db.plugins.module_utils.backup_reports import Document, moment, written_time

SLACK = timedelta(minutes=5)  # how far the clocks of two nodes may be apart
_NOTHING: Document = {}


def complete(documents: dict[str, Document], resource: dict[str, Any], volume: Any) -> dict[str, Document]:
    """The reports without what they say of another place, and with what the status knows of what they lack.

    ``volume``: the claim of the backups, where they are on one; what is older was on another.
    """
    status = resource.get("status") or {}
    place = place_of(resource["metadata"]["name"], resource["spec"])
    since = moment(volume["metadata"], "creationTimestamp") if volume else None
    told = _told(status, place)
    made = dict(documents)
    for kind in TASKS:
        said = _of_place(documents.get(kind, _NOTHING), place)
        last = _of_time(said.get("last") or told.get(kind) or _NOTHING, told.get(kind) or _NOTHING)
        finished = moment(last, "finished")
        made[kind] = said | {"last": _NOTHING if since and finished and finished < since else last}
    if (documents.get("archive") or _NOTHING).get("place", place) != place:
        made["archive"] = _NOTHING
    if "recovery" not in documents and status.get("recovery"):
        made["recovery"] = status["recovery"]
    return made


def _told(status: dict[str, Any], place: str) -> dict[str, Document]:
    """What the status says of successes in this place."""
    backup = status.get("backup") or {}
    if backup.get("place") != place:
        return {}
    verified = backup.get("verification") or {}
    return {
        DUMP: backup.get("dump") or {},
        BASE: backup.get("base") or {},
        VERIFY: verified if verified.get("result") == "succeeded" else {},
    }


def _of_place(said: Document, place: str) -> Document:
    """A report without what it says of another place; one that names none is of this."""
    last = said.get("last")
    if not isinstance(last, dict) or last.get("place", place) != place:
        said = said | {"last": {}}
    return said if said.get("place", place) == place else {"last": said["last"]}


def _of_time(last: Document, told: Document) -> Document:
    """A success with a time of the future, of a clock that was wrong, is as old as it is known."""
    now, finished = datetime.now(UTC), moment(last, "finished")
    if finished is None or finished < now + SLACK:
        return last
    first_seen = moment(told, "finished") if told.get("id") == last.get("id") else None
    seen = min(first_seen or now, now)
    return last | {"finished": written_time(seen)}
