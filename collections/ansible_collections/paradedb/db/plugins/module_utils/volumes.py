"""The instances' volumes: they grow while the database runs, and never shrink.

A StatefulSet cannot change the sizes in its ``volumeClaimTemplates``. So its claims are patched, and where
the template differs the StatefulSet is deleted without its pods, for the next apply to make it anew around
them. Every step leaves what a later pass goes on from.
"""

from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import quote

from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import FIELD_MANAGER, Kube, KubeError, Object
from ansible_collections.paradedb.db.plugins.module_utils.labels import database_selector
from ansible_collections.paradedb.db.plugins.module_utils.quantity import parse_quantity

# Seconds for the garbage collector to let the pods go and the StatefulSet to be gone.
LONGEST_DELETION = 20
_POLL = 0.2

# Conditions by which Kubernetes says how far the growth of a volume is, the most telling first.
# https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/persistent-volume-claim-v1/
_PROGRESS = ("NodeResizeError", "ControllerResizeError", "FileSystemResizePending", "Resizing")


Claim = tuple[Object, str, str]  # with the name of its template, and of its instance


def check(kube: Kube, spec: dict[str, Any], stateful_set: Object | None, found: list[Claim]) -> bool:
    """Whether volumes, or the size of those to come, are below the spec. ``found``: see ``claims``.

    Raises Refused for what cannot change, and for a volume that Kubernetes would not let grow.
    """
    if stateful_set is not None:
        _check_templates(_templates(stateful_set), spec)
    small = _small_claims(found, spec)
    for claim, field, size in small:
        resize(kube, claim, field, size, dry_run=True)
    return bool(small) or _is_outdated(stateful_set, spec)


