"""Schedules of five fields: their next start, as the CronJob controller finds it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from ansible_collections.paradedb.db.plugins.module_utils.cron import next_start


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("0 2 * * *", "2026-11-24T01:59:59", "2026-11-24T02:00"),
        ("0 2 * * *", "2026-11-24T02:00:00", "2026-11-25T02:00"),  # later, not at the same moment
        ("*/15 * * * *", "2026-11-24T01:46", "2026-11-24T02:00"),
        ("5/20 * * * *", "2026-11-24T01:46", "2026-11-24T02:05"),
        ("0 9-17/4 * * *", "2026-11-24T13:30", "2026-11-24T17:00"),
        ("30 23 31 12 *", "2026-12-31T23:30", "2027-12-31T23:30"),
        ("0 0 29 2 *", "2028-02-29T00:00", "2032-02-29T00:00"),
        ("0 0 29 2 *", "2096-03-01T00:00", "2104-02-29T00:00"),
        ("0 1 * * 0", "2026-11-24T00:00", "2026-11-29T01:00"),
        ("0 1 * * SUN", "2026-11-24T00:00", "2026-11-29T01:00"),
        ("0 1 ? jan,MAR mon-fri", "2026-11-24T00:00", "2027-01-01T01:00"),
        ("0 0 13 * 5", "2026-11-24T00:00", "2026-11-27T00:00"),  # both days given: either is enough
        ("0 0 */1 * 5", "2026-11-24T00:00", "2026-11-27T00:00"),
        ("0,30, * * * *", "2026-11-24T01:46", "2026-11-24T02:00"),
        ("@hourly", "2026-11-24T01:46", "2026-11-24T02:00"),
        ("@weekly", "2026-11-24T01:46", "2026-11-29T00:00"),
        ("@yearly", "2026-11-24T01:46", "2027-01-01T00:00"),
    ],
)
def test_the_next_start(schedule: str, after: str, expected: str) -> None:
    assert next_start(schedule, at(after)) == at(expected)


@pytest.mark.parametrize(
    "schedule", ["0 0 30 2 *", "", "x", "0 0 * *", "99 * * * *", "*/0 * * * *", "5-1 * * * *"]
)
def test_what_never_starts(schedule: str) -> None:
    assert next_start(schedule, at("2026-11-24T00:00")) is None
