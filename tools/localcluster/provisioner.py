"""Serves the storage class `standard`: a disk for each claim, grown and removed as the claim asks.

Watches claims and volumes and, after each change, brings the disks in line with all of them: what was missed
while the process or the API server was down is caught up with in the same way.
"""

from __future__ import annotations

import http.client
import logging
import threading
import time
from typing import Any

from .api import MERGE, ApiError, Client, Object
from .disks import Disk, disk_size, format_quantity, parse_quantity
from .instance import NODE_NAME, Instance
from .shell import ClusterError
from .watching import RETRY_SECONDS, Cache, follow

PROVISIONER = "localcluster.paradedb.io/xfs"
FINALIZER = "localcluster.paradedb.io/disk"
CLAIMS = "/api/v1/persistentvolumeclaims"
VOLUMES = "/api/v1/persistentvolumes"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
RESIZE_CONDITIONS = ("Resizing", "FileSystemResizePending")
# A full comparison without any change: the safety net.
RESYNC_SECONDS = 60.0

log = logging.getLogger("volumes")


class Provisioner:
    """Decides and does what each claim and volume needs."""

    def __init__(self, instance: Instance, client: Client) -> None:
        self._instance = instance
        self._client = client
        self._changed = threading.Event()
        self._claims = Cache(client, CLAIMS, self._changed, log)
        self._volumes = Cache(client, VOLUMES, self._changed, log)
        self._told: set[tuple[str, str]] = set()

    def run(self) -> None:
        """Serve for ever."""
        follow(self._claims, self._volumes)
        log.info("serving %s", PROVISIONER)
        while True:
            self._changed.clear()
            settled = self._pass()
            self._changed.wait(RESYNC_SECONDS if settled else RETRY_SECONDS)

    def _pass(self) -> bool:
        """Look at everything once. Returns False if something has to be tried again."""
        volumes = [volume for volume in self._volumes.objects() if provisioned_by_us(volume)]
        claims = self._claims.objects()
        by_name = {volume["metadata"]["name"]: volume for volume in volumes}
        outcomes = [self._try(self._serve_volume, volume) for volume in volumes]
        for claim in claims:
            if wants_volume(claim) and volume_name(claim) not in by_name:
                outcomes.append(self._try(self._provision, claim))
            elif (volume := by_name.get(claim["spec"].get("volumeName", ""))) and wants_growth(claim, volume):
                outcomes.append(self._try(self._grow, claim, volume))
        return all(outcomes)

    def _try(self, action: Any, *objects: Object) -> bool:
        """Do something for an object; a failure concerns it alone and is told in its events."""
        try:
            action(*objects)
        except (ApiError, OSError, http.client.HTTPException, ClusterError, ValueError) as error:
            if isinstance(error, ApiError) and error.code in (404, 409):
                return False  # our view is a little old; the next pass has the new one
            log.exception("%s", objects[0]["metadata"]["name"])
            self._tell(objects[0], "Warning", "VolumeFailed", str(error))
            return False
        return True

    def _disk(self, name: str) -> Disk:
        return Disk(self._instance.volumes, name)

    def _provision(self, claim: Object) -> None:
        """Make a disk for a claim and announce it; the control plane then binds the two."""
        name = volume_name(claim)
        storage_class = self._client.get(f"{CLASSES}/{claim['spec']['storageClassName']}")
        if claim["spec"].get("volumeMode") == "Block":
            raise ValueError("this storage class makes file systems only, no raw block volumes")
        requested = requested_bytes(claim)
        size = disk_size(requested)
        if size != requested:
            sizes = f"{format_quantity(requested)} rounded up to {format_quantity(size)}"
            self._tell(claim, "Normal", "VolumeRoundedUp", f"{sizes}: disks are whole MiB and at least 300Mi")
        disk = self._disk(name)
        disk.create(size)
        disk.mount()
        volume = volume_object(claim, storage_class, name, disk)
        try:
            self._client.request("POST", VOLUMES, volume)
        except ApiError as error:
            if error.code != 409:  # it exists: made by an earlier pass and not yet seen by this one
                raise
        else:
            log.info("made %s for %s", name, claim_key(claim))
            self._tell(claim, "Normal", "ProvisioningSucceeded", f"made volume {name}")

    def _serve_volume(self, volume: Object) -> None:
        """Keep a volume's disk mounted, or remove it with the volume."""
        name = volume["metadata"]["name"]
        disk = self._disk(name)
        if volume["metadata"].get("deletionTimestamp"):
            self._finish(volume, disk)
        elif volume["status"].get("phase") == "Released" and deletes(volume):
            self._client.request("DELETE", f"{VOLUMES}/{name}")
        else:
            disk.mount()

    def _finish(self, volume: Object, disk: Disk) -> None:
        """Let a volume go once its claim has; the disk goes with it unless it is to be retained."""
        finalizers = volume["metadata"].get("finalizers", [])
        if finalizers != [FINALIZER]:
            return  # still protected because a claim is bound to it
        if deletes(volume):
            disk.remove()
        name = volume["metadata"]["name"]
        self._client.request("PATCH", f"{VOLUMES}/{name}", {"metadata": {"finalizers": []}}, MERGE)
        log.info("let go of %s", name)

    def _grow(self, claim: Object, volume: Object) -> None:
        """Grow a disk to what its claim asks for, then say so in the volume and the claim."""
        name = volume["metadata"]["name"]
        disk = self._disk(name)
        wanted = disk_size(requested_bytes(claim))
        disk.grow(wanted)
        capacity = {"storage": format_quantity(disk.size())}
        self._client.request("PATCH", f"{VOLUMES}/{name}", {"spec": {"capacity": capacity}}, MERGE)
        kept = [c for c in claim["status"].get("conditions", []) if c["type"] not in RESIZE_CONDITIONS]
        status = {"capacity": capacity, "conditions": kept or None}
        path = f"/api/v1/namespaces/{claim['metadata']['namespace']}/persistentvolumeclaims"
        self._client.request("PATCH", f"{path}/{claim['metadata']['name']}/status", {"status": status}, MERGE)
        log.info("grew %s to %s", name, capacity["storage"])
        self._tell(claim, "Normal", "FileSystemResizeSuccessful", f"volume {name} has {capacity['storage']}")

    def _tell(self, item: Object, kind: str, reason: str, message: str) -> None:
        """Put an event on a claim, once for each message; volumes have only the log."""
        namespace = item["metadata"].get("namespace")
        key = (item["metadata"]["uid"], message)
        if namespace is None or key in self._told:
            return
        self._told.add(key)
        try:
            told = event(item, kind, reason, message)
            self._client.request("POST", f"/api/v1/namespaces/{namespace}/events", told)
        except (ApiError, OSError, http.client.HTTPException) as error:
            log.warning("event on %s: %s", claim_key(item), error)


