"""What is to be said of a ParadeDB's backups: whether the last one is good, young, archived and verified."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from ansible_collections.paradedb.db.plugins.module_utils import archive_status, recovery_status
from ansible_collections.paradedb.db.plugins.module_utils.backup_names import BASE, DUMP, VERIFY
from ansible_collections.paradedb.db.plugins.module_utils.backup_reports import moment, number
from ansible_collections.paradedb.db.plugins.module_utils.backup_state import (
    FAILED,
    RUNNING,
    SUCCEEDED,
    Seen,
    interruption,
)
from ansible_collections.paradedb.db.plugins.module_utils.conditions import (
    BACKUP_HEALTHY,
    BACKUP_VERIFIED,
    CONTINUOUS_ARCHIVING,
    RECOVERED,
    Condition,
)
from ansible_collections.paradedb.db.plugins.module_utils.credentials import enabled
from ansible_collections.paradedb.db.plugins.module_utils.cron import next_start
from ansible_collections.paradedb.db.plugins.module_utils.quantity import written

Spec = dict[str, Any]

CONDITIONS = (BACKUP_HEALTHY, CONTINUOUS_ARCHIVING, BACKUP_VERIFIED, RECOVERED)

# The CRD's defaults, for a spec without them.
_SCHEDULES = {DUMP: "0 2 * * *", BASE: "0 1 * * 0", VERIFY: "0 5 * * 0"}
_DEADLINE = 21600  # seconds
_NO_START = 400  # days after which one is overdue whose schedule never starts


class Verdict(NamedTuple):
    """What one kind of work comes to."""

    ok: bool
    reason: str
    message: str
    since: datetime | None = None  # of what was told before: when it became so


class Words(NamedTuple):
    """The reasons of a condition, and what its work is called."""

    what: str
    good: str
    none: str
    overdue: str
    interrupted: str


_WORDS = {
    DUMP: Words("backup", "BackupSucceeded", "NoBackupYet", "BackupOverdue", "BackupInterrupted"),
    BASE: Words("base backup", "BackupSucceeded", "NoBackupYet", "BackupOverdue", "BackupInterrupted"),
    VERIFY: Words(
        "verification",
        "VerificationSucceeded",
        "NotVerifiedYet",
        "VerificationOverdue",
        "VerificationInterrupted",
    ),
}


def wanted(spec: Spec) -> dict[str, bool]:
    """The conditions about backups, and whether the spec asks for what they speak of."""
    on, backup = enabled(spec, "backup"), spec.get("backup") or {}
    return {
        BACKUP_HEALTHY: on,
        CONTINUOUS_ARCHIVING: on and enabled(backup, "continuous"),
        BACKUP_VERIFIED: on and backup.get("verify") is not None,
        RECOVERED: bool(recovery_status.asked(spec)),
    }


def kinds(spec: Spec) -> list[str]:
    """The kinds of work that the spec asks for."""
    asked = wanted(spec)
    made = {DUMP: BACKUP_HEALTHY, BASE: CONTINUOUS_ARCHIVING, VERIFY: BACKUP_VERIFIED}
    return [kind for kind, condition in made.items() if asked[condition]]


def checks(seen: Seen, spec: Spec, told: list[Condition], now: datetime) -> list[dict[str, Any]]:
    """The checks of what the spec asks for. ``told``: the conditions as they are."""
    before = {item["type"]: _told(item) for item in told}
    judges: dict[str, Callable[[Verdict | None], Verdict | None]] = {
        BACKUP_HEALTHY: lambda known: _backups(seen, spec, known, now),
        CONTINUOUS_ARCHIVING: lambda known: (
            Verdict(*found) if (found := archive_status.judge(seen, spec, now)) else known
        ),
        BACKUP_VERIFIED: lambda known: _verification(seen, spec, known, now),
        RECOVERED: lambda known: _recovery(seen, known),
    }
    asked = [name for name, there in wanted(spec).items() if there]
    made = ((name, judges[name](before.get(name))) for name in asked)
    return [
        {"type": name, "ok": verdict.ok, "reason": verdict.reason, "message": verdict.message}
        for name, verdict in made
        if verdict
    ]


def _told(item: Condition) -> Verdict:
    since = moment(item, "lastTransitionTime")
    return Verdict(item["status"] == "True", item["reason"], item["message"], since)


def _backups(seen: Seen, spec: Spec, known: Verdict | None, now: datetime) -> Verdict:
    """Dumps and base backups together: the first that is not good, all that is wrong in its message.

    One that is being made changes nothing: its last one counts until it is done.
    """
    found = [_verdict(seen, kind, spec, now, known) for kind in kinds(spec) if kind != VERIFY]
    if _holds(known, any(is_going(seen, kind) for kind in (DUMP, BASE)), _WORDS[DUMP]):
        return known  # type: ignore[return-value]
    told = [item for item in found if not item.ok] or found
    return Verdict(told[0].ok, told[0].reason, _sentences(*dict.fromkeys(item.message for item in told)))


def _verification(seen: Seen, spec: Spec, known: Verdict | None, now: datetime) -> Verdict:
    if _holds(known, is_going(seen, VERIFY), _WORDS[VERIFY]):
        return known  # type: ignore[return-value]
    return _verdict(seen, VERIFY, spec, now, known)


def _holds(known: Verdict | None, going: bool, words: Words) -> bool:
    """Whether what was known before is still to be told: what was wrong, until the next one is done."""
    return going and known is not None and not known.ok and known.reason != words.none


def _recovery(seen: Seen, known: Verdict | None) -> Verdict:
    """One that failed is tried again and again: that is told once, until it succeeds."""
    found = Verdict(*recovery_status.judge(seen))
    again = found.reason == recovery_status.ON_ITS_WAY and known is not None and not known.ok
    return known if known and again else found


def is_going(seen: Seen, kind: str) -> bool:
    """Whether one is being made now, and says so."""
    return seen.document(kind).get("state") == RUNNING and seen.runs(kind)


def _verdict(seen: Seen, kind: str, spec: Spec, now: datetime, known: Verdict | None) -> Verdict:
    """What is to be said of one kind of work."""
    words, said, last = _WORDS[kind], seen.document(kind), seen.last(kind)
    ended = moment(last, "finished")
    if why := interruption(seen, kind):
        message = f"The last {words.what} did not end: {why}"
        return Verdict(False, words.interrupted, _sentences(message, _still(words, last, now)))
    if said.get("state") == FAILED:
        message = str(said.get("message") or f"The last {words.what} failed")
        message = _sentences(message, _still(words, last, now))
        return Verdict(False, str(said.get("reason") or "BackupFailed"), message)
    schedule = _schedule(spec, kind)
    if ended is None:
        return _none(seen, kind, spec, now, known)
    if not (spec.get("hibernate") or is_going(seen, kind)) and now > _latest(schedule, ended, spec):
        message = f"The last {words.what} ended {ago(ended, now)}, two starts of {schedule!r} ago"
        return Verdict(False, words.overdue, f"{message}: see kubectl get cronjobs,jobs,pods")
    size = f" ({written(number(last, 'bytes'))})" if number(last, "bytes") else ""
    message = f"The last {words.what}, {last.get('id', 'unnamed')}{size}, ended {ago(ended, now)}"
    warning = said.get("message") if said.get("state") == SUCCEEDED else ""
    return Verdict(True, words.good, f"{message}; {warning}" if warning else message)


def _none(seen: Seen, kind: str, spec: Spec, now: datetime, known: Verdict | None) -> Verdict:
    """There is no success yet; that is told for as long as a success may get old, and then as overdue."""
    words, schedule = _WORDS[kind], _schedule(spec, kind)
    waited = known.since if known and known.reason in (words.none, words.overdue) else None
    if (
        waited
        and not (spec.get("hibernate") or is_going(seen, kind))
        and now > _latest(schedule, waited, spec)
    ):
        message = f"There was no {words.what} yet, though {schedule!r} began twice"
        return Verdict(False, words.overdue, f"{message}: see kubectl get cronjobs,jobs,pods")
    due = next_start(schedule, now)
    when = f"; the next starts at {due:%Y-%m-%dT%H:%MZ}" if due else ""
    if seen.runs(kind):
        name = seen.jobs[kind][-1]["metadata"]["name"]
        when = (
            f"; Job {name} is to make it, see kubectl describe pods -l job-name={name} if it does not begin"
        )
    return Verdict(False, words.none, f"There was no {words.what} yet{when}")


def _schedule(spec: Spec, kind: str) -> str:
    backup = spec["backup"]
    place = {DUMP: backup, BASE: backup.get("continuous"), VERIFY: backup.get("verify")}[kind] or {}
    return str(place.get("schedule") or _SCHEDULES[kind])


def _latest(schedule: str, ended: datetime, spec: Spec) -> datetime:
    """When the next success must be there: at the second start since the last, and the time it may take."""
    first = next_start(schedule, ended)
    second = next_start(schedule, first) if first else None
    if second is None:
        second = ended + timedelta(days=_NO_START)
    return second + timedelta(seconds=int(spec["backup"].get("activeDeadlineSeconds") or _DEADLINE))


def _still(words: Words, last: dict[str, Any], now: datetime) -> str:
    ended = moment(last, "finished")
    return (
        f"The last good {words.what} ended {ago(ended, now)}"
        if ended
        else f"There is no good {words.what} yet"
    )


def _sentences(*texts: str) -> str:
    return ". ".join(text.rstrip(". ") for text in texts).replace("?.", "?")


def ago(then: datetime, now: datetime) -> str:
    """When and how long ago, in words that change once a day, since each change is a write of the status."""
    days = max((now - then).days, 0)
    age = ("less than a day ago", "a day ago")[days] if days < 2 else f"{days} days ago"
    return f"{age}, at {then:%Y-%m-%dT%H:%MZ}"
