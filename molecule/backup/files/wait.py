"""Waits until a ParadeDB is so, and prints its status as JSON:  wait.py NAMESPACE NAME COMMAND

    running                     it runs
    condition TYPE STATUS       the condition has the status
    dump|base|verification OLD  there is a newer one than the one that finished at OLD
    recovered                   it runs, recovered, and what was looked at after it is well

Ends with exit code 1, saying what is missing, after a time that means it will never be, and at once when a
recovery or a verification has failed.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

PATIENCE = 300.0  # seconds
PAUSE = 0.5  # seconds between two looks

Object = dict[str, Any]


def missing(status: Object, words: list[str]) -> str:
    """What is not yet as it should be; empty when it is. Raises SystemExit when it will not be."""
    match words:
        case ["running"]:
            return (
                ""
                if status.get("phase") == "Running"
                else f"phase {status.get('phase')}: {status.get('message', '')}"
            )
        case ["condition", kind, wanted]:
            found = condition(status, kind)
            return (
                ""
                if found.get("status") == wanted
                else f"{kind}: {found.get('reason')}: {found.get('message')}"
            )
        case [("dump" | "base" | "verification") as field, old]:
            found = (status.get("backup") or {}).get(field) or {}
            if found.get("finished", "") <= old:
                healthy = condition(status, "BackupHealthy")
                return f"no new {field}; BackupHealthy: {healthy.get('reason')}: {healthy.get('message')}"
            if found.get("result") == "failed":
                raise SystemExit(json.dumps(condition(status, "BackupVerified")))
            return ""
        case ["recovered"]:
            found = condition(status, "Recovered")
            if found.get("status") == "False" and (status.get("recovery") or {}).get("state") == "failed":
                raise SystemExit(json.dumps(found))
            return missing(status, ["running"]) or missing(status, ["condition", "Recovered", "True"])
    raise SystemExit(__doc__)


def condition(status: Object, kind: str) -> Object:
    found = [item for item in status.get("conditions", []) if item["type"] == kind]
    return found[0] if found else {}


def main(namespace: str, name: str, words: list[str]) -> Object:
    """Look until nothing is missing; the status then."""
    import kubernetes  # not needed by what is tested without a cluster

    kubernetes.config.load_kube_config()
    api = kubernetes.client.CustomObjectsApi()
    where = ("database.paradedb.io", "v1alpha1", namespace, "paradedbs", name)
    begun, said = time.monotonic(), ""
    while True:
        resource = api.get_namespaced_custom_object(*where)
        status = resource.get("status") or {}
        passed = time.monotonic() - begun
        lacks = missing(status, words)
        if not lacks and status.get("observedGeneration") == resource["metadata"]["generation"]:
            return dict(status)
        if passed > PATIENCE:
            raise SystemExit(f"not within {PATIENCE:.0f} s: {said or lacks}")
        said = lacks
        time.sleep(PAUSE)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], sys.argv[3:])))
