"""What a cluster holds, and Patroni as far as the rollout depends on it; see fake_cluster.py."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.decision import HOT_STANDBY_SENSITIVE
from ansible_collections.paradedb.db.plugins.module_utils.labels import ROLE
from ansible_collections.paradedb.db.plugins.module_utils.patroni import TTL

from .fragile_kube import FragileKube, Object

PROBES = 3  # ticks until an instance that does not stream counts as not ready


@dataclass
class Disk:
    """What is on an instance's volume; it outlives the pod."""

    position: int
    timeline: int
    settings: dict[str, int]


@dataclass
class FakePatroni:
    """The instances' volumes and their Patronis."""

    spec: dict[str, Any]
    seed: int = 0
    settings: dict[str, int] = field(default_factory=lambda: {"max_connections": 100})
    broken: set[str] = field(default_factory=set)  # revisions whose image cannot be pulled
    certificate: str = ""
    initdb: int = 0  # ticks that the making of the first instance takes
    search: dict[str, str] = field(default_factory=dict)  # version of pg_search by the pod's revision

    def __post_init__(self) -> None:
        self.random = Random(self.seed)  # noqa: S311 - no secret
        self.kube = FragileKube()
        self.now = datetime(2025, 1, 1, tzinfo=UTC)
        self.disks: dict[str, Disk] = {}
        self.leader, self.leaders = "", list[str]()
        self.lock_ends = self.now
        self.position, self.oldest_wal, self.timeline = 100, 0, 1
        self.lacked = 0  # bytes that another had and the one that was elected last had not
        self.dynamic: dict[str, Any] = {}  # Patroni's dynamic configuration
        self.hung = 0  # ticks in which no write was confirmed
        self.silent: dict[str, int] = {}  # ticks since a replica last streamed
        self.served: set[str] = set()  # were ready once: these must not be lacking two at a time
        self.stopped: list[str] = []  # replicas that had less of a setting than the primary
        self.skipped: set[str] = set()  # instances whose Patroni did nothing in the last tick
        self.clones: list[str] = []
        self.reloads: list[str] = []
        self.certificates: dict[str, str] = {}  # what PostgreSQL of each pod has loaded
        self.arrived = self.certificate  # what the kubelet has brought into the pods
        self.refuses = False  # Patroni takes every request for a switchover away
        self.initializing, self.half_made = "", False  # who runs initdb; whether that was cut off
        self.lost: set[str] = set()  # nodes
        self.deaf: set[str] = set()  # nodes whose kubelet alone is dead
        self.full: set[str] = set()  # instances without room on their disk
        self.corrupt: set[str] = set()  # instances that do not start with their data
        self.failing: set[str] = set()  # revisions with which PostgreSQL does not start
        self.recovering: dict[str, int] = {}  # loops that the recovery of a crash still takes
        self.replaying: dict[str, int] = {}  # loops until a replica has gone through its own log
        self._populate()

    def _populate(self) -> None:
        """Put the objects there that are there from the start."""

    @property
    def pods(self) -> dict[str, Object]:
        return {name: item for (kind, _, name), item in sorted(self.kube.objects.items()) if kind == "Pod"}

    def _lacks(self, name: str) -> bool:
        """Whether a standby has less than the primary of a setting of which it needs as much."""
        if self.leader in ("", name) or not {name, self.leader} <= set(self.disks):
            return False
        has, needs = self.disks[name].settings, self.disks[self.leader].settings
        return any(has.get(setting, 0) < needs.get(setting, 0) for setting in HOT_STANDBY_SENSITIVE)

    def _begin(self, name: str) -> None:
        """PostgreSQL starts: what a standby may not have less of than the primary, it takes from there."""
        if name in self.disks:
            least = self.disks[self.leader].settings if self.leader and self.leader != name else {}
            self.disks[name].settings = {
                key: max(value, least.get(key, 0)) for key, value in self.settings.items()
            }

    def _patroni(self) -> None:
        if self.leader and not self._is_up(self.leader):
            if self.now >= self.lock_ends:
                self.leader = ""
        elif self.leader:
            self.lock_ends = self.now + timedelta(seconds=TTL)
            lock = {"leader": self.leader, "renewTime": self.now.isoformat()}
            metadata = {"name": "orders-patroni-leader", "annotations": lock}
            self.kube.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
        self.position += self.random.randint(0, 10)
        names = [name for name in self.pods if self._is_up(name)]
        for name in sorted(names, key=lambda item: item != self.leader):
            # Each loops by itself, at least every other tick.
            if name in self.skipped or self.random.random() < 0.8:
                self.skipped.discard(name)
                self._loop(name)
            else:
                self.skipped.add(name)
        self._synchronize([name for name in names if said_by(self.pods[name]).get("replication_state")])

    def _synchronize(self, streaming: list[str]) -> None:
        """Who is synchronous stays so while it streams; ``strict`` makes every write wait for one."""
        sync = self.kube.objects[("ConfigMap", "prod", "orders-patroni-sync")]["metadata"]
        if not self.dynamic.get("synchronous_mode"):
            sync["annotations"] = {}
        elif self.leader:
            kept = sync.get("annotations", {}).get("sync_standby", "")
            one = kept if kept in streaming else next((name for name in streaming if name != self.leader), "")
            sync["annotations"] = {"leader": self.leader, "sync_standby": one}
            self.hung += bool(self.dynamic.get("synchronous_mode_strict") and not one)

    def _synchronous(self) -> set[str]:
        """Those that have all that was acknowledged; empty where it is not known."""
        sync = self.kube.objects[("ConfigMap", "prod", "orders-patroni-sync")]["metadata"]
        return set((sync.get("annotations") or {}).values()) - {""}

    def _loop(self, name: str) -> None:
        """One loop of one Patroni: its label and its annotation."""
        item, disk, leads = self.pods[name], self.disks.get(name), name == self.leader
        said: dict[str, Any] = {"state": "running", "role": "primary" if leads else "replica"}
        if name == self.initializing:
            said["state"] = "initializing new cluster"
        elif name in self.corrupt or item["metadata"]["labels"]["controller-revision-hash"] in self.failing:
            said["state"] = "start failed"
        elif self.recovering.get(name, 0) > 0:
            self.recovering[name] -= 1
            said |= {"state": "starting", "role": "replica"}
        elif disk and self.replaying.get(name, 0) > 0:  # its own log, of which the primary has less
            self.replaying[name] -= 1
            disk.position += 1
        elif leads and disk:
            disk.position, disk.timeline = self.position, self.timeline
        elif disk is None:
            said["state"] = "creating replica"
            if self._is_up(self.leader) and self.random.random() < 0.4:
                self.disks[name] = Disk(self.position, self.timeline, {})
                self._begin(name)
        elif self._lacks(name):  # it stops, and Patroni starts it with what the primary has
            self.stopped.append(name)
            self._begin(name)
        elif self._is_up(self.leader) and disk.position >= self.oldest_wal and name not in self.full:
            said["replication_state"] = "streaming"
            disk.position, disk.timeline = (
                max(self.position - self.random.randint(0, 5), disk.position),
                self.timeline,
            )
        streams = said["state"] == "running" and (leads or "replication_state" in said)
        self.silent[name] = 0 if streams else self.silent.get(name, PROBES) + 1
        if self._is_deaf(item):
            self._set_ready(item, False)  # as the node controller has it
        elif streams and self.random.random() < 0.7:
            self._set_ready(item, True)
            self.served.add(name)
        elif self.silent[name] > PROBES:
            self._set_ready(item, False)
        if disk:
            said |= {"xlog_location": disk.position, "timeline": disk.timeline}
            if pending := self._pending(disk):
                said |= {"pending_restart": True, "pending_restart_reason": pending}
        item["metadata"]["annotations"] = (item["metadata"].get("annotations") or {}) | {
            "status": json.dumps(said)
        }
        if said["state"] == "running":
            item["metadata"]["labels"][ROLE] = said["role"]

    def _pending(self, disk: Disk) -> dict[str, Any]:
        return {
            name: {"old_value": str(disk.settings[name]), "new_value": str(value)}
            for name, value in self.settings.items()
            if disk.settings.get(name, value) != value
        }

    def _elect(self) -> None:
        if self.leader or self.now < self.lock_ends or self.half_made:
            return
        able = [name for name in self.pods if self._is_up(name) and (name in self.disks or not self.disks)]
        if self.dynamic.get("synchronous_mode"):
            able = [name for name in able if name in self._synchronous() or not self._synchronous()]
        able = [name for name in able if name not in self.corrupt and not self.recovering.get(name)]
        if not able:
            return
        if not self.disks and self._initialize(able[0]):
            return
        best = max(able, key=lambda name: (self.disks[name].position if name in self.disks else 0, name))
        if best not in self.disks:  # the first of all
            self.disks[best] = Disk(self.position, 0, dict(self.settings))
        if best != (self.leaders or [""])[-1] or self.disks[best].timeline == 0:
            self.timeline += 1
        self.leader = best
        self.leaders.append(best)
        self.lacked = max(disk.position for disk in self.disks.values()) - self.disks[best].position

    def _initialize(self, name: str) -> bool:
        """initdb, which has to come to its end: whether it still runs."""
        self.initializing = name if self.initdb > 0 else ""
        self.initdb -= 1
        return bool(self.initializing)

    def _hand_over(self) -> None:
        found = self.kube.objects.get(("ConfigMap", "prod", "orders-patroni-failover"))
        asked = (found or {"metadata": {}})["metadata"].get("annotations") or {}  # our own note stays
        leader, to = asked.pop("leader", ""), asked.pop("member", "")
        if not leader or self.refuses:
            return
        able = self._is_up(to) and said_by(self.pods[to]).get("replication_state") == "streaming"
        if (
            leader != self.leader
            or not self._is_up(leader)
            or not able
            or (self._synchronous() and to not in self._synchronous())
        ):
            return
        self.disks[to].position = self.position
        self._set_ready(self.pods[leader], False)
        self.pods[leader]["metadata"]["labels"].pop(ROLE, None)
        self.leader = to  # the lock changes hands within the loop; the old one starts again as a replica
        self.leaders.append(to)
        self.timeline += 1
        self._begin(leader)

    # Commands in pods

    def _run(self, command: list[str], _stdin: str) -> str:
        name = self.kube.commands[-1][0]
        if command[0] == "df" and name in self.full:
            return "Avail Inodes IFree\n0 1000 900\n"
        if command[0] == "df":
            return "Avail Inodes IFree\n1000000000 1000 900\n"
        if "sha256sum" in command[-1]:
            return f"{self.arrived}  -\n"
        if "kill -HUP" in command[-1]:
            self.certificates[name] = self.arrived
            self.reloads.append(name)
        elif "restart" in command:
            if not self._pending(self.disks[name]):
                return ""  # Patroni restarts only what waits for it
            self._set_ready(self.pods[name], False)
            self._begin(name)
            self._forget(name)
        elif "reinit" in command:
            assert name != self.leader, "the primary's data are thrown away"
            self.clones.append(name)
            self.corrupt.discard(name)
            self.disks.pop(name, None)
            self._forget(name)
        return ""

    def _forget(self, name: str) -> None:
        self.pods[name]["metadata"]["annotations"]["status"] = json.dumps({"state": "restarting"})

    def _is_lost(self, item: Object) -> bool:
        return item["spec"].get("nodeName") in self.lost

    def _is_deaf(self, item: Object) -> bool:
        """Whether its kubelet is dead, and PostgreSQL and Patroni live on."""
        return item["spec"].get("nodeName") in self.deaf

    def _is_up(self, name: str) -> bool:
        item = self.pods.get(name)
        if item is None or "deletionTimestamp" in item["metadata"] or self._is_lost(item):
            return False
        return any("running" in each["state"] for each in item["status"]["containerStatuses"])

    def _set_ready(self, item: Object, ready: bool) -> None:
        if is_ready(item) != ready or not item["status"]["conditions"]:
            condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": self.now.isoformat()}
            item["status"]["conditions"] = [condition]


def ordinal(name: str) -> int:
    return int(name.rpartition("-")[2])


def is_ready(item: Object) -> bool:
    return any(each["status"] == "True" for each in item["status"]["conditions"])


def said_by(item: Object) -> dict[str, Any]:
    return json.loads((item["metadata"].get("annotations") or {}).get("status", "{}"))
