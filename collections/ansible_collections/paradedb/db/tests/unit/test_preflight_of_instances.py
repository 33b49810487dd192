"""What preflight makes of the instances that there are: their number, their settings, and who is asked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import patroni, preflight
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import ExecFailed, KubeError

from .fake_kube import FakeKube, Object, pod

STRICT = {"mode": "sync", "syncNodeCount": 1, "strict": True}


def spec(**more: Any) -> dict[str, Any]:
    return {"replicas": 3, "auth": {"database": "app"}, "storage": {"size": "10Gi"}} | more


def plan(wanted: dict[str, Any], *objects: Object) -> dict[str, Any]:
    return preflight.check(FakeKube(*objects), "prod", "orders", wanted)  # type: ignore[arg-type]


def stateful_set(size: int) -> Object:
    claim = {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "10Gi"}}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "orders"},
        "spec": {"replicas": size, "volumeClaimTemplates": [claim]},
    }


def claims(count: int) -> list[Object]:
    labels, request = pod("orders-0")["metadata"]["labels"], {"requests": {"storage": "10Gi"}}
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": f"data-orders-{number}", "labels": labels},
            "spec": {"resources": request},
        }
        for number in range(count)
    ]


def resource(*holding: str) -> Object:
    conditions = [{"type": name, "status": "True"} for name in holding]
    metadata = {"name": "orders"}
    return {"kind": "ParadeDB", "metadata": metadata, "spec": {}, "status": {"conditions": conditions}}


def going(name: str) -> Object:
    made = pod(name)
    made["metadata"]["deletionTimestamp"] = "2025-01-01T00:00:00Z"
    return made


@pytest.mark.parametrize(
    ("more", "objects", "replicas"),
    [
        # Made anew while instances run, as a volume that grows has it: none of them ends for it.
        ({"hibernate": True}, [pod("orders-0"), pod("orders-2")], 3),
        ({"replicas": 2}, [pod("orders-0"), pod("orders-2")], 3),
        ({"replicas": 2}, [pod("orders-0"), going("orders-2")], 3),
        ({}, [pod("orders-0"), resource("ReplicasLimited")], 1),
        # None runs: the data count, except where they are known to be old.
        ({}, [], 3),
        ({"replicas": 2}, [], 2),
        ({"hibernate": True}, [], 0),
        ({}, [resource("ReplicasLimited")], 1),
        ({}, [resource("Hibernated")], 1),
        ({}, [resource()], 3),
    ],
)
def test_a_stateful_set_that_is_made_anew(more: dict[str, Any], objects: list[Object], replicas: int) -> None:
    assert plan(spec(**more), *objects, *claims(3))["replicas"] == replicas


def configured(strict: bool) -> Object:
    annotations = {"config": json.dumps({"synchronous_mode_strict": strict})}
    metadata = {"name": "orders-patroni-config", "annotations": annotations}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


LEADS, SERVES, COPIES = (
    pod("orders-0", role="primary"),
    pod("orders-1", role="replica"),
    pod("orders-1", role="replica", ready=False),
)


@pytest.mark.parametrize(
    ("objects", "strict"),
    [
        ([], False),
        ([stateful_set(1), LEADS], False),
        ([stateful_set(3), LEADS, COPIES], False),  # every write would hang until it has copied
        ([stateful_set(3), LEADS, SERVES], True),
        ([stateful_set(3), LEADS, COPIES, configured(True)], True),  # what was promised is kept
        ([stateful_set(2), LEADS, going("orders-1"), configured(True)], True),  # also while it is replaced
        ([stateful_set(1), LEADS, configured(True)], False),
        ([stateful_set(0), configured(True)], False),
        ([stateful_set(3), LEADS, COPIES, configured(False)], False),
    ],
)
def test_strict_begins_with_a_replica_and_lasts(objects: list[Object], strict: bool) -> None:
    found = plan(spec(replication=STRICT), *objects)["spec"]["replication"]
    assert found == STRICT | {"strict": strict}


def test_the_settings_follow_the_number_that_runs_for_good() -> None:
    wanted = spec(replication=STRICT)
    assert plan(wanted, resource("ReplicasLimited"))["spec"] == wanted | {"replicas": 1}
    # Taken away by somebody, they are as many as before: Patroni must not forget who was synchronous.
    assert plan(wanted, stateful_set(0), *claims(3))["spec"]["replicas"] == 3
    assert plan(spec(), stateful_set(1))["spec"] == spec()


def limited_configuration() -> Object:
    text = patroni.dump(patroni.dynamic_configuration(spec(replicas=1), "postgres"))
    metadata = {"name": "orders-patroni-config", "annotations": {"config": text}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def test_a_database_that_is_held_at_one_instance_is_not_asked_every_time() -> None:
    kube = FakeKube(pod("orders-0", role="primary"), resource("ReplicasLimited"), limited_configuration())
    preflight.check(kube, "prod", "orders", spec())  # type: ignore[arg-type]
    assert kube.commands == []


@pytest.mark.parametrize(
    ("lost", "asked"),
    [
        ([], ["orders-1"]),  # ready ones first
        (["orders-1"], ["orders-1", "orders-2"]),
        (["orders-1", "orders-2", "orders-0"], ["orders-1", "orders-2", "orders-0"]),
    ],
)
def test_an_instance_out_of_reach_is_passed_over(lost: list[str], asked: list[str]) -> None:
    """One on a node that is lost seems to run, until the node controller gives it up."""
    kube = FakeKube(pod("orders-0", ready=False), pod("orders-1"), pod("orders-2"))

    def run(_command: list[str], _stdin: str) -> str:
        if kube.commands[-1][0] in lost:
            raise KubeError(0, "the command lost its connection")
        return ""

    kube.run = run
    preflight.check(kube, "prod", "orders", spec(postgresConfig={"work_mem": "5MB"}))  # type: ignore[arg-type]
    assert [name for name, _, _ in kube.commands] == asked


def test_what_the_next_one_refuses_is_refused() -> None:
    kube = FakeKube(pod("orders-0"), pod("orders-1"))

    def run(_command: list[str], _stdin: str) -> str:
        if kube.commands[-1][0] == "orders-0":
            raise KubeError(0, "lost")
        raise ExecFailed(1, 'LOG:  invalid value for parameter "work_mem": "x"')

    kube.run = run
    with pytest.raises(Refused) as caught:
        preflight.check(kube, "prod", "orders", spec(postgresConfig={"work_mem": "x"}))  # type: ignore[arg-type]
    assert caught.value.field == "spec.postgresConfig.work_mem"
