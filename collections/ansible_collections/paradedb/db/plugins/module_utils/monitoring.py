"""What is to be said of a ParadeDB's monitoring, by the exporter's containers in its pods."""

from __future__ import annotations

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import exporter_queries, instances
from ansible_collections.paradedb.db.plugins.module_utils.conditions import MONITORING_READY
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, Object

EXPORTER = "exporter"  # the container


def check(
    kube: Kube, namespace: str, name: str, spec: dict[str, Any], prometheus_operator: bool
) -> list[dict[str, Any]]:
    """The check MonitoringReady: whether every instance has its exporter, and Prometheus its objects.

    ``prometheus_operator``: whether the cluster takes ServiceMonitors and PrometheusRules.
    """
    monitoring = spec["monitoring"]
    asked = [kind for kind in ("serviceMonitor", "prometheusRule") if _enabled(monitoring, kind)]
    if asked and not prometheus_operator:
        fields = " and ".join(f"spec.monitoring.{kind}" for kind in asked)
        message = f"{fields}: the cluster has no monitoring.coreos.com/v1; install the Prometheus operator"
        return [_found(False, "PrometheusOperatorMissing", message)]
    if spec.get("hibernate"):
        return [_found(True, "ExporterHibernated", "No exporter runs while the database is hibernated")]
    pods = instances.database_pods(kube, namespace, name)
    if not pods:
        return [_found(False, "ExporterStarting", "The instances are being made")]
    for pod in pods:
        if found := _trouble(pod):
            return [_found(False, *found)]
    _usable, faults = exporter_queries.sort_out(monitoring.get("customQueries") or {})
    if faults:
        said = "; ".join(f"spec.monitoring.customQueries.{key}: {fault}" for key, fault in faults.items())
        return [_found(False, "InvalidQuery", f"{said}; all other metrics are there")]
    return [_found(True, "ExporterRunning", f"The exporter runs in {len(pods)} of {len(pods)} instances")]


def _enabled(monitoring: dict[str, Any], kind: str) -> bool:
    return bool((monitoring.get(kind) or {}).get("enabled"))


def _trouble(pod: Object) -> tuple[str, str] | None:
    """Why the pod's exporter does not run, as reason and message; None when it does."""
    name = pod["metadata"]["name"]
    if all(item["name"] != EXPORTER for item in pod["spec"]["containers"]):
        return "ExporterStarting", f"pod {name} is to be restarted with an exporter"
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    state = next((item["state"] for item in statuses if item["name"] == EXPORTER), {})
    if "running" in state:
        return None
    waiting = state.get("waiting") or {}
    if waiting.get("reason") in instances.PULL_FAILURES:
        image = next(item["image"] for item in pod["spec"]["containers"] if item["name"] == EXPORTER)
        return (
            "ExporterImagePullFailed",
            f"spec.monitoring.image: the image {image} cannot be pulled; check its name, its registry and "
            "spec.imagePullSecrets",
        )
    why = waiting.get("message") or waiting.get("reason")
    if why and waiting["reason"] not in ("PodInitializing", "ContainerCreating"):
        return "ExporterNotRunning", f"pod {name}: {why}"
    return "ExporterStarting", f"the exporter of pod {name} is being started"


def _found(ok: bool, reason: str, message: str) -> dict[str, Any]:
    return {"type": MONITORING_READY, "ok": ok, "reason": reason, "message": message}