def grow(kube: Kube, namespace: str, name: str, spec: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Let the volumes grow to the spec, all or none of them, and make way for a StatefulSet of that size.

    Raises Refused when Kubernetes does not let one grow.
    """
    small = _small_claims(claims(kube, namespace, name, spec), spec)
    for dry_run in [True] if check_mode else [True, False]:
        for claim, field, size in small:
            resize(kube, claim, field, size, dry_run)
    changes = [f"grow the volume {claim['metadata']['name']} to {size}" for claim, _field, size in small]
    stateful_set = kube.get("apps/v1", "StatefulSet", namespace, name)
    if stateful_set is not None and _is_outdated(stateful_set, spec):
        changes.append("make the StatefulSet anew around its pods")
        if not check_mode:
            _orphan(kube, stateful_set)
    return {"changed": bool(changes), "changes": changes}


def standing(found: list[Claim], pods: list[Object]) -> str:
    """What running instances' volumes that have not reached their size are doing; empty when all have."""
    running = {pod["metadata"]["name"] for pod in pods}
    return "; ".join(
        _growth(claim)
        for claim, _part, instance in found
        if instance in running
        and _capacity(claim)
        and parse_quantity(_capacity(claim)) < parse_quantity(_request(claim))
    )


def _wanted(spec: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """The volumes of an instance: the name of the template, the field of the spec and what it holds."""
    storage = spec["storage"]
    wal = {"wal": ("spec.storage.walStorage", storage["walStorage"])} if storage.get("walStorage") else {}
    return {"data": ("spec.storage", storage), **wal}


def _templates(stateful_set: Object) -> dict[str, Object]:
    return {item["metadata"]["name"]: item["spec"] for item in stateful_set["spec"]["volumeClaimTemplates"]}


def _check_templates(templates: dict[str, Object], spec: dict[str, Any]) -> None:
    """The CRD's rules, for a spec that no API server has compared with the one before."""
    wanted = _wanted(spec)
    if set(wanted) != set(templates):
        raise Refused(
            "ImmutableField", "spec.storage.walStorage", "cannot be added or removed once the database exists"
        )
    for part, (field, storage) in wanted.items():
        template = templates[part]
        size = template["resources"]["requests"]["storage"]
        if parse_quantity(storage["size"]) < parse_quantity(size):
            raise Refused(
                "ImmutableField", f"{field}.size", f"volumes cannot shrink; set it to {size} or more"
            )
        _check_same(
            f"{field}.storageClassName", storage.get("storageClassName"), template.get("storageClassName")
        )
    modes = spec["storage"].get("accessModes")
    if modes:
        _check_same("spec.storage.accessModes", modes, templates["data"].get("accessModes", modes))


def _check_same(field: str, wanted: Any, present: Any) -> None:
    if wanted != present:
        fix = f"set it to {present}" if present else "remove it"
        raise Refused("ImmutableField", field, f"cannot change once the database exists; {fix}")


def _is_outdated(stateful_set: Object | None, spec: dict[str, Any]) -> bool:
    """Whether the StatefulSet must be made anew; one that is on its way out was found so before."""
    if stateful_set is None:
        return False
    templates = _templates(stateful_set)
    return "deletionTimestamp" in stateful_set["metadata"] or any(
        parse_quantity(templates[part]["resources"]["requests"]["storage"]) < parse_quantity(storage["size"])
        for part, (_field, storage) in _wanted(spec).items()
    )


def claims(kube: Kube, namespace: str, name: str, spec: dict[str, Any]) -> list[Claim]:
    """The claims of all instances, also of those that are no more."""
    pattern = re.compile(rf"({'|'.join(_wanted(spec))})-({re.escape(name)}-[0-9]+)")
    found = []
    for claim in kube.list("v1", "PersistentVolumeClaim", namespace, database_selector(name)):
        parts = pattern.fullmatch(claim["metadata"]["name"])
        if parts and "deletionTimestamp" not in claim["metadata"]:
            found.append((claim, parts[1], parts[2]))
    return sorted(found, key=lambda item: item[0]["metadata"]["name"])


def _small_claims(found: list[Claim], spec: dict[str, Any]) -> list[tuple[Object, str, str | int]]:
    """Claims that ask for less than the spec, with the field of the spec and its size.

    A claim without a volume yet cannot change; it is found here once it has one.
    """
    wanted = {part: (f"{field}.size", storage["size"]) for part, (field, storage) in _wanted(spec).items()}
    return [
        (claim, *wanted[part])
        for claim, part, _instance in found
        if claim.get("status", {}).get("phase") == "Bound"
        and parse_quantity(_request(claim)) < parse_quantity(wanted[part][1])
    ]


def _request(claim: Object) -> str:
    return claim["spec"]["resources"]["requests"]["storage"]


def _capacity(claim: Object) -> str:
    """What the volume has; empty while there is none."""
    return (claim.get("status", {}).get("capacity") or {}).get("storage", "")


def _growth(claim: Object) -> str:
    """How far a claim has come, in words."""
    true = {
        item["type"]: item.get("message", "")
        for item in claim.get("status", {}).get("conditions") or []
        if item["status"] == "True"
    }
    step = next((kind for kind in _PROGRESS if kind in true), "")
    told = f": {step}" + (f", {true[step]}" if true[step] else "") if step else ""
    return (
        f"Growing the volume {claim['metadata']['name']} from {_capacity(claim)} to {_request(claim)}{told}"
    )


def resize(kube: Kube, claim: Object, field: str, size: str | int, dry_run: bool) -> None:
    """Ask for the size. Raises Refused when the answer is that this volume may not have it."""
    metadata = claim["metadata"]
    path = (
        f"/api/v1/namespaces/{quote(metadata['namespace'], safe='')}"
        f"/persistentvolumeclaims/{quote(metadata['name'], safe='')}"
    )
    patch = {
        "metadata": {"uid": metadata["uid"]},  # not a namesake made since
        "spec": {"resources": {"requests": {"storage": str(size)}}},
    }
    query = {"fieldManager": FIELD_MANAGER} | ({"dryRun": "All"} if dry_run else {})
    try:
        kube.request("PATCH", path, patch, query, "application/merge-patch+json")
    except KubeError as error:
        if error.status in (404, 409):
            return  # gone since it was read, or made anew: the next pass looks again
        raise _refusal(claim, field, size, error) from None


def _refusal(claim: Object, field: str, size: str | int, error: KubeError) -> Exception:
    """The API server's word about a claim that may not grow, with what to do; else the error itself."""
    present, volume = _request(claim), claim["metadata"]["name"]
    problem = f"the volume {volume} cannot grow from {present} to {size}"
    if error.status == 403 and "exceeded quota" in str(error):
        return Refused("QuotaExceeded", field, f"{problem}: {error}")
    if error.status == 422 or (error.status == 403 and "resize" in str(error)):
        storage_class = claim["spec"].get("storageClassName")
        why = (
            f"its StorageClass {storage_class} does not allow it"
            if storage_class
            else "it has no StorageClass"
        )
        return Refused(
            "VolumeNotExpandable",
            field,
            f"{problem}: {why} ({error}). Set allowVolumeExpansion: true on the StorageClass if its "
            f"driver can, or set the field back to {present}",
        )
    return error


def _orphan(kube: Kube, stateful_set: Object) -> None:
    """Delete the StatefulSet, let its pods run on, and wait until its name is free."""
    metadata = stateful_set["metadata"]
    if "deletionTimestamp" not in metadata:
        kube.delete(stateful_set, propagation="Orphan")
    deadline = time.monotonic() + LONGEST_DELETION
    while time.monotonic() < deadline:
        found = kube.get("apps/v1", "StatefulSet", metadata["namespace"], metadata["name"])
        if found is None or found["metadata"]["uid"] != metadata["uid"]:
            return
        time.sleep(_POLL)
    raise KubeError(0, f"the StatefulSet {metadata['name']} is not gone after {LONGEST_DELETION} s")
