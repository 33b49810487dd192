"""The objects of which a pooler consists, and its pods, as JSON:  objects.py NAMESPACE NAME PODS

Each with what changes when it is changed. Waits until there are so many pods, those that are going counted;
with 0 until nothing at all is there.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from typing import Any

from kubernetes import client, config

PATIENCE = 120.0  # seconds


def versions(objects: dict[str, list[Any]]) -> dict[str, str]:
    """By kind and name: the identity and the generation of each, for a ConfigMap its contents."""
    return {
        f"{kind}/{item.metadata.name}": f"{item.metadata.uid} {item.metadata.generation} {contents(item)}"
        for kind, items in objects.items()
        for item in items
    }


def contents(item: Any) -> str:
    data = getattr(item, "data", None)
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12] if data else ""


def look(namespace: str, name: str) -> dict[str, str]:
    labels = f"app.kubernetes.io/instance={name},app.kubernetes.io/component=pooler"
    core, apps, policy = client.CoreV1Api(), client.AppsV1Api(), client.PolicyV1Api()
    lists = {
        "ConfigMap": core.list_namespaced_config_map,
        "Service": core.list_namespaced_service,
        "Pod": core.list_namespaced_pod,
        "Deployment": apps.list_namespaced_deployment,
        "PodDisruptionBudget": policy.list_namespaced_pod_disruption_budget,
    }
    found = {kind: ask(namespace, label_selector=labels).items for kind, ask in lists.items()}
    secrets = core.list_namespaced_secret(namespace, field_selector=f"metadata.name={name}-pooler").items
    return versions(found | {"Secret": secrets})


def is_there(found: dict[str, str], pods: int) -> bool:
    return sum(name.startswith("Pod/") for name in found) == pods and bool(found) == bool(pods)


def main() -> None:
    namespace, name, pods = sys.argv[1:]
    config.load_kube_config()
    deadline = time.monotonic() + PATIENCE
    while not is_there(found := look(namespace, name), int(pods)):
        if time.monotonic() > deadline:
            raise SystemExit(f"there is {', '.join(found) or 'nothing'}")
        time.sleep(0.5)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
