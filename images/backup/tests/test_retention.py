"""Which backups stay: the rules against an independent reading of them, over simulated years, and in both
stores."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from paradedb_backup import catalog, retention, times
from paradedb_backup.catalog import Backup
from paradedb_backup.config import Config, Retention
from paradedb_backup.problems import Problem
from paradedb_backup.store import Store, open_store

POLICIES = [
    Retention(7, 7, 4),
    Retention(1, 0, 0),
    Retention(0, 1, 0),
    Retention(0, 0, 1),
    Retention(0, 30, 52),
    Retention(3, 2, 60),
    Retention(0, 0, 0),
]


def backup(sequence: int, started: datetime) -> Backup:
    return Backup(f"{started:%Y%m%dT%H%M%SZ}-{sequence:04x}", sequence, started, started, 1, {})


def naive(backups: list[Backup], policy: Retention) -> set[str]:
    """The rules word by word: for every backup, count what is newer."""
    stay = set()
    for one in backups:
        newer = [other for other in backups if other.sequence > one.sequence]
        day = one.started.strftime("%Y-%m-%d")
        week = one.started.strftime("%G-%V")
        newer_days = {other.started.strftime("%Y-%m-%d") for other in newer}
        newer_weeks = {other.started.strftime("%G-%V") for other in newer}
        if (
            len(newer) < policy.last
            or (day not in newer_days and len(newer_days) < policy.daily)
            or (week not in newer_weeks and len(newer_weeks) < policy.weekly)
            or not newer
        ):
            stay.add(one.id)
    return stay


def year(random_: random.Random) -> Iterator[datetime]:
    """When backups begin: some days with several, some with none, and now and then a clock that is set."""
    moment = datetime(random_.randint(2015, 2032), 1, 1, tzinfo=UTC)
    end = moment + timedelta(days=366)
    while moment < end:
        yield moment
        moment += timedelta(hours=random_.choice([1, 6, 12, 24, 24, 24, 25, 24 * 9]))
        if random_.random() < 0.02:
            moment -= timedelta(days=random_.randint(1, 20))
        if random_.random() < 0.01:
            moment += timedelta(days=random_.randint(1, 40))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_every_backup_of_a_year(policy: Retention, seed: int) -> None:
    """The policy is applied after every backup, as the program does it."""
    held: list[Backup] = []
    for sequence, moment in enumerate(year(random.Random(seed)), 1):  # noqa: S311
        held.append(backup(sequence, moment))
        expected = naive(held, policy)
        shuffled = random.Random(sequence).sample(held, len(held))  # noqa: S311
        assert retention.kept(shuffled, policy) == expected
        held = [one for one in held if one.id in expected]


def test_what_the_default_keeps_of_a_year_of_daily_backups() -> None:
    """7 last, 7 days, 4 weeks: the last days of 2026, and the Sundays of three weeks before."""
    held: list[Backup] = []
    for number in range(365):
        held.append(backup(number, datetime(2026, 1, 1, 2, tzinfo=UTC) + timedelta(days=number)))
        stay = retention.kept(held, POLICIES[0])
        held = [one for one in held if one.id in stay]
    days = [one.started.strftime("%m-%d") for one in held]
    assert days == ["12-13", "12-20", "12-25", "12-26", "12-27", "12-28", "12-29", "12-30", "12-31"]


def test_a_clock_that_was_a_year_ahead_does_not_make_old_backups_newest() -> None:
    ahead = backup(1, datetime(2027, 6, 1, tzinfo=UTC))
    right = [backup(number, datetime(2026, 6, number, tzinfo=UTC)) for number in range(2, 5)]
    assert retention.kept([ahead, *right], Retention(2, 0, 0)) == {right[-1].id, right[-2].id}


def stored(store: Store, sequence: int, moment: datetime) -> str:
    """A complete backup as the program writes it."""
    run = times.new_id(moment)
    manifest = {"version": 1, "sequence": sequence, "bytes": 4, "databases": []}
    manifest |= {"started": times.text(moment), "finished": times.text(moment)}
    store.put(f"{store.draft(run)}/0.dump", b"data")
    store.put(f"{store.draft(run)}/{catalog.MANIFEST}", json.dumps(manifest).encode())
    store.publish(run)
    return run


def test_a_store_over_weeks_holds_what_the_rules_say(settings: Config) -> None:
    store, policy = open_store(settings), Retention(2, 3, 2)
    held: list[Backup] = []
    for sequence in range(1, 22):
        moment = datetime(2026, 12, 20, tzinfo=UTC) + timedelta(hours=18 * sequence)
        run = stored(store, sequence, moment)
        held.append(Backup(run, sequence, moment, moment, 4, {}))
        stay = naive(held, policy)
        held = [one for one in held if one.id in stay]
        assert retention.apply(store, policy, run, 3600) == ""
        assert [one.id for one in catalog.backups(store)] == [one.id for one in held]
    folders = {entry.name.split("/")[1] for entry in store.entries("dumps")}
    assert folders == {one.id for one in held}


def test_a_young_draft_and_a_damaged_backup_stay(settings: Config) -> None:
    store = open_store(settings)
    runs = [stored(store, number, datetime(2026, 5, number, tzinfo=UTC)) for number in range(1, 4)]
    store.put(f"{store.draft('20260503T000000Z-ffff')}/0.dump", b"half")
    store.put(f"dumps/{runs[0]}/{catalog.MANIFEST}", b"{")
    retention.apply(store, Retention(1, 0, 0), runs[2], 3600)
    assert [one.id for one in catalog.backups(store)] == runs[2:]
    names = {entry.name for entry in store.entries("dumps")}
    assert f"dumps/{runs[0]}/0.dump" in names
    assert f"{store.draft('20260503T000000Z-ffff')}/0.dump" in names


def test_without_a_policy_nothing_goes(settings: Config) -> None:
    store = open_store(settings)
    runs = [stored(store, number, datetime(2026, 5, number, tzinfo=UTC)) for number in range(1, 4)]
    assert retention.apply(store, None, runs[2], 3600) == ""
    assert [one.id for one in catalog.backups(store)] == runs


def test_an_old_draft_goes(settings: Config) -> None:
    store = open_store(settings)
    store.put(f"{store.draft('20260503T000000Z-ffff')}/0.dump", b"half")
    run = stored(store, 1, datetime(2026, 5, 4, tzinfo=UTC))
    retention.apply(store, Retention(1, 0, 0), run, -1)
    assert {entry.name.split("/")[1] for entry in store.entries("dumps")} == {run}


def test_a_store_that_does_not_list_the_new_backup_loses_nothing(settings: Config) -> None:
    store = open_store(settings)
    runs = [stored(store, number, datetime(2026, 5, number, tzinfo=UTC)) for number in range(1, 4)]
    assert "does not list" in retention.apply(store, Retention(1, 0, 0), "20270101T000000Z-0000", 3600)
    assert [one.id for one in catalog.backups(store)] == runs


def test_a_removal_that_fails_is_told(settings: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(settings)
    runs = [stored(store, number, datetime(2026, 5, number, tzinfo=UTC)) for number in range(1, 4)]

    def refused(_run: str) -> None:
        raise Problem("AccessDenied", "may not delete")

    monkeypatch.setattr(store, "withdraw", refused)
    assert "may not delete" in retention.apply(store, Retention(1, 0, 0), runs[2], 3600)
