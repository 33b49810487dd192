"""What each step does to the cluster, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import steps
from ansible_collections.paradedb.db.plugins.module_utils.kube import ExecFailed
from ansible_collections.paradedb.db.plugins.module_utils.topology import Instance, Topology

from .fake_kube import FakeKube, pod

CHECKSUM = "ab" * 32
NOW = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture
def kube() -> FakeKube:
    stateful_set = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "orders", "generation": 1},
        "spec": {"replicas": 2, "serviceName": "x"},
    }
    return FakeKube(stateful_set, pod("orders-0", role="primary"), pod("orders-1", role="replica"))


def seen(kube: FakeKube) -> Topology:
    members = [
        Instance(kube.objects[("Pod", "prod", f"orders-{number}")], ready=True, primary=number == 0)
        for number in (0, 1)
    ]
    stateful_set = kube.get("apps/v1", "StatefulSet", "prod", "orders")
    failover = kube.get("v1", "ConfigMap", "prod", "orders-patroni-failover")
    return Topology("prod", "orders", stateful_set, members, failover=failover)


def take(step: steps.Step, kube: FakeKube) -> None:
    assert step.act is not None
    step.act(kube)  # type: ignore[arg-type]


def test_a_handover_is_asked_for_once(kube: FakeKube) -> None:
    leader, to = seen(kube).present
    step = steps.hand_over(seen(kube), leader, to, "because of that", datetime.now(UTC))
    take(step, kube)
    assert kube.writes == [("apply", "ConfigMap", "orders-patroni-failover")]
    asked = kube.objects[("ConfigMap", "prod", "orders-patroni-failover")]["metadata"]["annotations"]
    assert (asked["leader"], asked["member"]) == ("orders-0", "orders-1")
    assert step.event == "Making orders-1 the primary in place of orders-0, because of that"
    again = steps.hand_over(seen(kube), leader, to, "because of that", datetime.now(UTC))
    assert (again.act, again.event) == (None, "")


def test_a_replacement_lets_the_pod_end_in_order(kube: FakeKube) -> None:
    take(steps.replacement(seen(kube).present[1]), kube)
    assert kube.writes == [("delete", "Pod", "orders-1")]


def test_a_pod_of_a_lost_node_is_given_up_at_once(kube: FakeKube) -> None:
    step = steps.elsewhere(seen(kube).present[1])
    take(step, kube)
    assert kube.writes == [("delete", "Pod", "orders-1", "at once")]
    assert step.warning is True
    assert "by force" in step.event


def test_a_namesake_made_since_is_not_deleted(kube: FakeKube) -> None:
    step = steps.replacement(seen(kube).present[1])
    kube.put(pod("orders-1"))
    take(step, kube)
    assert kube.writes == []


@pytest.mark.parametrize(
    ("size", "reason", "hibernated"),
    [(3, "ScalingUp", False), (1, "ScalingDown", False), (0, "ScalingDown", True)],
)
def test_scaling(kube: FakeKube, size: int, reason: str, hibernated: bool) -> None:
    step = steps.scale(seen(kube), size)
    take(step, kube)
    ((*_, patch),) = kube.writes  # one write: a pass that is killed leaves both or neither
    assert patch["spec"] == {"replicas": size}
    assert (step.reason, step.event) == (reason, f"From 2 instances to {size}")
    assert seen(kube).hibernated is hibernated
    take(steps.scale(seen(kube), 1), kube)
    assert seen(kube).hibernated is False


PATRONICTL = ["/opt/patroni/patronictl", "-c", "/run/paradedb/patroni"]


def test_a_restart_is_only_of_what_waits_for_it(kube: FakeKube) -> None:
    take(steps.restart(seen(kube), seen(kube).present[1]), kube)
    words = [*PATRONICTL, "restart", "orders-patroni", "orders-1", "--pending", "--force"]
    assert kube.commands == [("orders-1", words, "")]


def test_a_clone(kube: FakeKube) -> None:
    assert not steps.was_cloned(seen(kube).present[1])
    step = steps.clone(seen(kube), seen(kube).present[1], "its log is gone", NOW)
    take(step, kube)
    assert steps.was_cloned(seen(kube).present[1])
    assert not steps.was_cloned(seen(kube).present[0])
    assert kube.commands == [
        ("orders-1", [*PATRONICTL, "reinit", "orders-patroni", "orders-1", "--force"], "")
    ]
    assert step.warning is True
    assert step.event.endswith("its log is gone")


def test_what_patroni_refuses_now_is_asked_again_by_the_next_pass(kube: FakeKube) -> None:
    def refuse(command: list[str], stdin: str) -> str:
        raise ExecFailed(1, "busy")

    kube.run = refuse
    take(steps.restart(seen(kube), seen(kube).present[1]), kube)
    take(steps.clone(seen(kube), seen(kube).present[1], "", NOW), kube)
    assert len(kube.commands) == 2


def stuck_at(kube: FakeKube, position: int) -> Instance:
    return replace(seen(kube).present[1], position=position)


def test_a_replica_that_seems_stuck_is_noted_with_its_position(kube: FakeKube) -> None:
    take(steps.watch(stuck_at(kube, 7), NOW), kube)
    later = NOW + timedelta(seconds=30)
    assert steps.stuck_for(stuck_at(kube, 7), later) == 30
    assert steps.stuck_for(stuck_at(kube, 8), later) == 0  # it moved
    assert steps.watch(stuck_at(kube, 7), later).act is None  # or the time would begin anew
    assert steps.watch(stuck_at(kube, 8), later).act is not None


@pytest.mark.parametrize("note", ["", "7", "7 x", "x"])
def test_a_note_that_cannot_be_read_is_none(kube: FakeKube, note: str) -> None:
    item = stuck_at(kube, 7)
    item.pod["metadata"]["annotations"] = {"database.paradedb.io/stuck": note}
    assert steps.stuck_for(item, NOW) == 0


def test_a_clone_forgets_where_it_was_stuck(kube: FakeKube) -> None:
    take(steps.watch(stuck_at(kube, 7), NOW), kube)
    take(steps.clone(seen(kube), stuck_at(kube, 7), "", NOW), kube)
    assert steps.stuck_for(stuck_at(kube, 7), NOW) == 0


def reload(kube: FakeKube) -> None:
    steps.reload_certificate(kube, seen(kube).present[1], CHECKSUM)  # type: ignore[arg-type]


def loaded(kube: FakeKube) -> Any:
    return (kube.objects[("Pod", "prod", "orders-1")]["metadata"].get("annotations") or {}).get(steps.LOADED)


def test_a_certificate_that_has_arrived_is_read(kube: FakeKube) -> None:
    kube.run = lambda command, stdin: f"{CHECKSUM}  -\n" if "sha256sum" in command[-1] else ""
    assert not steps.has_loaded(seen(kube).present[1], CHECKSUM)
    reload(kube)
    assert steps.has_loaded(seen(kube).present[1], CHECKSUM)
    (_, look, _), (target, signal, _) = kube.commands
    assert "/etc/postgresql/tls/tls.crt" in look[-1]
    assert "tls.key" not in look[-1]
    assert (target, signal[:2]) == ("orders-1", ["sh", "-c"])
    assert signal[-1].startswith("kill -HUP")
    assert loaded(kube) == CHECKSUM


def test_a_certificate_on_its_way_is_noted_so_that_the_kubelet_looks(kube: FakeKube) -> None:
    kube.run = lambda command, stdin: f"{'0' * 64}  -\n"
    reload(kube)
    assert len(kube.commands) == 1
    assert loaded(kube) not in (None, CHECKSUM)
    assert CHECKSUM[:16] in loaded(kube)


def test_a_certificate_that_could_not_be_read_is_not_noted(kube: FakeKube) -> None:
    def run(command: list[str], stdin: str) -> str:
        if "kill" in command[-1]:
            raise ExecFailed(1, "no such process")
        return f"{CHECKSUM}  -\n"

    kube.run = run
    with pytest.raises(ExecFailed):
        reload(kube)
    assert loaded(kube) is None
