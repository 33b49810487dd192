"""Desired objects against the cluster: apply what is wanted, prune what is owned and no longer wanted."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import volumes
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.foreign import foreign_fields
from ansible_collections.paradedb.db.plugins.module_utils.kube import (
    Kube,
    KubeError,
    Object,
    annotations,
    by_name,
)
from ansible_collections.paradedb.db.plugins.module_utils.labels import (
    COMPONENT,
    INSTANCE,
    MANAGED_BY_LABEL,
    REPORT,
    instance_labels,
)
from ansible_collections.paradedb.db.plugins.module_utils.quantity import parse_quantity

CLAIM = "PersistentVolumeClaim"
# Where the size of the one claim that is applied, that with the backups, stands in a spec.
_CLAIM_SIZE = "spec.backup.pvc.size"

# Kinds of others, which a cluster may not have.
OPTIONAL_KINDS = ("Certificate", "ServiceMonitor", "PrometheusRule")

# On a pod, with the component behind it: a checksum of what the component mounts there.
MOUNTS = "mounts.database.paradedb.io"

# Fields that the API server keeps, of no interest in a diff.
_SERVER_FIELDS = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")


def complete(definition: Object, namespace: str, name: str, component: str, owner: Object | None) -> Object:
    """The definition with the instance's labels, its namespace and its owner.

    A claim has no owner, with which Kubernetes would delete it: nobody's backups go with their database.
    """
    metadata = dict(definition["metadata"])
    metadata["namespace"] = namespace
    metadata["labels"] = {**instance_labels(name), COMPONENT: component, **metadata.get("labels", {})}
    if owner and definition["kind"] != CLAIM:
        metadata["ownerReferences"] = [owner]
    return {**definition, "metadata": metadata}


def observe(kube: Kube, kinds: list[tuple[str, str]], namespace: str, selector: str) -> dict[Any, Object]:
    """The objects with the selector's labels, by kind and name; a kind that the cluster lacks has none.

    Nor has an optional one that we may not list: who never used it need not be granted it.
    """
    found: list[Object] = []
    for api_version, kind in kinds:
        try:
            found += kube.list(api_version, kind, namespace, selector)
        except KubeError as error:
            if error.status != 404 and not (error.status == 403 and kind in OPTIONAL_KINDS):
                raise
    return by_name(found)


def apply_all(
    kube: Kube,
    wanted: list[Object],
    existing: dict[Any, Object],
    dry_run: bool,
    warnings: list[str] | None = None,
) -> list[dict[str, Any]]:
    """Apply every definition and prune the rest of ``existing``; returns what changed, for a diff.

    ``warnings`` gets what could not be had and stops nothing.
    """
    changes = []
    for definition in wanted:
        key = (definition["kind"], definition["metadata"]["name"])
        before = existing.get(key) or kube.get(definition["apiVersion"], *_location(definition))
        _check_ours(before, definition)
        if before is not None and definition["kind"] == CLAIM:
            try:
                changes += _grow(kube, before, definition, dry_run)
            except Refused as problem:
                (warnings if warnings is not None else []).append(str(problem))
            continue
        after = kube.apply(definition, dry_run)
        foreign = foreign_fields(after)
        if foreign and not dry_run:
            after = kube.remove_fields(after, foreign)
        if before is None or foreign or _comparable(before) != _comparable(after):
            changes.append(_change(key, before, after))
    keep = {(item["kind"], item["metadata"]["name"]) for item in wanted}
    for key, item in existing.items():
        unwanted = key not in keep and "deletionTimestamp" not in item["metadata"]
        if unwanted and (dry_run or kube.delete(item)):
            changes.append(_change(key, item, None))
    return changes


def _grow(kube: Kube, claim: Object, definition: Object, dry_run: bool) -> list[dict[str, Any]]:
    """Let a claim have the size of its definition if that is more: nothing else of it can change.

    It may be older than its ParadeDB, and larger. Raises Refused where it may not grow.
    """
    sizes = [item["spec"]["resources"]["requests"]["storage"] for item in (claim, definition)]
    if parse_quantity(sizes[1]) <= parse_quantity(sizes[0]):
        return []
    volumes.resize(kube, claim, _CLAIM_SIZE, sizes[1], dry_run)
    grown = {**claim, "spec": {**claim["spec"], "resources": definition["spec"]["resources"]}}
    return [_change((CLAIM, claim["metadata"]["name"]), claim, grown)]


def refresh_mounts(
    kube: Kube, pods: list[Object], component: str, definitions: list[Object], more: str
) -> None:
    """Have changed ConfigMaps and Secrets brought into running pods now, not within a minute.

    A kubelet looks at the volumes of a pod at once when the pod changes, else from time to time: "Mounted
    ConfigMaps are updated automatically", https://kubernetes.io/docs/concepts/configuration/configmap/
    ``more``: stands for what is mounted besides the ConfigMaps of ``definitions``.
    """
    mounted = [item.get("data") for item in definitions if item["kind"] == "ConfigMap"]
    checksum = hashlib.sha256((json.dumps(mounted, sort_keys=True) + more).encode()).hexdigest()
    key = f"{MOUNTS}/{component}"
    for pod in pods:
        if annotations(pod).get(key) != checksum and "deletionTimestamp" not in pod["metadata"]:
            try:
                kube.merge_patch(pod, {"metadata": {"annotations": {key: checksum}}})
            except KubeError as error:
                if error.status != 404:  # gone meanwhile
                    raise


def _check_ours(before: Object | None, definition: Object) -> None:
    """Never take over a namesake that somebody else made. Raises Refused."""
    if before is None:
        return
    labels, wanted = (item["metadata"].get("labels") or {} for item in (before, definition))
    if any(labels.get(label) != wanted[label] for label in (MANAGED_BY_LABEL, INSTANCE)):
        raise Refused(
            "NameTaken",
            "metadata.name",
            f"the {definition['kind']} {definition['metadata']['name']!r} belongs to something else; "
            "delete it or choose another name",
        )


def _location(definition: Object) -> tuple[str, str, str]:
    return definition["kind"], definition["metadata"]["namespace"], definition["metadata"]["name"]


def _comparable(item: Object) -> Object:
    """An object without what the API server and other controllers keep in it."""
    metadata = {name: value for name, value in item["metadata"].items() if name not in _SERVER_FIELDS}
    others = ("status", "data") if REPORT in (metadata.get("labels") or {}) else ("status",)
    return {name: value for name, value in item.items() if name not in others} | {"metadata": metadata}


def _shown(item: Object | None) -> Object:
    """An object as a person may see it in a diff: no secret values."""
    if item is None:
        return {}
    shown = _comparable(item)
    if item["kind"] == "Secret":
        shown["data"] = dict.fromkeys(item.get("data") or {}, "(hidden)")
        # What a person applied with kubectl stands in an annotation, secret values and all.
        shown["metadata"] = {
            name: value for name, value in shown["metadata"].items() if name != "annotations"
        }
    return shown


def _change(key: tuple[str, str], before: Object | None, after: Object | None) -> dict[str, Any]:
    kind, name = key
    return {"header": f"{kind}/{name}", "before": _shown(before), "after": _shown(after)}


def diff(changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The changes in the form of Ansible's diff mode."""
    return [
        {"before_header": change["header"], "after_header": change["header"]}
        | {side: change[side] for side in ("before", "after")}
        for change in changes
    ]
