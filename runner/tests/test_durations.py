"""Durations as Go writes them."""

import pytest
from paradedb_runner.watches.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("30s", 30),
        ("+30s", 30),
        ("1h30m", 5400),
        ("1h0m5s", 3605),
        ("500ms", 0.5),
        ("1.5m", 90),
        (".5s", 0.5),
        ("2.s", 2),
        ("3us", 3e-6),
        ("3µs", 3e-6),
        ("3μs", 3e-6),
        ("7ns", 7e-9),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "s", "-5s", "5 s", "5x", "1h-5m", "5 minutes", "1d", "\u0665s", ".s"]
)
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="is not a duration such as"):
        parse_duration(text)
