"""A cluster of database pods in a dictionary, and the rules that must hold in it at any moment.

The StatefulSet controller, the kubelet and Patroni act in random order on ``FakeKube``, as far as the rollout
depends on them. Of Patroni there are the leader lock with its ttl, elections of the instance that has most,
switchovers by its ConfigMap, restarts, clones, and a replica's readiness, which ends when it does not stream.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import rollout
from ansible_collections.paradedb.db.plugins.module_utils.decision import HOT_STANDBY_SENSITIVE
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import FIELD_MANAGER
from ansible_collections.paradedb.db.plugins.module_utils.labels import API_VERSION, KIND, ROLE
from ansible_collections.paradedb.db.plugins.module_utils.patroni import TTL

from .fake_kube import FakeKube, Object, pod

TICK = 2  # seconds
PROBES = 3  # ticks until an instance that does not stream counts as not ready


class Killed(Exception):
    """The pass ends here, as by SIGKILL."""


class FragileKube(FakeKube):
    """Counts a StatefulSet's generations, and can end a pass before or after a write."""

    def __init__(self) -> None:
        super().__init__()
        self.fuse: Random | None = None
        self.on_scale: Callable[[int], None] = lambda before: None

    def merge_patch(self, target: Object, patch: Object, subresource: str = "") -> Object:
        self._burn()
        before = self.objects[(target["kind"], target["metadata"]["namespace"], target["metadata"]["name"])]
        made = super().merge_patch(target, patch, subresource)
        if target["kind"] == "StatefulSet":
            made["metadata"]["generation"] += 1
            self.on_scale(before["spec"]["replicas"])
        self._burn()
        return made

    def apply(self, definition: Object, dry_run: bool = False) -> Object:
        self._burn()
        made = super().apply(definition, dry_run)
        self._burn()
        return made

    def delete(self, target: Object, propagation: str = "Background", at_once: bool = False) -> bool:
        self._burn()
        made = super().delete(target, propagation, at_once)
        self._burn()
        return made

    def execute(self, namespace: str, pod: str, command: Any, stdin: str = "") -> str:
        self._burn()
        made = super().execute(namespace, pod, command, stdin)
        self._burn()
        return made

    def _burn(self) -> None:
        if self.fuse and self.fuse.random() < 0.25:
            raise Killed


@dataclass
class Disk:
    """What is on an instance's volume; it outlives the pod."""

    position: int
    timeline: int
    settings: dict[str, int]


