"""The instances of a ParadeDB and their roles, as their pods and Patroni's own objects tell them.

Patroni writes what it knows of itself into an annotation of its pod in every loop, so that nothing has to be
asked of an instance: https://patroni.readthedocs.io/en/latest/kubernetes.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import instances
from ansible_collections.paradedb.db.plugins.module_utils.kube import Kube, KubeError, Object, annotations
from ansible_collections.paradedb.db.plugins.module_utils.labels import database_selector, scope
from ansible_collections.paradedb.db.plugins.module_utils.settings import SEGMENT

# An annotation of the StatefulSet: its instances were taken away by the operator, the primary as the last.
HIBERNATED = "database.paradedb.io/hibernated"

# Seconds since its renewal for which a leader lock shows that its holder lives. Longer than Patroni's ttl,
# because the clocks of two machines may differ.
LOCK_IS_FRESH = 60


@dataclass(frozen=True)
class Instance:
    """One instance: its pod, and what Patroni last said in it."""

    pod: Object
    ready: bool  # serves clients; a replica: streams, and is not too far behind
    primary: bool
    state: str = ""  # Patroni's word: running, starting, creating replica, start failed, crashed ...
    position: int = 0  # bytes of the write-ahead log that it has
    timeline: int = 0
    streaming: bool = False
    pending: dict[str, Any] = field(
        default_factory=dict
    )  # settings that wait for a restart, old and new value
    outdated: bool = False  # its pod is not made of the present template
    synchronous: bool = False

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    @property
    def ordinal(self) -> int:
        return int(self.name.rpartition("-")[2])

    @property
    def node(self) -> str:
        return str(self.pod.get("spec", {}).get("nodeName") or "")

    @property
    def going(self) -> bool:
        return "deletionTimestamp" in self.pod["metadata"]

    @property
    def pending_restart(self) -> bool:
        return bool(self.pending)

    @property
    def running(self) -> bool:
        """Whether a command can be run in it."""
        return instances.is_running(self.pod)

    @property
    def role(self) -> str:
        """What a person calls it; empty while Patroni gives it no role."""
        if self.primary:
            return "primary"
        if instances.role(self.pod) != "replica":
            return ""
        return "syncReplica" if self.synchronous else "replica"


@dataclass
class Topology:
    """All instances of one ParadeDB at a moment."""

    namespace: str
    name: str
    stateful_set: Object | None
    present: list[Instance] = field(default_factory=list)  # by ordinal; those that are going left out
    going: list[Instance] = field(default_factory=list)
    holder: str = ""  # the instance that renews the leader lock, whether its pod counts as ready or not
    failover: Object | None = None  # Patroni's object for a switchover that was asked for

    @property
    def primary(self) -> Instance | None:
        """The instance that leads and serves; none while an election is on its way."""
        return leading(self.present)

    @property
    def requested(self) -> bool:
        """Whether Patroni has a switchover still to do."""
        asked = annotations(self.failover)
        return bool(asked.get("leader") or asked.get("member"))

    @property
    def replicas(self) -> list[Instance]:
        primary = self.primary
        return [item for item in self.present if item is not primary]

    @property
    def size(self) -> int:
        """How many instances the StatefulSet holds."""
        return int((self.stateful_set or {}).get("spec", {}).get("replicas", 1))

    @property
    def hibernated(self) -> bool:
        """Whether it was the operator who took the instances away, in order."""
        return bool(annotations(self.stateful_set).get(HIBERNATED) == "true")

    def lag(self, instance: Instance) -> int:
        """Bytes by which an instance is behind the primary, as far as both have told."""
        if not self.primary or not instance.position:
            return 0
        return max(self.primary.position - instance.position, 0)

    def table(self) -> list[dict[str, Any]]:
        """The instances as the status shows them; the lag in whole segments, which is not always news."""
        return [
            {
                "name": item.name,
                "role": item.role,
                "state": item.state,
                "ready": item.ready,
                "timeline": item.timeline,
                "lagBytes": self.lag(item) // SEGMENT * SEGMENT,
                "pendingRestart": item.pending_restart,
                "node": item.node,
            }
            for item in self.present
        ]


def observe(kube: Kube, namespace: str, name: str) -> Topology:
    """Read the instances and what Patroni keeps about them. Nothing is asked of a pod."""
    stateful_set = kube.get("apps/v1", "StatefulSet", namespace, name)
    synchronous, holder, failover = "", "", None
    pods = instances.all_pods(kube, namespace, name)
    if len(pods) > 1 or not all(map(instances.is_ready, pods)):
        synchronous = _annotations(kube, namespace, f"{scope(name)}-sync").get("sync_standby") or ""
        holder = _holder(_annotations(kube, namespace, f"{scope(name)}-leader"), datetime.now(UTC))
        failover = kube.get("v1", "ConfigMap", namespace, f"{scope(name)}-failover")
    found = [parse(pod, stateful_set, synchronous.split(",")) for pod in pods]
    found.sort(key=lambda item: item.ordinal)
    return Topology(
        namespace,
        name,
        stateful_set,
        [item for item in found if not item.going],
        [item for item in found if item.going],
        holder,
        failover,
    )


def leading(present: list[Instance]) -> Instance | None:
    """The primary among them.

    One that is cut off from the API server keeps its role there for a while after another has taken over: the
    one of the latest timeline leads.
    """
    serving = [item for item in present if item.primary and item.ready]
    return max(serving, key=lambda item: item.timeline, default=None)


def parse(pod: Object, stateful_set: Object | None, synchronous: list[str]) -> Instance:
    """An instance out of its pod; what Patroni has not said yet, or not legibly, is left open."""
    said = _said(pod)
    # The label comes with the lock, the word with the promotion that follows it.
    promoted = said.get("role") in (None, "primary")
    return Instance(
        pod=pod,
        ready=instances.is_ready(pod),
        primary=instances.is_primary(pod) and promoted,
        state=str(said.get("state", "")),
        position=_number(said.get("xlog_location")),
        timeline=_number(said.get("timeline")),
        streaming=said.get("replication_state") == "streaming",
        pending=_pending(said),
        outdated=_is_outdated(pod, stateful_set),
        synchronous=pod["metadata"]["name"] in synchronous,
    )


def is_current(stateful_set: Object | None) -> bool:
    """Whether the StatefulSet controller has seen what was applied."""
    if stateful_set is None:
        return False
    observed = stateful_set.get("status", {}).get("observedGeneration", 0)
    return bool(observed >= stateful_set["metadata"]["generation"])


def unready_for(instance: Instance, now: datetime) -> float:
    """Seconds since the instance stopped being ready, or since its pod was made; 0 for a ready one."""
    return 0.0 if instance.ready else (now - instances.unready_since(instance.pod)).total_seconds()


def kept_instances(kube: Kube, namespace: str, name: str) -> int:
    """How many instances there are data of: one more than the highest number with a claim; 0 without."""
    claims = kube.list("v1", "PersistentVolumeClaim", namespace, database_selector(name))
    kept = [item["metadata"]["name"].rpartition("-") for item in claims]
    return max((int(ordinal) + 1 for which, _, ordinal in kept if which == f"data-{name}"), default=0)


def node_states(kube: Kube, topology: Topology) -> dict[str, Object]:
    """The nodes of the instances by name. Empty for who may not read nodes: then none is known to be lost."""
    names = {item.node for item in topology.present + topology.going if item.node}
    try:
        return {name: node for name in sorted(names) if (node := kube.get("v1", "Node", "", name))}
    except KubeError as error:
        if error.status == 403:
            return {}
        raise


def lost_since(node: Object | None) -> datetime | None:
    """When the node stopped being ready, as the node controller saw it; None for one that is well."""
    for item in ((node or {}).get("status") or {}).get("conditions") or []:
        if item["type"] == "Ready" and item["status"] != "True":
            since = item.get("lastTransitionTime")
            return datetime.fromisoformat(since) if since else datetime.now(UTC)
    return None


def is_cordoned(node: Object | None) -> bool:
    return bool(((node or {}).get("spec") or {}).get("unschedulable"))


def _is_outdated(pod: Object, stateful_set: Object | None) -> bool:
    if stateful_set is None or not is_current(stateful_set):
        return False
    return bool(
        pod["metadata"]["labels"].get(instances.REVISION) != stateful_set["status"].get("updateRevision")
    )


def _said(pod: Object) -> dict[str, Any]:
    try:
        said = json.loads(pod["metadata"]["annotations"]["status"])
    except (KeyError, TypeError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _pending(said: dict[str, Any]) -> dict[str, Any]:
    """What waits for a restart, by setting; Patroni before 4.0 says only that something does."""
    if not said.get("pending_restart"):
        return {}
    reasons = said.get("pending_restart_reason")
    return reasons if isinstance(reasons, dict) and reasons else {"": {}}


def _holder(lock: dict[str, Any], now: datetime) -> str:
    """Who holds the leader lock, if it was renewed of late."""
    try:
        age = (now - datetime.fromisoformat(lock["renewTime"])).total_seconds()
    except (KeyError, TypeError, ValueError):
        return ""
    return str(lock.get("leader") or "") if age < LOCK_IS_FRESH else ""


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _annotations(kube: Kube, namespace: str, name: str) -> dict[str, Any]:
    return annotations(kube.get("v1", "ConfigMap", namespace, name))
