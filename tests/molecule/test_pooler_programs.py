"""The programs of the scenario `pooler`: how errors and pgbench's report are read, and the table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Program = Callable[[str, str], ModuleType]


@pytest.fixture(scope="module")
def load(program: Program) -> ModuleType:
    return program("pooler", "load")


@pytest.fixture(scope="module")
def table(program: Program) -> ModuleType:
    return program("pooler", "table")


@pytest.mark.parametrize(
    ("code", "message", "retried"),
    [
        (None, "server closed the connection unexpectedly", True),
        (None, "Connection refused", True),
        (None, 'FATAL:  password authentication failed for user "app"', False),
        (None, "FATAL:  no such user", False),
        ("08P01", "server conn crashed?", True),
        ("08P01", "query_wait_timeout", False),
        ("57P01", "terminating connection due to administrator command", True),
        ("25006", "cannot execute INSERT in a read-only transaction", True),
        ("40001", "could not serialize access", True),
        ("42P01", 'relation "writes" does not exist', False),
        ("26000", 'prepared statement "S_1" does not exist', False),
    ],
)
def test_what_a_client_tries_again(load: ModuleType, code: str | None, message: str, retried: bool) -> None:
    assert load.is_retried(code, message) == retried


def test_pgbenchs_report(load: ModuleType) -> None:
    text = (
        "number of transactions actually processed: 144134\n"
        "number of failed transactions: 2 (0.001%)\n"
        "tps = 14849.507769 (without initial connection time)\n"
    )
    assert load.report(text) == {"transactions": 144134, "failed": 2, "tps": 14850}
    assert load.report("") == {"transactions": 0, "failed": 0, "tps": 0}


RESULT: dict[str, Any] = {
    "text": "transaction mode",
    "clients": 200,
    "servers": 20,
    "transactions": 9,
    "tps": 3,
    "failed": 0,
    "errors": [],
}


def test_the_table_lines_up(table: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps(RESULT))
    heading, row = table.lines(table.read(tmp_path, ["one", "other"]))
    assert len(heading) == len(row)
    assert row.split() == ["transaction", "mode", "20", "3", "0", "-", "-"]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"failed": 1}, "1 failed"),
        ({"lost": 2}, "2 lost"),
        ({"hanging": 1}, "1 hanging"),
        ({"errors": ["oops"]}, "oops"),
        ({"servers": 21}, "21 connections to the server, 20 allowed"),
        ({"transactions": 0}, "no transaction was done"),
    ],
)
def test_what_went_wrong_is_told(table: ModuleType, wrong: dict[str, Any], told: str) -> None:
    assert table.problems([RESULT], 20) == []
    assert table.problems([RESULT, RESULT | wrong], 20) == [f"transaction mode: {told}"]
