"""Durations as Go writes them, and the module that hands one to the runner."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.paradedb.db.plugins.module_utils import execution
from ansible_collections.paradedb.db.plugins.module_utils.durations import seconds
from ansible_collections.paradedb.db.plugins.modules.requeue_after import ARGUMENT_SPEC, run


def ask(time: Any) -> dict[str, Any]:
    return execution.run_in_process(run, ArgumentSpecValidator(ARGUMENT_SPEC), {"time": time}, False)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1h30m", 5400),
        ("24h", 86400),
        ("5s", 5),
        ("500ms", 0.5),
        ("1.5s", 1.5),
        (".5m", 30),
        ("2.h", 7200),
        ("1h0m0.25s", 3600.25),
        ("1us", 1e-6),
        ("1µs", 1e-6),
        ("1ns", 1e-9),
        ("30", 30),
        ("2.5", 2.5),
        ("0", 0),
        ("0s", 0),
    ],
)
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


def test_whole_seconds_are_whole_numbers() -> None:
    assert isinstance(seconds("90s"), int)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "soon",
        "5 s",
        "5s ",
        "-5s",
        "+5s",
        "1d",
        "1H",
        "s",
        "1:30",
        "1e3",
        "inf",
        "nan",
        "0x10",
        ".",
        ".s",
    ],
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration such as"):
        seconds(text)


@pytest.mark.parametrize("text", ["\u0665s", "1h\n", "30\n", "5s\x00", "1h-30m", "1h,30m"])
def test_no_odd_character_gets_in(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        seconds(text)


@pytest.mark.parametrize("text", ["2562048h", "9" * 400, "9" * 400 + "h", "9223372037"])
def test_longer_than_go_can_count(text: str) -> None:
    with pytest.raises(ValueError, match="292 years"):
        seconds(text)


def test_the_longest_is_taken() -> None:
    assert seconds("2562047h47m16s") == 9223372036


@pytest.mark.parametrize(("time", "value"), [("1h30m", 5400), (30, 30), (0.5, 0.5), ("500ms", 0.5)])
def test_the_result_is_seconds_for_the_runner(time: Any, value: float) -> None:
    assert ask(time) == {"changed": False, "requeue_after": value}


@pytest.mark.parametrize("time", ["soon", "", "-1s", -1])
def test_a_bad_time_names_the_option(time: Any) -> None:
    found = ask(time)
    assert (found["failed"], found["reason"], found["field"]) == (True, "InvalidDuration", "time")
    assert found["msg"].startswith(f"time: {str(time)!r} is not a duration such as 30s")


def test_an_endless_text_is_not_repeated_whole() -> None:
    assert len(ask("x" * 100_000)["msg"]) < 200


def test_no_connection_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(auth: Any) -> None:
        raise AssertionError("connected")

    monkeypatch.setattr(execution, "Kube", connect)
    assert ask("5s")["requeue_after"] == 5
