"""The alerts: promtool's checks and tests of their rules, and that each has its cases and its runbook."""

from __future__ import annotations

import re
import shlex

import pytest
import yaml
from alerts import RUNBOOKS, alerts, cases, rules, runbooks, unit_tests
from cluster import ParadeDB, apply, kubectl

NAMES = [alert["alert"] for alert in alerts()]
PROMTOOL = {
    "name": "promtool",
    "image": "localhost/paradedb-test-prometheus:dev",
    "imagePullPolicy": "IfNotPresent",
    "command": ["sleep", "infinity"],
}


@pytest.fixture(scope="module")
def pod(namespace: str) -> str:
    """A pod with promtool, which has the rules in a file."""
    spec = {"containers": [PROMTOOL], "terminationGracePeriodSeconds": 0}
    metadata = {"name": "promtool", "namespace": namespace}
    apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    kubectl("-n", namespace, "wait", "pod/promtool", "--for=condition=Ready", "--timeout=120s")
    promtool(namespace, "check", "rules.yaml", rules())
    return namespace


def promtool(namespace: str, command: str, file: str, content: object) -> str:
    """What promtool says of the content as a file of rules, or of tests of the rules."""
    run = f"cat > /tmp/{file} && cd /tmp && promtool {command} rules {file} 2>&1"
    arguments = ("-n", namespace, "exec", "-i", "promtool", "--", "sh", "-c", run)
    done = kubectl(*arguments, stdin=yaml.safe_dump(content), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_each_fires_when_it_should_and_not_otherwise(pod: str) -> None:
    assert "SUCCESS" in promtool(pod, "test", "tests.yaml", unit_tests())


def test_a_case_that_is_wrong_is_noticed(pod: str) -> None:
    wrong = unit_tests()
    wrong["tests"][0]["input_series"] = []
    with pytest.raises(AssertionError, match="FAILED"):
        promtool(pod, "test", "wrong.yaml", wrong)


def test_each_has_a_firing_and_a_silent_case() -> None:
    assert sorted(NAMES) == sorted(set(NAMES)) == sorted(cases())
    assert all(case["fires"] and case["quiet"] for case in cases().values())


def test_each_says_what_it_is_about() -> None:
    for alert in alerts():
        assert alert["labels"]["severity"] in ("critical", "warning"), alert["alert"]
        assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}, alert["alert"]
        assert "${" not in yaml.safe_dump(alert), alert["alert"]


def test_each_leads_to_its_runbook() -> None:
    assert runbooks().endswith("/docs/runbooks")
    for alert in alerts():
        assert alert["annotations"]["runbook_url"] == f"{runbooks()}/{alert['alert']}.md"
    assert sorted(path.stem for path in RUNBOOKS.glob("*.md")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_runbook_helps(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Look", "Do", "Harmless when"]
    for link in re.findall(r"\]\(([^)#:]+)", text):
        assert (RUNBOOKS / link).is_file(), link


def test_the_sql_in_the_runbooks_runs(running: ParadeDB) -> None:
    """But what needs a replica (orders-1), or pg_search, which the small image lacks."""
    pages = "".join(path.read_text() for path in RUNBOOKS.glob("*.md")).replace("-d shop", "-d paradedb")
    commands = set(re.findall(r"^kubectl (exec orders-0 .* psql .*)$", pages, re.MULTILINE))
    for command in sorted(command for command in commands if "version_info" not in command):
        words = shlex.split(command.replace("orders-0", f"{running.name}-0"))
        kubectl("-n", running.namespace, *words)
    assert len(commands) > 20
