"""An API server that knows any kind, below ``Kube``: what the modules for all operators ask of it.

It keeps the rules that those modules rely on: the kinds are what discovery says; a patch that names an old
resourceVersion is a conflict, as is a name that is taken; a dry run stores nothing; a status field that the
schema does not have is dropped.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, KubeError, Object

from .fake_kube import _merged

DISCOVERY = {
    "/apis/example.com/v1": [
        {
            "name": "gadgets",
            "singularName": "gadget",
            "kind": "Gadget",
            "shortNames": ["gdg"],
            "namespaced": True,
        },
        {"name": "gadgets/status", "kind": "Gadget", "namespaced": True},
        {"name": "realms", "singularName": "realm", "kind": "Realm", "namespaced": False},
        {"name": "realms/status", "kind": "Realm", "namespaced": False},
        {"name": "bares", "singularName": "bare", "kind": "Bare", "namespaced": True},
    ],
    "/api/v1": [{"name": "configmaps", "singularName": "configmap", "kind": "ConfigMap", "namespaced": True}],
}


class FakeApi(Kube):
    """Objects by their path, and every request but those that only read."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.writes: list[tuple[str, str, Object | list[Object] | None]] = []
        self.before_write: Callable[[], None] = lambda: None
        self.unknown_fields: set[str] = set()
        self._version = 0

    def put(self, path: str, item: Object) -> None:
        """Have an object there, as somebody else would write it."""
        metadata = {"uid": f"uid of {path}", **item.get("metadata", {}), "resourceVersion": self._next()}
        self.objects[path] = item | {"metadata": metadata}

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        if method == "GET":
            if path in DISCOVERY:
                return {"resources": copy.deepcopy(DISCOVERY[path])}
            return copy.deepcopy(self._find(path))
        self.before_write()
        self.writes.append((method, path, copy.deepcopy(body)))
        if method == "POST":
            return self._create(f"{path}/{body['metadata']['name']}", body)
        if method == "DELETE":
            return self.objects.pop(path)
        assert (method, content_type) == ("PATCH", "application/merge-patch+json")
        return self._patch(path.removesuffix("/status"), body, dry_run="dryRun" in (query or {}))

    def _create(self, path: str, body: Object) -> Object:
        if path in self.objects:
            raise KubeError(409, "already exists")
        self.put(path, copy.deepcopy(body))
        return copy.deepcopy(self.objects[path])

    def _patch(self, path: str, body: Object, dry_run: bool) -> Object:
        found = self._find(path)
        version = body.get("metadata", {}).get("resourceVersion")
        if version not in (None, found["metadata"]["resourceVersion"]):
            raise KubeError(409, "the object has been modified")
        after = _merged(found, body)
        after["status"] = {k: v for k, v in after.get("status", {}).items() if k not in self.unknown_fields}
        if not dry_run:
            self.put(path, after)
        return copy.deepcopy(after)

    def _find(self, path: str) -> Object:
        if path not in self.objects:
            raise KubeError(404, "not found")
        return self.objects[path]

    def _next(self) -> str:
        self._version += 1
        return str(self._version)
