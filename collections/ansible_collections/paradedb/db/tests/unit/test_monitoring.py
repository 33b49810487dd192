"""Monitoring: the check, the objects, the exporter's container, and the script that keeps it running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible._internal._datatag._tags import Origin
from ansible_collections.paradedb.db.plugins.module_utils.labels import COMPONENT, instance_labels
from ansible_collections.paradedb.db.plugins.module_utils.monitoring import check
from ansible_collections.paradedb.db.plugins.module_utils.schema import complete_spec

from .conftest import COLLECTION
from .fake_kube import FakeKube
from .test_templates import found, plan, render

SCRIPT = COLLECTION / "roles/monitoring/files/run.sh"
EXPORTER = {"name": "exporter", "image": "exporter:1"}


def spec(**monitoring: Any) -> dict[str, Any]:
    return complete_spec({"monitoring": {"enabled": True} | monitoring})


def pod(ordinal: int, state: dict[str, Any] | None) -> dict[str, Any]:
    """One instance, its exporter in that state; None for one without an exporter."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"orders-{ordinal}",
            "labels": {**instance_labels("orders"), COMPONENT: "database"},
        },
        "spec": {"containers": [{"name": "paradedb"}] + ([EXPORTER] if state is not None else [])},
        "status": {"containerStatuses": [{"name": "exporter", "state": state}] if state else []},
    }


def found_by_check(
    given: dict[str, Any], *pods: dict[str, Any], operator: bool = True
) -> tuple[bool, str, str]:
    (item,) = check(FakeKube(*pods), "prod", "orders", given, operator)
    assert item["type"] == "MonitoringReady"
    return item["ok"], item["reason"], item["message"]


def waiting(reason: str, **more: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason, **more}}


RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


def test_all_is_well_when_every_instance_has_its_exporter() -> None:
    assert found_by_check(spec(), pod(0, RUNNING), pod(1, RUNNING))[:2] == (True, "ExporterRunning")


@pytest.mark.parametrize(
    ("state", "reason", "says"),
    [
        (None, "ExporterStarting", "orders-1 is to be restarted"),
        ({}, "ExporterStarting", "orders-1 is being started"),
        (waiting("PodInitializing"), "ExporterStarting", "is being started"),
        (waiting("ImagePullBackOff"), "ExporterImagePullFailed", "monitoring.image: the image exporter:1"),
        (waiting("CrashLoopBackOff", message="back-off"), "ExporterNotRunning", "orders-1: back-off"),
    ],
)  # fmt: skip
def test_an_exporter_that_does_not_run_is_told(state: Any, reason: str, says: str) -> None:
    ok, why, message = found_by_check(spec(), pod(0, RUNNING), pod(1, state))
    assert (ok, why) == (False, reason)
    assert says in message


def test_without_instances_none_is_missed_in_hibernation_only() -> None:
    assert found_by_check(spec())[:2] == (False, "ExporterStarting")
    assert found_by_check({**spec(), "hibernate": True})[:2] == (True, "ExporterHibernated")


@pytest.mark.parametrize("kind", ["serviceMonitor", "prometheusRule"])
def test_objects_that_the_cluster_cannot_take_are_told(kind: str) -> None:
    asked = spec(**{kind: {"enabled": True}})
    ok, reason, message = found_by_check(asked, pod(0, RUNNING), operator=False)
    assert (ok, reason) == (False, "PrometheusOperatorMissing")
    assert f"spec.monitoring.{kind}:" in message
    assert found_by_check(asked, pod(0, RUNNING))[0]


def test_a_query_that_cannot_be_used_is_told() -> None:
    ok, reason, message = found_by_check(spec(customQueries={"shop": "["}), pod(0, RUNNING))
    assert (ok, reason) == (False, "InvalidQuery")
    assert message.startswith("spec.monitoring.customQueries.shop: it is not YAML")


