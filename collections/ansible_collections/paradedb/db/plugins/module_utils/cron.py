"""When a schedule of five cron fields starts next, as the CronJob controller reads it.

Rules: https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax. Times are UTC.
"""

from __future__ import annotations

from datetime import datetime, timedelta

_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_LONGEST = 366 * 8 + 2  # days until the next 29 February, over a year that has none in its century


def next_start(schedule: str, after: datetime) -> datetime | None:
    """The first start later than ``after``; None when there is none, or the schedule cannot be read."""
    try:
        minutes, hours, days, months, weekdays = _fields(schedule)
    except ValueError:
        return None
    either = _restricted(schedule, 2) and _restricted(schedule, 4)
    moment = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
    for _ in range(_LONGEST):
        on_day, on_weekday = moment.day in days, moment.isoweekday() % 7 in weekdays
        suits = on_day or on_weekday if either else on_day and on_weekday
        if suits and moment.month in months:
            found = _in_day(moment, hours, minutes)
            if found:
                return found
        moment = moment.replace(hour=0, minute=0) + timedelta(days=1)
    return None


def _in_day(moment: datetime, hours: set[int], minutes: set[int]) -> datetime | None:
    """The first start of that day that is not before ``moment``."""
    for hour in sorted(hours):
        for minute in sorted(minutes):
            if (hour, minute) >= (moment.hour, moment.minute):
                return moment.replace(hour=hour, minute=minute)
    return None


def _restricted(schedule: str, position: int) -> bool:
    """Whether a field of days names some. Where both do, a day that either of them names is enough."""
    parts = _NAMED.get(schedule, schedule).split()[position].split(",")
    return not {"*", "?", "*/1"} & set(parts)


def _fields(schedule: str) -> tuple[set[int], ...]:
    """The values of the five fields. Raises ValueError."""
    minute, hour, day, month, weekday = _NAMED.get(schedule, schedule).split()
    return (
        _values(minute, 0, 59),
        _values(hour, 0, 23),
        _values(day, 1, 31),
        _values(month, 1, 12, {name: number for number, name in enumerate(_MONTHS, start=1)}),
        _values(weekday, 0, 6, {name: number for number, name in enumerate(_WEEKDAYS)}),
    )


def _values(field: str, low: int, high: int, names: dict[str, int] | None = None) -> set[int]:
    """The values of ``1,5-9,*/10``. Raises ValueError."""
    found: set[int] = set()
    for part in filter(None, field.split(",")):  # Kubernetes takes an empty one, and so do we
        span, _slash, step = part.partition("/")
        first, _dash, last = span.partition("-")
        begin = low if first in ("*", "?") else _number(first, names or {})
        # "5/10" goes on to the end, as "5-59/10" does.
        end = _number(last, names or {}) if last else (high if first in ("*", "?") or step else begin)
        if not low <= begin <= end <= high:
            raise ValueError(f"{part!r} is not within {low}-{high}")
        found |= set(range(begin, end + 1, int(step or 1)))
    return found


def _number(word: str, names: dict[str, int]) -> int:
    return names[word.upper()] if word.upper() in names else int(word)
