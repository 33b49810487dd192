"""The alerts' rules as Prometheus gets them, and promtool's tests of them, made of what is in rules/."""

from __future__ import annotations

from typing import Any

import yaml
from cluster import ROOT

ROLE = ROOT / "collections/ansible_collections/paradedb/db/roles/monitoring"
OPERATOR_RULES = ROOT / "deploy/monitoring/prometheus_rule.yaml"
CASES = ROOT / "tests/e2e/rules/cases.yaml"
SITUATIONS = ROOT / "tests/e2e/rules/situations.yaml"
RUNBOOKS = ROOT / "docs/runbooks"

# What the labels in the cases stand for: the database that the rules are about.
_MEANT = {
    "{E1": '{namespace="production",service="orders-metrics",pod="orders-1"',
    "{E": '{namespace="production",service="orders-metrics",pod="orders-0"',
    "{O": '{namespace="production",name="orders"',
}
_OPERATOR = {'up{job="paradedb-operator-metrics"}': "1x60"}
_AT = "59m"  # every alert's time is over by then


def rules(namespace: str = "production", database: str = "orders") -> dict[str, Any]:
    """The rules of one database and those of the operator, as one file for Prometheus."""
    text = (ROLE / "files/rules.yaml").read_text()
    for name, value in {"namespace": namespace, "database": database, "runbooks": runbooks()}.items():
        text = text.replace(f"${{{name}}}", value)
    made = yaml.safe_load(text)
    made["groups"] += yaml.safe_load(OPERATOR_RULES.read_text())["spec"]["groups"]
    return made


def runbooks() -> str:
    """Where the runbooks are unless somebody says otherwise."""
    return yaml.safe_load((ROLE / "defaults/main.yml").read_text())["paradedb_runbooks"]


def alerts() -> list[dict[str, Any]]:
    return [rule for group in rules()["groups"] for rule in group["rules"]]


def cases() -> dict[str, dict[str, dict[str, str]]]:
    """For each alert the series with which it ``fires``, and those with which it is ``quiet``."""
    return yaml.load(CASES.read_text(), yaml.BaseLoader)  # noqa: S506 - texts alone: 0x30 is no number here


def situations() -> dict[str, dict[str, str]]:
    return yaml.load(SITUATIONS.read_text(), yaml.BaseLoader)  # noqa: S506 - as above


def unit_tests() -> dict[str, Any]:
    """
    promtool's file of tests: each alert once firing, and once silent beside a namesake in trouble; and no
    alert at all in the situations.
    """
    made = []
    for alert, case in cases().items():
        silent = series(case["quiet"]) + series(_of_databases(case["fires"]), namespace="other")
        made += [
            _test(f"{alert} fires", alert, series(case["fires"]), firing=1),
            _test(f"{alert} is silent", alert, silent),
        ]
    made += [_test(name, ".+", series(given | _OPERATOR)) for name, given in situations().items()]
    return {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": made}


def series(given: dict[str, str], namespace: str = "production") -> list[dict[str, str]]:
    """The series of a case with their labels in full."""
    made = []
    for name, values in given.items():
        for short, full in _MEANT.items():
            name = name.replace(short, full)
        made.append({"series": name.replace('"production"', f'"{namespace}"'), "values": values})
    return made


def _of_databases(given: dict[str, str]) -> dict[str, str]:
    """The series that are of a database, not of the operator."""
    return {
        name: values
        for name, values in given.items()
        if any(mark in name for mark in ("{E", "{O", "production"))
    }


def _test(what: str, alert: str, given: list[dict[str, str]], firing: int = 0) -> dict[str, Any]:
    """Whether the alert, given as a regular expression, fired: at the end, or if it must not, at any time."""
    query = f'ALERTS{{alertname=~"{alert}",alertstate="firing"}}'
    if not firing:
        query = f"last_over_time({query}[{_AT}])"
    found = [{"labels": f'{{alertname="{alert}"}}', "value": firing}] if firing else []
    expected = {"expr": f"count by (alertname) ({query})", "eval_time": _AT, "exp_samples": found}
    return {"name": what, "interval": "1m", "input_series": given, "promql_expr_test": [expected]}