def objects(given: dict[str, Any], operator: bool = True) -> list[dict[str, Any]]:
    return render("monitoring", given, paradedb_plan={"prometheus_operator": operator})


def test_off_means_no_objects() -> None:
    assert objects(complete_spec({})) == []
    assert (
        objects(complete_spec({"monitoring": {"enabled": False, "prometheusRule": {"enabled": True}}})) == []
    )


def test_the_objects_are_those_that_are_asked_for() -> None:
    assert [item["kind"] for item in objects(spec())] == ["ConfigMap", "Service"]
    asked = {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}
    kinds = ["ConfigMap", "Service", "ServiceMonitor", "PrometheusRule"]
    assert [item["kind"] for item in objects(spec(**asked))] == kinds
    assert [item["kind"] for item in objects(spec(**asked), operator=False)] == kinds[:2]


def test_the_users_labels_do_not_hide_ours() -> None:
    mine = {"release": "prometheus", "app.kubernetes.io/instance": "other", COMPONENT: "other"}
    asked = {"serviceMonitor": {"enabled": True, "labels": mine, "interval": "15s"}}
    monitor = found(objects(spec(**asked)), "ServiceMonitor", "orders")
    ours = {**instance_labels("orders"), COMPONENT: "monitoring"}
    assert monitor["metadata"]["labels"] == ours | {"release": "prometheus"}
    assert monitor["spec"]["endpoints"] == [{"port": "metrics", "interval": "15s"}]
    assert monitor["spec"]["selector"]["matchLabels"] == {
        **instance_labels("orders"),
        COMPONENT: "monitoring",
    }


def test_the_port_is_the_specs_throughout() -> None:
    (port,) = found(objects(spec(port=9999)), "Service", "orders-metrics")["spec"]["ports"]
    assert (port["name"], port["port"], port["targetPort"]) == ("metrics", 9999, "metrics")
    container = exporter(spec(port=9999))
    assert container["ports"] == [{"name": "metrics", "containerPort": 9999, "protocol": "TCP"}]
    assert {"name": "PORT", "value": "9999"} in container["env"]


def test_the_rules_are_of_this_database_and_no_placeholder_is_left() -> None:
    rule = found(objects(spec(prometheusRule={"enabled": True})), "PrometheusRule", "orders")
    text = json.dumps(rule["spec"])
    assert "${" not in text
    assert "{{ $labels.pod }}" in text
    for item in rule["spec"]["groups"][0]["rules"]:
        assert 'namespace="prod"' in item["expr"]
        assert "orders" in item["expr"], item["alert"]


def instances(given: dict[str, Any]) -> dict[str, Any]:
    made = render("statefulset", given, paradedb_plan=plan(1))
    return found(made, "StatefulSet", "orders")["spec"]["template"]


def exporter(given: dict[str, Any]) -> dict[str, Any]:
    (item,) = [each for each in instances(given)["spec"]["containers"] if each["name"] == "exporter"]
    return item


def test_the_exporter_is_another_user_without_socket_token_or_probe() -> None:
    template = instances(spec())
    container = exporter(spec())
    context = container["securityContext"]
    assert context["runAsUser"] not in (0, template["spec"]["securityContext"]["runAsUser"])
    assert context["runAsNonRoot"] is True
    assert context["readOnlyRootFilesystem"] is True
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert not {"readinessProbe", "livenessProbe", "startupProbe"} & set(container)
    mounts = {item["mountPath"]: item["name"] for item in container["volumeMounts"]}
    assert mounts.pop("/var/run/secrets/kubernetes.io/serviceaccount") == "no-token"
    assert set(mounts.values()) == {"exporter", "exporter-secrets"}


def test_a_user_of_the_spec_for_all_containers_is_not_the_exporters() -> None:
    given = {**spec(), "containerSecurityContext": {"runAsUser": 999, "privileged": True}}
    context = exporter(given)["securityContext"]
    assert context["runAsUser"] == 65534
    assert context["privileged"] is False


