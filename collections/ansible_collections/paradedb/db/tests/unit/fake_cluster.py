"""A cluster of database pods in a dictionary, and the rules that must hold in it at any moment.

The StatefulSet controller, the kubelet and Patroni act in random order on ``FakeKube``, as far as the rollout
depends on them. Of Patroni there are the leader lock with its ttl, elections of the instance that has most,
switchovers by its ConfigMap, restarts, clones, and a replica's readiness, which ends when it does not stream.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import preflight, rollout
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import FIELD_MANAGER
from ansible_collections.paradedb.db.plugins.module_utils.labels import API_VERSION, KIND, ROLE
from ansible_collections.paradedb.db.plugins.module_utils.patroni import dump, dynamic_configuration

from .fake_kube import Object, pod
from .fake_patroni import FakePatroni, is_ready, ordinal
from .fragile_kube import Killed

TICK = 2  # seconds
CLAIM = {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}
SPEC = {"auth": {"database": "app"}, "storage": {"size": "1Gi"}}  # what else a ParadeDB must have


@dataclass
class FakeCluster(FakePatroni):
    """One ParadeDB. ``operate`` makes a pass, ``tick`` lets two seconds go by."""

    def _populate(self) -> None:
        self.kube.run = self._run
        self.kube.on_delete = self._deleted
        self.kube.on_scale = self._scaled
        self.calm = True  # nothing but the operator makes instances fail
        self.strict = False  # whether a change of the settings may stop no replica
        self.unplaced: set[str] = set()  # instances for which there is no node
        self.altered = False  # somebody's ALTER SYSTEM waits for a restart
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
                "spec": {
                    "replicas": 1,
                    "template": {"revision": "r1", "spec": {}},
                    "volumeClaimTemplates": [CLAIM],
                },
                "status": {},
            }
        )

    # What a person and the world do

    def apply_template(self, revision: str) -> None:
        self.stateful_set["spec"]["template"]["revision"] = revision
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

    def kill_kubelet(self, node: str) -> None:
        """The node counts as lost; what runs there goes on."""
        self.lose_node(node)
        self.lost.discard(node)
        self.deaf.add(node)

    def scale_behind_its_back(self, size: int) -> None:
        """As kubectl scale does."""
        self.calm = False
        self.stateful_set["spec"]["replicas"] = size
        self.stateful_set["metadata"]["generation"] += 1

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
    def size(self) -> int:
        return int(self.stateful_set["spec"]["replicas"])

    def revisions(self) -> dict[str, str]:
        return {
            name: item["metadata"]["labels"]["controller-revision-hash"] for name, item in self.pods.items()
        }

    def ready(self) -> set[str]:
        return {name for name, item in self.pods.items() if is_ready(item)}

    # The operator

    def operate(self) -> dict[str, Any]:
        """One pass, and what it said."""
        try:
            self._configure()
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
        self._note(made.get("checks", []))
        self.check()
        return made

    def _configure(self) -> None:
        """The settings that the pass writes before its rollout; only those of replication matter here."""
        if "replication" not in self.spec:
            return
        plan = preflight.check(self.kube, "prod", "orders", SPEC | self.spec)  # type: ignore[arg-type]
        self.dynamic = dynamic_configuration(plan["spec"], "postgres", False)
        config = self.kube.objects.get(("ConfigMap", "prod", "orders-patroni-config"))
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "orders-patroni-config"}}
        config = config or self.kube.put(made)
        config["metadata"]["annotations"] = {"config": dump(self.dynamic)}

    def _note(self, checks: list[dict[str, Any]]) -> None:
        """The status, as far as the next pass goes by it."""
        known = self.resource.setdefault("status", {}).setdefault("conditions", [])
        for check in checks:
            known[:] = [item for item in known if item["type"] != check["type"]]
            known.append({"type": check["type"], "status": str(check["ok"])})

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
        self.served = {name for name in self.served if ordinal(name) < self.size}
        lacking = self.served - self.ready()
        assert len(lacking) <= 1 or not self.calm or self.size == 0, f"{lacking} are down together"
        assert not (self.strict and self.stopped), f"{self.stopped} had less than the primary"

    def _deleted(self, item: Object) -> None:
        """The operator deleted a pod: it goes in its own time, unless that was by force."""
        name = item["metadata"]["name"]
        if item["kind"] != "Pod" or self.kube.writes[-1][-1] == "at once":
            if item["kind"] == "Pod":
                assert item["spec"]["nodeName"] in self.lost | self.deaf, "by force only where a node is lost"
                assert name != self.leader or not self._is_deaf(item), "its container lives on and leads"
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
            assert ordinal(self.leader) < self.size, f"{self.leader} leads and is taken away"
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
            "updateRevision": stateful_set["spec"]["template"]["revision"],
        }
        for name in list(self.pods):
            if ordinal(name) >= self.size:
                self._go(name)
        for number in range(self.size):
            if f"orders-{number}" not in self.pods:
                self._make(number)

    def _make(self, number: int) -> None:
        made = pod(
            f"orders-{number}", ready=False, revision=self.stateful_set["spec"]["template"]["revision"]
        )
        made["metadata"]["creationTimestamp"] = self.now.isoformat()
        made["status"] = {"conditions": [], "containerStatuses": []}
        free = [number for number in range(4) if f"node-{number}" not in self.lost]
        made["spec"]["nodeName"] = f"node-{free[number % len(free)]}"
        if made["metadata"]["name"] in self.unplaced:
            no_node = {"type": "PodScheduled", "status": "False", "message": "0/4 nodes are available"}
            made["status"]["conditions"] = [no_node]
        self.silent.pop(f"orders-{number}", None)
        self.certificates[f"orders-{number}"] = self.certificate
        claim = {"name": f"data-orders-{number}", "labels": made["metadata"]["labels"]}
        spec = {"resources": {"requests": {"storage": "1Gi"}}}
        self.kube.put({"kind": "PersistentVolumeClaim", "metadata": claim, "spec": spec})
        self.kube.put(made)

    def _go(self, name: str) -> None:
        item = self.pods[name]
        item["metadata"].setdefault("deletionTimestamp", self.now.isoformat())
        if self._is_lost(item) or self._is_deaf(item):
            return
        if self.initializing == name:
            self.half_made = True
        self._set_ready(item, False)
        item["metadata"]["labels"].pop(ROLE, None)
        if self.leader == name:  # Patroni gives the lock away when it is told to end
            self.leader, self.lock_ends = "", self.now

    def _kubelet(self) -> None:
        for name, item in self.pods.items():
            if self._is_lost(item) or self._is_deaf(item):
                self._set_ready(item, False)  # as the node controller has it
            elif name in self.unplaced:
                continue
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

    def _deliver(self) -> None:
        """The kubelet brings a renewed certificate into the volumes."""
        self.arrived = self.certificate

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
            "search_version": self.search.get(self.revisions()[self.leader], ""),
            "oldest_wal": self.oldest_wal,
            "pending_restart": self.altered or bool(self._pending(self.disks[self.leader])),
            "hba_problem": None,
            "settings_applied": True,
        }
