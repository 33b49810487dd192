"""Which backups stay."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Sequence
from datetime import UTC, datetime

from paradedb_backup import catalog
from paradedb_backup.catalog import Backup
from paradedb_backup.config import Retention
from paradedb_backup.problems import Problem
from paradedb_backup.store import Store


def kept(backups: Sequence[Backup], retention: Retention) -> set[str]:
    """Ids of the backups that stay: those that any of the three rules keeps.

    `last`: so many newest. `daily`, `weekly`: the newest of each of so many newest days, ISO weeks, that have
    one, by the time in UTC at which they began. Newer is who has the higher sequence, whatever the clock
    said. The newest of all stays in any case.
    """
    newest_first = sorted(backups, key=lambda backup: (backup.sequence, backup.id), reverse=True)
    return (
        {backup.id for backup in newest_first[: max(retention.last, 1)]}
        | _first_of_each(newest_first, retention.daily, lambda moment: moment.date())
        | _first_of_each(newest_first, retention.weekly, lambda moment: moment.isocalendar()[:2])
    )


def _first_of_each(
    newest_first: Sequence[Backup], most: int, period: Callable[[datetime], Hashable]
) -> set[str]:
    """Ids of the first backup of each of the first `most` periods met."""
    first: dict[Hashable, str] = {}
    for backup in newest_first:
        first.setdefault(period(backup.started.astimezone(UTC)), backup.id)
    return set(list(first.values())[:most])


def apply(store: Store, retention: Retention | None, made: str, deadline: float) -> str:
    """Removes, after the backup `made` is complete, older ones that need not stay, and what runs older than
    the deadline, in seconds, left behind. A warning when that failed, which takes nothing from the success of
    the backup."""
    try:
        every = catalog.backups(store)
        ids = {backup.id for backup in every}
        stay = ids if retention is None else kept(every, retention) | {made}
        if made not in ids:
            return f"nothing was removed: the place does not list the backup {made} just made"
        for backup in every:
            if backup.id not in stay:
                print(f"removing the backup {backup.id}: the retention policy keeps it no longer", flush=True)
                store.withdraw(backup.id)
        for run in store.remnants(deadline):
            print(f"removing {run}: what is left of a run that did not end", flush=True)
            store.withdraw(run)
        store.sweep(deadline)
    except Problem as problem:
        print(f"old backups could not be removed: {problem}", file=sys.stderr, flush=True)
        return f"the backup is complete, but old ones could not be removed: {problem.message}"
    return ""