def provisioned_by_us(volume: Object) -> bool:
    """Whether a volume was made here."""
    annotations = volume["metadata"].get("annotations", {})
    return bool(annotations.get("pv.kubernetes.io/provisioned-by") == PROVISIONER)


def wants_volume(claim: Object) -> bool:
    """Whether a claim waits for a volume from us.

    The control plane marks it so when the scheduler has placed its pod.
    """
    annotations = claim["metadata"].get("annotations", {})
    return bool(
        claim["status"].get("phase") == "Pending"
        and not claim["spec"].get("volumeName")
        and not claim["metadata"].get("deletionTimestamp")
        and annotations.get("volume.kubernetes.io/storage-provisioner") == PROVISIONER
    )


def wants_growth(claim: Object, volume: Object) -> bool:
    """Whether a bound claim asks for more than its volume has, or has not been told that it got it."""
    if claim["status"].get("phase") != "Bound" or claim["metadata"].get("deletionTimestamp"):
        return False
    wanted = disk_size(requested_bytes(claim))
    told = parse_quantity(claim["status"].get("capacity", {}).get("storage", "0"))
    return wanted > parse_quantity(volume["spec"]["capacity"]["storage"]) or wanted > told


def deletes(volume: Object) -> bool:
    """Whether the disk goes when the volume is released."""
    return bool(volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete")


def requested_bytes(claim: Object) -> int:
    """What a claim asks for."""
    return parse_quantity(claim["spec"]["resources"]["requests"]["storage"])


def volume_name(claim: Object) -> str:
    """Name of the volume of a claim."""
    return f"pvc-{claim['metadata']['uid']}"


def claim_key(claim: Object) -> str:
    """A claim's namespace and name, for messages."""
    return f"{claim['metadata']['namespace']}/{claim['metadata']['name']}"


def volume_object(claim: Object, storage_class: Object, name: str, disk: Disk) -> Object:
    """The PersistentVolume for a claim's disk."""
    metadata = claim["metadata"]
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE_NAME]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER},
            "finalizers": [FINALIZER],
        },
        "spec": {
            "accessModes": claim["spec"]["accessModes"],
            "capacity": {"storage": format_quantity(disk.size())},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "local": {"path": str(disk.mount_point)},
            "mountOptions": storage_class.get("mountOptions", []),
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
            "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy", "Delete"),
            "storageClassName": storage_class["metadata"]["name"],
            "volumeMode": "Filesystem",
        },
    }


def event(claim: Object, kind: str, reason: str, message: str) -> Object:
    """An event on a claim."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    metadata = claim["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
        "type": kind,
        "reason": reason,
        "message": message,
        "source": {"component": PROVISIONER, "host": NODE_NAME},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def serve(instance: Instance) -> None:
    """Serve the instance's claims for ever; runs inside the node."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    Provisioner(instance, Client(instance.node_ip, 6443, instance.pki)).run()
