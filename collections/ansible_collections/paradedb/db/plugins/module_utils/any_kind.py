"""Objects of kinds that this collection does not know: where the API server keeps them.

The API server is asked each time, one small request: kubernetes.core's client remembers what it once learned
in a file for as long as the file is there, and a CRD may have changed since.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote

from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, KubeError, Object, api_root

_API_VERSION = re.compile(r"(?:[a-z0-9][a-z0-9.-]*/)?[a-z0-9]+")


class ObjectKind(NamedTuple):
    """One kind as the API server serves it."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool
    has_status: bool

    def path(self, namespace: str, name: str) -> str:
        """Path of one object; ``namespace`` counts only for namespaced kinds. Raises Refused."""
        if self.namespaced and not namespace:
            raise Refused("NamespaceMissing", "namespace", f"is required, a {self.kind} is in a namespace")
        place = f"namespaces/{_segment('namespace', namespace)}/" if self.namespaced else ""
        return f"{api_root(self.api_version)}/{place}{self.plural}/{_segment('name', name)}"


def discover(kube: Kube, api_version: str, kind: str) -> ObjectKind:
    """The kind by its kind, or by its plural, singular or short name. Raises Refused when there is none."""
    if not _API_VERSION.fullmatch(api_version):
        raise Refused("UnknownKind", "api_version", f"{api_version!r} is not of the form v1 or group/version")
    try:
        served = kube.request("GET", api_root(api_version)).get("resources") or []
    except KubeError as error:
        if error.status != 404:
            raise
        raise Refused("UnknownKind", "api_version", f"the API server has no {api_version}") from None
    resources = {item["name"]: item for item in served}
    kinds = [item for name, item in resources.items() if "/" not in name]
    found = next((item for item in kinds if item["kind"] == kind), None)
    found = found or next((item for item in kinds if kind in _other_names(item)), None)
    if found is None:
        raise Refused("UnknownKind", "kind", f"the API server has no {kind} in {api_version}")
    plural = found["name"]
    return ObjectKind(
        api_version, found["kind"], plural, found["namespaced"], f"{plural}/status" in resources
    )


def shown(item: Object) -> Object:
    """An object as a result: without what the API server notes about its writers."""
    metadata = {name: value for name, value in item["metadata"].items() if name != "managedFields"}
    return item | {"metadata": metadata}


def _other_names(resource: Object) -> list[str]:
    return [resource["name"], resource.get("singularName", ""), *(resource.get("shortNames") or [])]


def _segment(option: str, name: str) -> str:
    """A name as part of a path, by the rule of the API server. Raises Refused."""
    if name in ("", ".", "..") or "/" in name or "%" in name:
        raise Refused("InvalidName", option, f"{name!r} cannot be the name of an object")
    return quote(name, safe="")
