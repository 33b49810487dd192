"""What others have declared in our objects beside us: server-side apply alone leaves it there.

An edit of a field that we apply is put back by applying again. A field that we do not set (one more
environment variable, one more key of a ConfigMap) belongs to whoever set it, and stays until it is removed.
Fields and owners: https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.kube import FIELD_MANAGER, Object
from ansible_collections.paradedb.db.plugins.module_utils.labels import REPORT

Path = tuple[str | int, ...]

# Metadata is open to everybody by design, and Patroni keeps its state there.
_OPEN = ("f:metadata", "f:status")
# Clusters add pull secrets and tokens to accounts by controllers of their own.
_OPEN_KINDS = ("ServiceAccount",)
# "kubectl rollout restart" sets this; the rollout then replaces the instances, as was asked for.
_RESTART = "f:kubectl.kubernetes.io/restartedAt"


def foreign_fields(live: Object) -> list[str]:
    """JSON pointers of the fields to take out, in an order in which they can be."""
    if live["kind"] in _OPEN_KINDS or REPORT in (live["metadata"].get("labels") or {}):
        return []
    ours: Object = {}
    others = []
    for entry in live["metadata"].get("managedFields") or []:
        fields = entry.get("fieldsV1") or {}
        if (entry.get("manager"), entry.get("operation")) == (FIELD_MANAGER, "Apply"):
            ours = fields
        elif not entry.get("subresource"):
            others.append({key: below for key, below in fields.items() if key not in _OPEN})
    found: set[Path] = set()
    for fields in others:
        _collect(live, fields, ours, (), found)
    # Later items of a list first: taking out an earlier one would move them.
    return ["".join(f"/{_escape(step)}" for step in path) for path in sorted(found, reverse=True)]


def _collect(value: Any, others: Object, ours: Object, path: Path, found: set[Path]) -> None:
    for key, below in others.items():
        step = _step(value, key)
        if step is None or key == _RESTART:
            continue
        if key not in ours:
            found.add((*path, step))
        else:
            _collect(value[step], below, ours[key], (*path, step), found)


def _step(value: Any, key: str) -> str | int | None:
    """The key or index that a field name of managedFields stands for; None when there is no such thing."""
    kind, _colon, name = key.partition(":")
    if kind == "f" and isinstance(value, dict):
        return name if name in value else None
    if kind == "k" and isinstance(value, list):
        wanted = json.loads(name)
        matches = (all(item.get(part) == wanted[part] for part in wanted) for item in value)
        return next((index for index, match in enumerate(matches) if match), None)
    if kind == "v" and isinstance(value, list):
        wanted = json.loads(name)
        return value.index(wanted) if wanted in value else None
    return None


def _escape(step: str | int) -> str:
    return str(step).replace("~", "~0").replace("/", "~1")
