"""What each step does to the cluster, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import steps
from ansible_collections.paradedb.db.plugins.module_utils.kube import ExecFailed
from ansible_collections.paradedb.db.plugins.module_utils.topology import Instance, Topology

from .fake_kube import FakeKube, pod

CHECKSUM = "ab" * 32


@pytest.fixture
def kube() -> FakeKube:
    stateful_set = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "orders", "generation": 1},
        "spec": {"replicas": 2, "serviceName": "x"},
    }
    return FakeKube(stateful_set, pod("orders-0", role="primary"), pod("orders-1", role="replica"))


def seen(kube: FakeKube, requested: str = "") -> Topology:
    members = [
        Instance(kube.objects[("Pod", "prod", f"orders-{number}")], ready=True, primary=number == 0)
        for number in (0, 1)
    ]
    return Topology(
        "prod", "orders", kube.get("apps/v1", "StatefulSet", "prod", "orders"), members, requested=requested
    )


def take(step: steps.Step, kube: FakeKube) -> None:
    assert step.act is not None
    step.act(kube)  # type: ignore[arg-type]


def test_a_handover_is_asked_for_once(kube: FakeKube) -> None:
    step = steps.hand_over(seen(kube), seen(kube).present[1], "because of that")
    take(step, kube)
    assert kube.writes == [("apply", "ConfigMap", "orders-patroni-failover")]
    asked = kube.objects[("ConfigMap", "prod", "orders-patroni-failover")]["metadata"]["annotations"]
    assert asked == {"leader": "orders-0", "member": "orders-1"}
    assert step.event == "Making orders-1 the primary in place of orders-0, because of that"
    again = steps.hand_over(seen(kube, requested="orders-1"), seen(kube).present[1], "because of that")
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


@pytest.mark.parametrize(("size", "reason"), [(3, "ScalingUp"), (1, "ScalingDown"), (0, "ScalingDown")])
def test_scaling(kube: FakeKube, size: int, reason: str) -> None:
    step = steps.scale(seen(kube), size)
    take(step, kube)
    assert kube.writes == [("patch", "StatefulSet", "orders", "", {"spec": {"replicas": size}})]
    assert (step.reason, step.event) == (reason, f"From 2 instances to {size}")


PATRONICTL = ["/opt/patroni/patronictl", "-c", "/run/paradedb/patroni"]


def test_a_restart_is_only_of_what_waits_for_it(kube: FakeKube) -> None:
    take(steps.restart(seen(kube), seen(kube).present[1]), kube)
    words = [*PATRONICTL, "restart", "orders-patroni", "orders-1", "--pending", "--force"]
    assert kube.commands == [("orders-1", words, "")]


def test_a_clone(kube: FakeKube) -> None:
    step = steps.clone(seen(kube), seen(kube).present[1], "its log is gone")
    take(step, kube)
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
    take(steps.clone(seen(kube), seen(kube).present[1], ""), kube)
    assert len(kube.commands) == 2


def loaded(kube: FakeKube) -> Any:
    return (kube.objects[("Pod", "prod", "orders-1")]["metadata"].get("annotations") or {}).get(steps.LOADED)


def test_a_certificate_that_has_arrived_is_read(kube: FakeKube) -> None:
    kube.run = lambda command, stdin: f"{CHECKSUM}  -\n" if "sha256sum" in command[-1] else ""
    take(steps.reload_certificate(seen(kube).present[1], CHECKSUM), kube)
    (_, look, _), (target, reload, _) = kube.commands
    assert "/etc/postgresql/tls/tls.crt" in look[-1]
    assert "tls.key" not in look[-1]
    assert (target, reload[:2]) == ("orders-1", ["sh", "-c"])
    assert reload[-1].startswith("kill -HUP")
    assert loaded(kube) == CHECKSUM


def test_a_certificate_on_its_way_is_noted_so_that_the_kubelet_looks(kube: FakeKube) -> None:
    kube.run = lambda command, stdin: f"{'0' * 64}  -\n"
    take(steps.reload_certificate(seen(kube).present[1], CHECKSUM), kube)
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
        take(steps.reload_certificate(seen(kube).present[1], CHECKSUM), kube)
    assert loaded(kube) is None
