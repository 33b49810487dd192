"""Whether an instance does not come up because a volume of its is full."""

from __future__ import annotations

from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import (
    CONTAINER,
    ExecFailed,
    Kube,
    KubeError,
    Object,
)
from ansible_collections.paradedb.db.plugins.module_utils.labels import INSTANCE, database_selector
from ansible_collections.paradedb.db.plugins.module_utils.settings import MEGABYTE, SEGMENT

# PostgreSQL makes a segment of its log whole before it writes to it and stops when it cannot, so with less
# than that it cannot go on, however large the volume. A share of the volume would be the wrong measure: of
# 10 TiB the last 5 % are plenty, of 256 MiB they are less than one segment.
# https://www.postgresql.org/docs/17/wal-internals.html
LEAST_FREE = SEGMENT

# Where each volume is in the container, and the field of the spec that has its size.
_VOLUMES = {
    "data": ("/var/lib/postgresql/data", "spec.storage.size"),
    "wal": ("/var/lib/postgresql/wal", "spec.storage.walStorage.size"),
}


def full(kube: Kube, namespace: str, pod: Object) -> Refused | None:
    """The refusal that names the full volume of a pod whose database container runs.

    None when there is room, and when it cannot be told, as in an image without ``df`` from coreutils.
    """
    mounted = _mounted(pod)
    paths = [_VOLUMES[volume][0] for volume in mounted]
    command = ["df", "--block-size=1", "--output=avail,itotal,iavail", "--", *paths]
    try:
        output = kube.execute(namespace, pod["metadata"]["name"], command)
    except (ExecFailed, KubeError):
        return None  # the container may have ended in between: a reason that others tell
    for volume, line in zip(mounted, output.splitlines()[1:], strict=False):
        free, files, free_files = line.split()  # a file system without a number of files has 0 or "-"
        if int(free) < LEAST_FREE or (files.isdecimal() and int(files) > 0 and free_files == "0"):
            return _refusal(kube, namespace, pod, volume, int(free))
    return None


def _mounted(pod: Object) -> list[str]:
    """Volumes of ours which the database container has."""
    containers = pod.get("spec", {}).get("containers", [])
    mounts = [mount for item in containers if item["name"] == CONTAINER for mount in item["volumeMounts"]]
    return [volume for volume in _VOLUMES if any(mount["name"] == volume for mount in mounts)]


def _refusal(kube: Kube, namespace: str, pod: Object, volume: str, free: int) -> Refused:
    instance, field = pod["metadata"]["name"], _VOLUMES[volume][1]
    claim = f"{volume}-{instance}"
    size = _size(kube, namespace, pod["metadata"]["labels"][INSTANCE], claim)
    return Refused(
        "DiskFull",
        field,
        f"the volume {claim} of pod {instance} is full: {free // MEGABYTE} MiB of {size} are free, too few "
        f"for PostgreSQL to go on; set {field} to more than {size} to grow it",
    )


def _size(kube: Kube, namespace: str, name: str, claim: str) -> str:
    """What the claim asks for: the number that the spec has to exceed."""
    for item in kube.list("v1", "PersistentVolumeClaim", namespace, database_selector(name)):
        if item["metadata"]["name"] == claim:
            return item["spec"]["resources"]["requests"]["storage"]
    return "its size"