@dataclass
class FakeCluster:
    """One ParadeDB. ``operate`` makes a pass, ``tick`` lets two seconds go by."""

    spec: dict[str, Any]
    seed: int = 0
    settings: dict[str, int] = field(default_factory=lambda: {"max_connections": 100})
    broken: set[str] = field(default_factory=set)  # revisions whose image cannot be pulled
    certificate: str = ""

    def __post_init__(self) -> None:
        self.random = Random(self.seed)  # noqa: S311 - no secret
        self.kube = FragileKube()
        self.kube.run = self._run
        self.kube.on_delete = self._deleted
        self.kube.on_scale = self._scaled
        self.now = datetime(2025, 1, 1, tzinfo=UTC)
        self.disks: dict[str, Disk] = {}
        self.certificates: dict[str, str] = {}  # what PostgreSQL of each pod has loaded
        self.arrived = self.certificate  # what the kubelet has brought into the pods
        self.reloads: list[str] = []
        self.clones: list[str] = []
        self.leader, self.leaders = "", list[str]()
        self.lock_ends = self.now
        self.position, self.oldest_wal, self.timeline = 100, 0, 1
        self.silent: dict[str, int] = {}  # ticks since a replica last streamed
        self.served: set[str] = (
            set()
        )  # instances that were ready once: these must not be lacking two at a time
        self.lost: set[str] = set()  # nodes
        self.calm = True  # nothing but the operator makes instances fail
        self.strict = False  # whether a change of the settings may stop no replica
        self.stopped: list[str] = []  # replicas that had less of a setting than the primary
        self.skipped: set[str] = set()  # instances whose Patroni did nothing in the last tick
        self.kube.put(
            {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "orders", "annotations": {}}}
        )
        self.kube.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "orders-patroni-sync"}})
        for number in range(4):
            node = {"name": f"node-{number}", "namespace": ""}
            self.kube.put({"apiVersion": "v1", "kind": "Node", "metadata": node, "spec": {}, "status": {}})
        self.kube.put(
            {
                "apiVersion": "apps/v1",
                "kind": "StatefulSet",
                "metadata": {"name": "orders", "generation": 1},
                "spec": {"replicas": 1, "template": "r1"},
                "status": {},
            }
        )

    # What a person and the world do

    def apply_template(self, revision: str) -> None:
        self.stateful_set["spec"]["template"] = revision
        self.stateful_set["metadata"]["generation"] += 1

    def change_settings(self, **settings: int) -> None:
        self.settings = self.settings | settings
        written = {"manager": FIELD_MANAGER, "time": self.now.isoformat()}
        self.kube.put(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "orders-patroni-config", "managedFields": [written]},
            }
        )

    def wish(self, instance: str) -> None:
        self.resource["metadata"].setdefault("annotations", {})["database.paradedb.io/switchover"] = instance

    def cordon(self, node: str) -> None:
        self.kube.objects[("Node", "", node)]["spec"]["unschedulable"] = True

    def crash(self, name: str) -> None:
        """The pod is gone at once, its lock stays until it ends."""
        self.calm = False
        del self.kube.objects[("Pod", "prod", name)]

    def lose_node(self, node: str) -> None:
        self.calm = False
        self.lost.add(node)
        since = self.now.isoformat()
        condition = {"type": "Ready", "status": "Unknown", "lastTransitionTime": since}
        self.kube.objects[("Node", "", node)]["status"] = {"conditions": [condition]}

    # What a test looks at

    @property
    def stateful_set(self) -> Object:
        return self.kube.objects[("StatefulSet", "prod", "orders")]

    @property
    def resource(self) -> Object:
        return self.kube.objects[(KIND, "prod", "orders")]

    @property
    def pods(self) -> dict[str, Object]:
        return {name: item for (kind, _, name), item in sorted(self.kube.objects.items()) if kind == "Pod"}

    @property
    def size(self) -> int:
        return int(self.stateful_set["spec"]["replicas"])

    def revisions(self) -> dict[str, str]:
        return {
            name: item["metadata"]["labels"]["controller-revision-hash"] for name, item in self.pods.items()
        }

    def ready(self) -> set[str]:
        return {name for name, item in self.pods.items() if _is_ready(item)}

    # The operator

    def operate(self) -> dict[str, Any]:
        """One pass, and what it said."""
        try:
            made = rollout.reconcile(
                self.kube,  # type: ignore[arg-type]
                "prod",
                "orders",
                self.spec,
                self._database(),
                False,
                self.certificate,
            )
        except Refused as refused:
            made = {"settled": False, "reason": refused.reason, "message": str(refused), "refused": True}
        except Killed:
            made = {"settled": False, "reason": "Killed", "message": ""}
        self.check()
        return made

    def settle(self, passes: int = 400) -> list[dict[str, Any]]:
        """Pass after pass until one finds everything done, twice; fails when that does not come."""
        said: list[dict[str, Any]] = []
        for _ in range(passes):
            said.append(self.operate())
            if len(said) > 1 and said[-1]["settled"] and said[-2]["settled"]:
                return said
            for _ in range(self.random.randint(0, 3)):
                self.tick()
        raise AssertionError(f"not settled: {[item['message'] for item in said[-5:]]}")

    # The rules

    def check(self) -> None:
        """At most one of the instances that served is not ready; no replica stops over a setting."""
        self.served = {name for name in self.served if _ordinal(name) < self.size}
        lacking = self.served - self.ready()
        assert len(lacking) <= 1 or not self.calm or self.size == 0, f"{lacking} are down together"
        assert not (self.strict and self.stopped), f"{self.stopped} had less than the primary"

    def _lacks(self, name: str) -> bool:
        """Whether a standby has less than the primary of a setting of which it needs as much."""
        if self.leader in ("", name) or not {name, self.leader} <= set(self.disks):
            return False
        has, needs = self.disks[name].settings, self.disks[self.leader].settings
        return any(has.get(setting, 0) < needs.get(setting, 0) for setting in HOT_STANDBY_SENSITIVE)

    def _deleted(self, item: Object) -> None:
        """The operator deleted a pod: it goes in its own time, unless that was by force."""
        name = item["metadata"]["name"]
        if item["kind"] != "Pod" or self.kube.writes[-1][-1] == "at once":
            assert item["kind"] != "Pod" or item["spec"]["nodeName"] in self.lost, (
                "by force only where a node is lost"
            )
            return
        others = [other for other in self.ready() if other != name]
        assert name != self.leader or not others, f"{name} leads, and {others} could"
        assert len(self.served - self.ready() - {name}) == 0 or not self.calm, "another is down already"
        self.kube.objects[("Pod", "prod", name)] = copy.deepcopy(item)
        self._go(name)

    def _scaled(self, before: int) -> None:
        if self.size >= before:
            return
        if self.size:
            assert self.leader, "instances are taken away while nobody leads"
            assert _ordinal(self.leader) < self.size, f"{self.leader} leads and is taken away"
        else:
            assert set(self.pods) <= {"orders-0"}, "the first does not sleep last"
            assert self.leader in ("", "orders-0"), "another than the first leads"

    # StatefulSet controller, kubelet and Patroni

    def tick(self) -> None:
        self.now += timedelta(seconds=TICK)
        parts = [self._controller, self._kubelet, self._patroni, self._elect, self._hand_over, self._deliver]
        self.random.shuffle(parts)
        for part in parts:
            if part == self._patroni or self.random.random() < 0.8:
                part()
        self.check()

    def _controller(self) -> None:
        stateful_set = self.stateful_set
        stateful_set["status"] = {
            "observedGeneration": stateful_set["metadata"]["generation"],
            "updateRevision": stateful_set["spec"]["template"],
        }
        for name in list(self.pods):
            if _ordinal(name) >= self.size:
                self._go(name)
        for ordinal in range(self.size):
            if f"orders-{ordinal}" not in self.pods:
                self._make(ordinal)

    def _make(self, ordinal: int) -> None:
        made = pod(f"orders-{ordinal}", ready=False, revision=self.stateful_set["spec"]["template"])
        made["metadata"]["creationTimestamp"] = self.now.isoformat()
        made["status"] = {"conditions": [], "containerStatuses": []}
        free = [number for number in range(4) if f"node-{number}" not in self.lost]
        made["spec"]["nodeName"] = f"node-{free[ordinal % len(free)]}"
        self.silent.pop(f"orders-{ordinal}", None)
        self.certificates[f"orders-{ordinal}"] = self.certificate
        self.kube.put(made)

    def _go(self, name: str) -> None:
        item = self.pods[name]
        item["metadata"].setdefault("deletionTimestamp", self.now.isoformat())
        if self._is_lost(item):
            return
        self._set_ready(item, False)
        item["metadata"]["labels"].pop(ROLE, None)
        if self.leader == name:  # Patroni gives the lock away when it is told to end
            self.leader, self.lock_ends = "", self.now

    def _kubelet(self) -> None:
        for name, item in self.pods.items():
            if self._is_lost(item):
                self._set_ready(item, False)  # as the node controller has it
            elif "deletionTimestamp" in item["metadata"]:
                if self.random.random() < 0.5:
                    del self.kube.objects[("Pod", "prod", name)]
            elif not item["status"]["containerStatuses"]:
                self._start(name, item)

    def _start(self, name: str, item: Object) -> None:
        broken = item["metadata"]["labels"]["controller-revision-hash"] in self.broken
        state = {"waiting": {"reason": "ImagePullBackOff"}} if broken else {"running": {}}
        item["status"]["containerStatuses"] = [{"name": "paradedb", "image": "i", "state": state}]
        if not broken:
            self._begin(name)

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
        self.position += self.random.randint(0, 10)
        names = [name for name in self.pods if self._is_up(name)]
        for name in sorted(names, key=lambda item: item != self.leader):
            # Each loops by itself, at least every other tick.
            if name in self.skipped or self.random.random() < 0.8:
                self.skipped.discard(name)
                self._loop(name)
            else:
                self.skipped.add(name)
        streaming = [name for name in names if _said(self.pods[name]).get("replication_state")]
        if (self.spec.get("replication") or {}).get("mode") == "sync":
            sync = self.kube.objects[("ConfigMap", "prod", "orders-patroni-sync")]["metadata"]
            kept = sync.get("annotations", {}).get("sync_standby", "")
            sync["annotations"] = {"sync_standby": kept if kept in streaming else next(iter(streaming), "")}

    def _loop(self, name: str) -> None:
        """One loop of one Patroni: its label and its annotation."""
        item, disk, leads = self.pods[name], self.disks.get(name), name == self.leader
        said: dict[str, Any] = {"state": "running", "role": "primary" if leads else "replica"}
        if leads and disk:
            disk.position, disk.timeline = self.position, self.timeline
        elif disk is None:
            said["state"] = "creating replica"
            if self._is_up(self.leader) and self.random.random() < 0.4:
                self.disks[name] = Disk(self.position, self.timeline, {})
                self._begin(name)
        elif self._lacks(name):  # it stops, and Patroni starts it with what the primary has
            self.stopped.append(name)
            self._begin(name)
        elif self._is_up(self.leader) and disk.position >= self.oldest_wal:
            said["replication_state"] = "streaming"
            disk.position, disk.timeline = (
                max(self.position - self.random.randint(0, 5), disk.position),
                self.timeline,
            )
        streams = leads or "replication_state" in said
        self.silent[name] = 0 if streams else self.silent.get(name, PROBES) + 1
        if streams and self.random.random() < 0.7:
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
        if self.leader or self.now < self.lock_ends:
            return
        able = [name for name in self.pods if self._is_up(name) and (name in self.disks or not self.disks)]
        if not able:
            return
        best = max(able, key=lambda name: (self.disks[name].position if name in self.disks else 0, name))
        if best not in self.disks:  # the first of all
            self.disks[best] = Disk(self.position, 0, dict(self.settings))
        if best != (self.leaders or [""])[-1] or self.disks[best].timeline == 0:
            self.timeline += 1
        self.leader = best
        self.leaders.append(best)

    def _hand_over(self) -> None:
        found = self.kube.objects.get(("ConfigMap", "prod", "orders-patroni-failover"))
        asked = (found or {"metadata": {}})["metadata"].get("annotations") or {}
        if not found or not asked:
            return
        found["metadata"]["annotations"] = {}
        leader, to = asked["leader"], asked["member"]
        able = self._is_up(to) and _said(self.pods[to]).get("replication_state") == "streaming"
        sync = self.kube.objects[("ConfigMap", "prod", "orders-patroni-sync")]["metadata"].get("annotations")
        if (
            leader != self.leader
            or not self._is_up(leader)
            or not able
            or (sync and to != sync["sync_standby"])
        ):
            return
        self.disks[to].position = self.position
        self._set_ready(self.pods[leader], False)
        self.pods[leader]["metadata"]["labels"].pop(ROLE, None)
        self.leader = to  # the lock changes hands within the loop; the old one starts again as a replica
        self.leaders.append(to)
        self.timeline += 1
        self._begin(leader)

    def _deliver(self) -> None:
        """The kubelet brings a renewed certificate into the volumes."""
        self.arrived = self.certificate

    # Commands in pods

    def _run(self, command: list[str], _stdin: str) -> str:
        name = self.kube.commands[-1][0]
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
            self.disks.pop(name, None)
            self._forget(name)
        return ""

    def _forget(self, name: str) -> None:
        self.pods[name]["metadata"]["annotations"]["status"] = json.dumps({"state": "restarting"})

    def _database(self) -> dict[str, Any]:
        """What the database module would have found."""
        primary = (
            self.leader in self.ready()
            and self.pods[self.leader]["metadata"]["labels"].get(ROLE) == "primary"
        )
        if not primary:
            return {"connected": False}
        return {
            "connected": True,
            "search_version": "",
            "oldest_wal": self.oldest_wal,
            "pending_restart": bool(self._pending(self.disks[self.leader])),
            "hba_problem": None,
            "settings_applied": True,
        }

    def _is_lost(self, item: Object) -> bool:
        return item["spec"].get("nodeName") in self.lost

    def _is_up(self, name: str) -> bool:
        item = self.pods.get(name)
        if item is None or "deletionTimestamp" in item["metadata"] or self._is_lost(item):
            return False
        return any("running" in each["state"] for each in item["status"]["containerStatuses"])

    def _set_ready(self, item: Object, ready: bool) -> None:
        if _is_ready(item) != ready or not item["status"]["conditions"]:
            condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": self.now.isoformat()}
            item["status"]["conditions"] = [condition]


def _ordinal(name: str) -> int:
    return int(name.rpartition("-")[2])


def _is_ready(item: Object) -> bool:
    return any(each["status"] == "True" for each in item["status"]["conditions"])


def _said(item: Object) -> dict[str, Any]:
    return json.loads((item["metadata"].get("annotations") or {}).get("status", "{}"))
