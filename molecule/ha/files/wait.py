"""Waits until something is so, and prints what it saw as JSON:  wait.py NAMESPACE NAME COMMAND

    well SINCE [INSTANCE...]    all is well, and PostgreSQL of these instances was started after SINCE
    streams                     all instances are ready and stream; the operator is not asked
    primary-not INSTANCE        another instance is the primary
    failed REASON               the phase is Failed, for this reason

One process that looks often costs less than a task that is repeated, and what is measured is not to be
disturbed by looking. Ends with exit code 1, saying what is missing, after a time that means it will never be.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

PATIENCE = 240.0  # seconds
PAUSE = 0.5  # seconds between two looks

GROUP, VERSION, PLURAL = "database.paradedb.io", "v1alpha1", "paradedbs"
ROLE = "database.paradedb.io/role"
SWITCHOVER = "database.paradedb.io/switchover"

Object = dict[str, Any]


class Missing(Exception):
    """What is not yet as it should be."""


def need(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Missing(otherwise)


def check_pods(pods: list[Object], resource: Object) -> str:
    """Every instance is there, ready and of the present image; returns the one that is the primary."""
    spec = resource["spec"]
    need(len(pods) == spec["replicas"], f"{len(pods)} pods of {spec['replicas']}")
    for pod in pods:
        name = pod["metadata"]["name"]
        need("deletionTimestamp" not in pod["metadata"], f"{name} is going")
        conditions = {item["type"]: item["status"] for item in pod["status"].get("conditions", [])}
        need(conditions.get("Ready") == "True", f"{name} is not ready")
        need(pod["spec"]["containers"][0]["image"] == spec["image"], f"{name} has another image")
    primaries = primaries_of(pods)
    need(len(primaries) == 1, f"primaries: {primaries}")
    return primaries[0]


def primaries_of(pods: list[Object]) -> list[str]:
    """The pods with the label of a primary."""
    return [pod["metadata"]["name"] for pod in pods if pod["metadata"]["labels"].get(ROLE) == "primary"]


def check_status(resource: Object, primary: str) -> None:
    """The operator knows that all is well, and with which primary."""
    metadata, status = resource["metadata"], resource.get("status", {})
    told = status.get("instances", [])
    need(status.get("phase") == "Running", f"phase {status.get('phase')}: {status.get('message', '')}")
    need(status.get("observedGeneration") == metadata["generation"], "the spec has not been seen")
    need(status.get("currentPrimary") == primary, f"status: primary {status.get('currentPrimary')}")
    need(status.get("readyReplicas") == resource["spec"]["replicas"], "status: instances are missing")
    need(all(item["ready"] for item in told), "status: an instance is not ready")
    leaders = [item["name"] for item in told if item["role"] == "primary"]
    need(leaders == [primary], f"status: the role of primary has {leaders}")
    need(SWITCHOVER not in metadata.get("annotations", {}), "the switchover is not over")


def check_report(report: Object, resource: Object, restarted: list[str]) -> None:
    """PostgreSQL says so, too."""
    replicas = resource["spec"]["replicas"] - 1
    mode = resource["spec"].get("replication", {}).get("mode", "async")
    need(report["primaries"] == 1, f"{report['primaries']} instances are out of recovery")
    need(report["streaming"] == replicas, f"{report['streaming']} replicas stream")
    need(report["synchronous"] == (mode == "sync"), f"{report['synchronous']} synchronous replicas")
    need(report["divergent"] == 0, f"{report['divergent']} rows differ")
    for name in restarted:
        need(name in report["restarted"], f"{name} has not been started again")


def check_failed(resource: Object, reason: str) -> None:
    """The phase and a condition tell the failure."""
    status = resource.get("status", {})
    need(status.get("phase") == "Failed", f"phase {status.get('phase')}")
    reasons = [item["reason"] for item in status["conditions"]]
    need(reason in reasons, f"reasons {sorted(set(reasons))}")


class Cluster:
    """One database, read through the API server."""

    def __init__(self, namespace: str, name: str) -> None:
        import kubernetes  # not needed by what is tested without a cluster

        kubernetes.config.load_kube_config()
        self._api = kubernetes.client.ApiClient()
        self._core = kubernetes.client.CoreV1Api(self._api)
        self._custom = kubernetes.client.CustomObjectsApi(self._api)
        self._stream = kubernetes.stream.stream
        self._namespace, self._name = namespace, name

    def resource(self) -> Object:
        found: Object = self._custom.get_namespaced_custom_object(
            GROUP, VERSION, self._namespace, PLURAL, self._name
        )
        return found

    def pods(self) -> list[Object]:
        labels = f"app.kubernetes.io/instance={self._name},app.kubernetes.io/component=database"
        answer = self._core.list_namespaced_pod(
            self._namespace, label_selector=labels, _preload_content=False
        )
        found: list[Object] = json.loads(answer.data)["items"]
        return found

    def report(self, *words: str) -> Object:
        """What the program in the writer's pod prints. Raises Missing when it cannot tell."""
        running = self._stream(
            self._core.connect_get_namespaced_pod_exec, "writer", self._namespace,
            command=["python3", "/programs/report.py", *words],
            stdout=True, stderr=True, _preload_content=False,
        )  # fmt: skip
        running.run_forever(timeout=30)
        need(running.returncode == 0, running.read_stderr().strip())
        printed: Object = json.loads(running.read_stdout())
        return printed

    def well(self, since: str, restarted: list[str]) -> Object:
        seen = self.streams(since, restarted)
        check_status(self.resource(), seen["primary"])
        return seen

    def streams(self, since: str = "0", restarted: list[str] | None = None) -> Object:
        resource, pods = self.resource(), self.pods()
        primary = check_pods(pods, resource)
        where = ("/records/service", "service", since, "/credentials/uri")
        report = self.report("cluster", self._name, str(len(pods)), *where)
        check_report(report, resource, restarted or [])
        names = sorted(pod["metadata"]["name"] for pod in pods)
        replicas = [name for name in names if name != primary]
        return {**report, "primary": primary, "replicas": replicas, "spec": resource["spec"]}

    def primary_not(self, old: str) -> Object:
        others = [name for name in primaries_of(self.pods()) if name != old]
        need(bool(others), f"{old} is the primary")
        return {"primary": others[0], **self.report("now")}

    def failed(self, reason: str) -> Object:
        resource = self.resource()
        check_failed(resource, reason)
        return {"spec": resource["spec"]}


def until(look: Callable[[], Object]) -> Object:
    """Look until nothing is missing. The result tells what was waited for, from which second on."""
    begun = time.monotonic()
    waited: list[str] = []
    last = ""
    while True:
        passed = time.monotonic() - begun
        try:
            return {**look(), "waited": waited}
        except Missing as missing:
            if str(missing) != last:
                last = str(missing)
                waited.append(f"{passed:.0f} s: {last}")
        if passed > PATIENCE:
            sys.exit("\n".join([f"not within {PATIENCE:.0f} s", *waited]))
        time.sleep(PAUSE)


def main(words: list[str]) -> Object:
    """Do what the command line says."""
    match words:
        case [namespace, name, "well", since, *restarted]:
            found = Cluster(namespace, name)
            return until(lambda: found.well(since, restarted))
        case [namespace, name, "streams"]:
            return until(Cluster(namespace, name).streams)
        case [namespace, name, "primary-not", old]:
            found = Cluster(namespace, name)
            return until(lambda: found.primary_not(old))
        case [namespace, name, "failed", reason]:
            found = Cluster(namespace, name)
            return until(lambda: found.failed(reason))
    sys.exit(__doc__)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))
