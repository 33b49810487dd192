"""The scenario with a real Prometheus, and the objects for a Prometheus operator that comes and goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cluster import IMAGE, ParadeDB, apply, eventually, get, kubectl, scenario

GROUP = "monitoring.coreos.com"
KINDS = {"ServiceMonitor": "servicemonitors", "PrometheusRule": "prometheusrules"}
MONITORING = {
    "enabled": True,
    "image": IMAGE,
    "serviceMonitor": {"enabled": True, "interval": "7s", "labels": {"release": "stack"}},
    "prometheusRule": {"enabled": True, "labels": {"team": "search"}},
}


def test_the_scenario() -> None:
    scenario("monitoring")


def definition(kind: str, plural: str) -> dict[str, Any]:
    """A CustomResourceDefinition under which any content is taken."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": kind, "plural": plural, "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def install() -> None:
    for kind, plural in KINDS.items():
        apply(definition(kind, plural))
        kubectl("wait", f"crd/{plural}.{GROUP}", "--for=condition=Established", "--timeout=60s")


def uninstall() -> None:
    """With everything of these kinds, as Kubernetes does."""
    names = [f"crd/{plural}.{GROUP}" for plural in KINDS.values()]
    kubectl("delete", *names, "--ignore-not-found", "--timeout=60s")


@pytest.fixture
def no_prometheus_operator() -> Iterator[None]:
    if kubectl("get", "crd", "-o", "name").stdout.count(f".{GROUP}"):
        pytest.skip("the cluster has a Prometheus operator, whose kinds this test would remove")
    yield
    uninstall()


def reason(database: ParadeDB) -> str:
    return str(database.condition("MonitoringReady").get("reason"))


def made(database: ParadeDB) -> dict[str, dict[str, Any]]:
    """The objects for the Prometheus operator that there are, by kind."""
    namespace = database.namespace
    found = {kind: get(f"{plural}.{GROUP}", database.name, namespace) for kind, plural in KINDS.items()}
    return {kind: item for kind, item in found.items() if item}


@pytest.mark.alone  # the kinds concern the whole cluster
def test_a_prometheus_operator_comes_and_goes(
    make: Callable[[str], ParadeDB], no_prometheus_operator: None
) -> None:
    database = make("watched").apply(monitoring=MONITORING)
    database.wait_running()
    eventually("it is missed", lambda: reason(database) == "PrometheusOperatorMissing")
    assert database.condition("MonitoringReady")["status"] == "False"
    assert "spec.monitoring.serviceMonitor" in database.condition("MonitoringReady")["message"]

    install()
    eventually("its objects come by themselves", lambda: len(made(database)) == 2, 150)
    monitor, rule = (made(database)[kind] for kind in KINDS)
    assert monitor["metadata"]["labels"]["release"] == "stack"
    assert rule["metadata"]["labels"]["team"] == "search"
    assert monitor["spec"]["endpoints"] == [{"port": "metrics", "interval": "7s"}]
    assert selects(monitor, get("service", "watched-metrics", database.namespace) or {})
    assert all(item["metadata"]["ownerReferences"][0]["kind"] == "ParadeDB" for item in (monitor, rule))
    assert all(database.namespace in alert["expr"] for alert in alerts(rule))
    eventually("all is said to be well", lambda: reason(database) == "ExporterRunning")

    database.patch({"monitoring": {"serviceMonitor": {"interval": "9s"}}})
    eventually(
        "the interval follows",
        lambda: made(database)["ServiceMonitor"]["spec"]["endpoints"][0]["interval"] == "9s",
    )
    kubectl("-n", database.namespace, "delete", f"servicemonitors.{GROUP}/watched")
    eventually("what somebody deleted is back", lambda: len(made(database)) == 2, 150)

    off = {"serviceMonitor": {"enabled": False}, "prometheusRule": {"enabled": False}}
    database.patch({"monitoring": off})
    eventually("they are gone with the spec", lambda: not made(database))
    database.wait_running()

    uninstall()
    pass_again(database)
    assert reason(database) == "ExporterRunning"
    database.patch({"monitoring": MONITORING})
    database.wait_running()
    eventually("it is missed again", lambda: reason(database) == "PrometheusOperatorMissing")


def selects(monitor: dict[str, Any], service: dict[str, Any]) -> bool:
    """Whether the ServiceMonitor is about the Service and its port."""
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    ports = [port["name"] for port in service["spec"]["ports"]]
    return wanted <= service["metadata"]["labels"].items() and ports == ["metrics"]


def alerts(rule: dict[str, Any]) -> list[dict[str, Any]]:
    return [alert for group in rule["spec"]["groups"] for alert in group["rules"]]


def pass_again(database: ParadeDB) -> None:
    """A change of the spec that means nothing else, so that there is a pass."""
    database.patch({"postgresConfig": {"work_mem": "5MB"}})
    database.wait_running()
