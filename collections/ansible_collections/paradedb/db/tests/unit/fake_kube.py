"""An API server in a dictionary: what the modules ask of ``Kube``, without a cluster.

It keeps the few rules that the modules rely on: an object that exists is patched, not replaced; unknown
ones are None; a patch of another version than it was read in is refused; every write is recorded in order.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.kube import KubeError

Object = dict[str, Any]
Key = tuple[str, str, str]
Command = list[str]  # inside the class, "list" is a method


class FakeKube:
    """The objects of one cluster and the writes that were made to them."""

    def __init__(self, *objects: Object) -> None:
        self.objects: dict[Key, Object] = {}
        self.writes: list[tuple[Any, ...]] = []
        self.commands: list[tuple[str, list[str], str]] = []
        self.run: Callable[[list[str], str], str] = lambda command, stdin: ""
        self.on_delete: Callable[[Object], None] = lambda item: None
        self._uid = 0
        for item in objects:
            self.put(item)

    def put(self, item: Object) -> Object:
        """Have an object there from the start."""
        self._uid += 1
        stored = copy.deepcopy(item)
        stored["metadata"] = {"namespace": "prod", "uid": f"uid-{self._uid}", **stored["metadata"]}
        self.objects[_key(stored)] = stored
        return stored

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> Object | None:
        return copy.deepcopy(self.objects.get((kind, namespace, name)))

    def list(self, api_version: str, kind: str, namespace: str, selector: str) -> list[Object]:
        wanted = dict(part.split("=") for part in selector.split(","))
        return [
            copy.deepcopy(item)
            for (its_kind, its_namespace, _name), item in self.objects.items()
            if (its_kind, its_namespace) == (kind, namespace)
            and wanted.items() <= (item["metadata"].get("labels") or {}).items()
        ]

    def apply(self, definition: Object, dry_run: bool = False) -> Object:
        before = self.objects.get(_key(definition))
        after = _merged(before or {}, copy.deepcopy(definition))
        if before is None:
            self._uid += 1
            after["metadata"]["uid"] = f"uid-{self._uid}"
        if not dry_run:
            self.objects[_key(definition)] = after
        if not dry_run and after != before:
            self.writes.append(("apply", *_key(definition)[::2]))
        return copy.deepcopy(after)

    def create(self, definition: Object) -> Object:
        if _key(definition) in self.objects:
            raise KubeError(409, f"{definition['metadata']['name']} already exists")
        self.writes.append(("create", definition["kind"], definition.get("reason", "")))
        return self.put(definition)

    def merge_patch(self, target: Object, patch: Object, subresource: str = "") -> Object:
        item = self.objects[_key(target)]
        expected = (patch.get("metadata") or {}).get("resourceVersion")
        if expected and expected != item["metadata"].get("resourceVersion"):
            raise KubeError(409, "the object has been modified")
        self.writes.append(("patch", *_key(target)[::2], subresource, copy.deepcopy(patch)))
        self.objects[_key(target)] = _merged(item, patch)
        return self.objects[_key(target)]

    def delete(self, target: Object, propagation: str = "Background", at_once: bool = False) -> bool:
        found = self.objects.get(_key(target))
        if found is None or found["metadata"]["uid"] != target["metadata"]["uid"]:
            return False
        how = [propagation] if propagation != "Background" else []
        self.writes.append(("delete", *_key(target)[::2], *how, *(["at once"] if at_once else [])))
        del self.objects[_key(target)]
        self.on_delete(target)
        return True

    def execute(self, namespace: str, pod: str, command: Command, stdin: str = "") -> str:
        self.commands.append((pod, command, stdin))
        return self.run(command, stdin)

    def events(self) -> Sequence[tuple[str, str, str]]:
        """Type, reason and message of every event, in order."""
        found = [item for (kind, *_rest), item in self.objects.items() if kind == "Event"]
        return [(item["type"], item["reason"], item["message"]) for item in found]


def _key(item: Object) -> Key:
    return item["kind"], item["metadata"].get("namespace", "prod"), item["metadata"]["name"]


def _merged(before: Any, patch: Any) -> Any:
    """JSON merge patch (RFC 7396), close enough to server-side apply by a single manager."""
    if not isinstance(patch, dict) or not isinstance(before, dict):
        return copy.deepcopy(patch)
    result = copy.deepcopy(before)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result


def pod(
    name: str,
    ready: bool = True,
    role: str = "",
    revision: str = "r1",
    said: Object | None = None,
    node: str = "",
    **status: Any,
) -> Object:
    """A pod of the instance ``orders`` as the kubelet and Patroni leave it.

    ``said``: what Patroni writes of itself into the pod's annotation.
    """
    labels = {
        "app.kubernetes.io/name": "paradedb",
        "app.kubernetes.io/instance": "orders",
        "app.kubernetes.io/managed-by": "paradedb-operator",
        "app.kubernetes.io/component": "database",
        "controller-revision-hash": revision,
    }
    if role:
        labels["database.paradedb.io/role"] = role
    running = {
        "name": "paradedb",
        "image": "paradedb/paradedb:17",
        "state": {"running": {"startedAt": "2025-01-01T00:00:00Z"}},
    }
    container = {
        "name": "paradedb",
        "image": "paradedb/paradedb:17",
        "volumeMounts": [{"name": "data", "mountPath": "/var/lib/postgresql/data"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": labels,
            "creationTimestamp": "2025-01-01T00:00:00Z",
            **({"annotations": {"status": json.dumps(said)}} if said else {}),
        },
        "spec": {"containers": [container], **({"nodeName": node} if node else {})},
        "status": {
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True" if ready else "False",
                    "lastTransitionTime": "2025-01-01T00:00:05Z",
                }
            ],
            "containerStatuses": [running],
            **status,
        },
    }