def test_queries_of_a_spec_as_ansible_hands_it_on() -> None:
    text = Origin(description="a spec").tag("query: SELECT 1 AS n\nmetrics: [n: {usage: GAUGE}]")
    data = found(objects(spec(customQueries={"shop": text})), "ConfigMap", "orders-metrics")["data"]
    (metric,) = yaml.safe_load(data["queries.yaml"])["shop"]["metrics"]
    assert metric == {"n": {"usage": "GAUGE", "description": "n"}}


def test_queries_restart_no_instance() -> None:
    changed = spec(customQueries={"shop": "query: SELECT 1 AS n\nmetrics: [n: {usage: GAUGE}]"})
    assert instances(spec()) == instances(changed)
    assert instances(spec()) != instances(complete_spec({}))


def test_without_monitoring_there_is_no_exporter() -> None:
    assert "exporter" not in json.dumps(instances(complete_spec({})))


# An exporter that tells what it was given, and ends or stays as the file "end" says.
PROGRAM = """#!/bin/sh
echo "$PGPASSWORD $*" >> {home}/began
if [ -e {home}/end ]; then exit 3; fi
exec sleep 60
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    program = tmp_path / "bin" / "prometheus-postgres-exporter"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(home=tmp_path))
    program.chmod(0o755)
    (tmp_path / "queries.yaml").write_text("a: 1")
    (tmp_path / "password").write_text("first")
    return tmp_path


@pytest.fixture
def script(home: Path) -> Iterator[subprocess.Popen[str]]:
    given = {"DIRECTORY": str(home), "SECRETS": str(home), "PORT": "9187", "POLL": "0.1", "LONGEST": "1"}
    path = {"PATH": f"{home / 'bin'}:{os.environ['PATH']}"}
    process = subprocess.Popen(
        ["sh", str(SCRIPT)], env=given | path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def began(home: Path, times: int) -> list[str]:
    """How the exporter was started, once it was that often."""
    for _ in range(300):
        lines = (home / "began").read_text().splitlines() if (home / "began").exists() else []
        if len(lines) >= times:
            return lines
        time.sleep(0.05)
    raise AssertionError(f"the exporter was not started {times} times")


def test_a_change_starts_the_exporter_again(home: Path, script: subprocess.Popen[str]) -> None:
    assert began(home, 1)[0].startswith("first --web.listen-address=:9187 ")
    (home / "queries.yaml").write_text("b: 1")
    began(home, 2)
    (home / "password").write_text("second")
    assert began(home, 3)[2].startswith("second ")
    assert script.poll() is None


def test_an_exporter_that_ends_is_started_again(home: Path, script: subprocess.Popen[str]) -> None:
    (home / "end").touch()
    began(home, 1)
    began(home, 3)
    assert script.poll() is None


def test_the_end_of_the_container_ends_the_exporter(home: Path, script: subprocess.Popen[str]) -> None:
    began(home, 1)
    script.send_signal(signal.SIGTERM)
    assert script.wait(10) == 0
    for _ in range(100):  # the pause that was cut short ends by itself
        if subprocess.run(["pgrep", "-g", str(script.pid)], capture_output=True, check=False).returncode:
            return
        time.sleep(0.05)
    raise AssertionError("the exporter is still there")


def test_an_image_without_an_exporter_keeps_its_container(home: Path, script: subprocess.Popen[str]) -> None:
    (home / "bin" / "prometheus-postgres-exporter").unlink()
    (home / "queries.yaml").write_text("c: 1")
    assert script.stderr
    while "has neither" not in script.stderr.readline():
        pass
    assert script.poll() is None


def test_no_password_is_on_a_command_line() -> None:
    assert "PGPASSWORD=" in SCRIPT.read_text()
    assert yaml.safe_load((COLLECTION / "roles/monitoring/files/rules.yaml").read_text())["groups"]
