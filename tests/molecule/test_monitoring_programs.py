"""The program of the scenario `monitoring` that asks Prometheus the dashboard's queries."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy/monitoring/grafana-dashboard.json"
ANSWER = {"status": "success", "data": {"result": [{"metric": {}, "value": [0, "1"]}]}}
NOTHING = {"status": "success", "data": {"result": []}}


@pytest.fixture(scope="module")
def panels(program: Callable[[str, str], ModuleType]) -> ModuleType:
    return program("monitoring", "panels")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Prometheus has a series for whatever is asked, but for the indexes and for what is called lost."""
    queries: list[str] = []

    def urlopen(address: str, timeout: float) -> io.BytesIO:
        (query,) = parse_qs(urlsplit(address).query)["query"]
        queries.append(query)
        empty = "paradedb_index_" in query or 'name="lost"' in query
        return io.BytesIO(json.dumps(NOTHING if empty else ANSWER).encode())

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    return queries


def run(panels: ModuleType, database: str) -> int:
    return panels.main(DASHBOARD, "http://prometheus:9090/", "shop", database)


def test_panels_that_may_be_empty_are_explained(
    panels: ModuleType, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(panels, "orders") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Segments: the database has no index of pg_search" in lines
    assert "Role: 1" in lines
    assert not [query for query in asked if "$" in query]
    assert any('namespace="shop",service="orders-metrics"' in query for query in asked)


def test_an_empty_panel_fails_and_is_named(
    panels: ModuleType, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(panels, "lost") == 1
    assert "nothing to show: Phase, Since the last good pass" in capsys.readouterr().err


def test_a_query_that_prometheus_refuses_fails(
    panels: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(address: str, timeout: float) -> Any:
        raise urllib.error.HTTPError(address, 400, "Bad Request", {}, io.BytesIO(b"parse error"))  # type: ignore[arg-type]

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    assert run(panels, "orders") == 1
    assert "Phase: parse error" in capsys.readouterr().out


def test_optional_panels_exist(panels: ModuleType) -> None:
    titles = {panel["title"] for panel in panels.panels(json.loads(DASHBOARD.read_text()))}
    assert set(panels.OPTIONAL) <= titles
