"""The dashboard, and what docs/monitoring.md says: every metric and every alert in them exists."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import COLLECTION

ROOT = COLLECTION.parents[3]
ROLE = COLLECTION / "roles/monitoring/files"
DASHBOARD = ROOT / "deploy/monitoring/grafana-dashboard.json"
PAGE = (ROOT / "docs/monitoring.md").read_text()

# Those of postgres_exporter and of the kubelet that the dashboard uses.
OTHERS = {
    "pg_up",
    "pg_database_size_bytes",
    "pg_stat_database_blks_hit",
    "pg_stat_database_blks_read",
    "pg_stat_database_conflicts",
    "pg_stat_database_deadlocks",
    "pg_stat_database_xact_commit",
    "pg_stat_database_xact_rollback",
    "kubelet_volume_stats_available_bytes",
    "kubelet_volume_stats_capacity_bytes",
}
# A name before the labels that choose its series; the dashboard has no metric without labels but these.
METRIC = re.compile(r"\b([a-z][a-z0-9_]*)(?=\{)|\b(paradedb_runner_run_slots\w*)")
GRID = 24


def queried() -> set[str]:
    """The metrics of queries.yaml that are no labels."""
    content = yaml.safe_load((ROLE / "queries.yaml").read_text())
    return {
        f"{name}_{column}"
        for name, query in content.items()
        for item in query["metrics"]
        for column, options in item.items()
        if options["usage"] not in ("LABEL", "DISCARD")
    }


def of_the_operator() -> set[str]:
    """What docs/compatibility.md lists of the runner, and watches.yaml of the databases' fields."""
    page = (ROOT / "docs/compatibility.md").read_text()
    table = page.split("### All metrics of the runner")[1].split("\n### ")[0]
    first = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    names = {name for cell in first for name in re.findall(r"`(\w+)`", cell)}
    (watch,) = yaml.safe_load((ROOT / "watches.yaml").read_text())
    return names | {metric["name"] for metric in watch["metrics"]}


def alerts(path: Path) -> dict[str, str]:
    """Severity of each alert in the file."""
    content = yaml.safe_load(path.read_text())
    groups = content.get("spec", content)["groups"]
    return {rule["alert"]: rule["labels"]["severity"] for group in groups for rule in group["rules"]}


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    return json.loads(DASHBOARD.read_text())


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def test_every_metric_of_the_dashboard_exists(dashboard: dict[str, Any]) -> None:
    known = queried() | of_the_operator() | OTHERS
    for panel in panels(dashboard):
        for target in panel["targets"]:
            names = {"".join(pair) for pair in METRIC.findall(target["expr"])}
            unknown = {name for name in names if re.sub("_bucket$", "", name) not in known}
            assert names, target["expr"]
            assert not unknown, panel["title"]


def test_variables_of_the_dashboard_are_defined_and_used(dashboard: dict[str, Any]) -> None:
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    text = json.dumps(dashboard)
    assert set(re.findall(r"\$\{?([a-z]\w*)", text)) == set(variables)
    for name in ("namespace", "database"):
        metric = re.search(r"label_values\((\w+)", variables[name]["query"]["query"])
        assert metric
        assert metric[1] in queried()
    assert re.match(variables["database"]["regex"].strip("/"), "orders-metrics")[1] == "orders"


def test_panels_of_the_dashboard_do_not_overlap(dashboard: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _y in cells) < GRID
        assert not cells & taken, panel["title"]
        taken |= cells


def test_panels_of_the_dashboard_are_told_apart_and_explained(dashboard: dict[str, Any]) -> None:
    titles = [panel["title"] for panel in panels(dashboard)]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(titles)) == len(titles)
    assert len(set(ids)) == len(ids)
    assert all(panel["description"] for panel in panels(dashboard))


def test_grafana_finds_the_dashboard_by_the_label() -> None:
    content = yaml.safe_load((DASHBOARD.parent / "kustomization.yaml").read_text())
    (made,) = content["configMapGenerator"]
    assert made["files"] == [DASHBOARD.name]
    assert made["options"] == {"disableNameSuffixHash": True, "labels": {"grafana_dashboard": "1"}}


def test_the_page_lists_every_alert_with_its_severity() -> None:
    rows = re.findall(r"^\| \[(\w+)\]\(runbooks/(\w+)\.md\) \| (\w+) \|", PAGE, re.MULTILINE)
    assert all(name == runbook for name, runbook, _severity in rows)
    expected = alerts(ROLE / "rules.yaml") | alerts(DASHBOARD.parent / "prometheus_rule.yaml")
    assert {name: severity for name, _runbook, severity in rows} == expected
    assert set(re.findall(r"\bParadeDB[A-Z]\w+", PAGE)) <= set(expected)


def test_the_page_lists_every_metric_of_the_queries() -> None:
    """A row begins with a whole name; after it, the ends of others with the same beginning."""
    table = PAGE.split("## Metrics")[1].split("\n## ")[0]
    listed = set()
    prefixes = sorted(yaml.safe_load((ROLE / "queries.yaml").read_text()), key=len, reverse=True)
    for line in table.splitlines():
        if line.startswith("| `paradedb_"):
            first, *others = re.findall(r"`(\w+)`", line.split("|")[1])
            prefix = next(name for name in prefixes if first.startswith(f"{name}_"))
            listed |= {first, *(f"{prefix}{other}" for other in others)}
    assert listed == {name for name in queried() if name.startswith("paradedb_")}
