"""The decision of one pass: what each stage says, and which of two goes first."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import topology
from ansible_collections.paradedb.db.plugins.module_utils.decision import World, decide
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.steps import LOADED

from .worlds import (
    BROKEN,
    CORDONED,
    DOWN,
    FINE,
    FORCE,
    GROWS,
    OLD,
    PULL,
    R1,
    R2,
    SHRINKS,
    START,
    P,
    lost,
    member,
    stateful_set,
    world,
)

HIBERNATED = stateful_set()["metadata"] | {"annotations": {topology.HIBERNATED: "true"}}
STUCK = {"database.paradedb.io/stuck": f"5 {(START + timedelta(seconds=61)).isoformat()}"}


def no_controller() -> World:
    made = world(P, R1, R2)
    made.seen.stateful_set = stateful_set(observed=0)
    return made


def asleep(**more: Any) -> World:
    made = world(size=0, replicas=3, **more)
    made.seen.stateful_set = stateful_set(0) | {"metadata": HIBERNATED}
    return made


# What is seen, the step's reason, words of its message, and whether anything is done.
TABLE: dict[str, tuple[World, str, str, bool]] = {
    "controller": (no_controller(), "InstancesStarting", "StatefulSet controller", False),
    "a lost node, by hand": (
        world(P, member(1, node="n1", **DOWN), R2, after=200, nodes={"n1": lost()}),
        "NodeLost",
        "spec.nodeLossPolicy: ForceDelete",
        False,
    ),
    "a lost node, by force": (
        world(P, member(1, node="n1", **DOWN), R2, after=200, nodes={"n1": lost()}, spec=FORCE),
        "NodeLost",
        "Starting orders-1 elsewhere",
        True,
    ),
    "a lost node, before it is believed": (
        world(P, member(1, node="n1", **DOWN), R2, after=100, nodes={"n1": lost()}, spec=FORCE),
        "InstancesStarting",
        "become ready",
        False,
    ),
    "a lost node whose pod cannot end": (
        world(
            P,
            R1,
            size=3,
            replicas=3,
            going=[member(2, node="n1", going=True)],
            after=200,
            nodes={"n1": lost()},
            spec=FORCE,
        ),
        "NodeLost",
        "orders-2",
        True,
    ),
    "outdated and down": (world(P, member(1, **OLD, **BROKEN), R2), "RollingUpdate", "orders-1", True),
    "outdated, alone and down": (
        world(member(0, "", **DOWN, **OLD)),
        "RollingUpdate",
        "orders-0",
        True,
    ),
    "outdated, it has just stopped to stream": (
        world(P, member(1, **DOWN, **OLD), after=30),
        "InstancesStarting",
        "ready",
        False,
    ),
    "outdated, its image is not there": (
        world(P, member(1, **DOWN, **OLD, container=PULL), after=1),
        "RollingUpdate",
        "orders-1",
        True,
    ),
    "outdated, a primary that has just come up": (
        world(member(0, "primary", **DOWN, **OLD), R1, after=300),
        "NoPrimary",
        "Waiting",
        False,
    ),
    "outdated, a primary that does not come up": (
        world(member(0, "primary", **DOWN, **OLD), R1, after=601),
        "RollingUpdate",
        "orders-0",
        True,
    ),
    "an election on its way": (
        world(member(0, "primary", **DOWN, **OLD), member(1, **DOWN, **OLD), member(2, **DOWN, **OLD)),
        "NoPrimary",
        "Waiting",
        False,
    ),
    "an election that does not come": (
        world(member(0, **DOWN, **OLD), member(1, **DOWN, **OLD), after=61),
        "RollingUpdate",
        "orders-0",
        True,
    ),
    "a wish for any": (world(P, R1, R2, wish="any"), "SwitchingOver", "orders-1 is to be the primary", True),
    "a wish for one": (
        world(P, R1, R2, wish="orders-2"),
        "SwitchingOver",
        "Making orders-2 the primary",
        True,
    ),
    "a wish that is on its way": (
        world(P, R1, R2, wish="orders-2", asked=(P, "orders-2", 3)),
        "SwitchingOver",
        "Making orders-2",
        False,
    ),
    "a wish come true": (world(P, R1, wish="orders-0"), "SwitchoverDone", "orders-0 is the primary", True),
    "a wish that cannot be": (world(P, R1, wish="orders-7"), "SwitchoverRefused", "orders-7", True),
    "a wish without a primary": (world(R1, R2, wish="orders-1"), "NoPrimary", "", False),
    "waking": (asleep(kept=3), "ScalingUp", "From 0 instances to 1", True),
    "waking from what somebody else did": (
        world(size=0, replicas=3, kept=3),
        "ScalingUp",
        "From 0 instances to 3",
        True,
    ),
    "fewer": (world(P, R1, R2, replicas=2), "ScalingDown", "From 3 instances to 2", True),
    "fewer, the primary among those that go": (
        world(member(0), R1, member(2, "primary"), replicas=2),
        "SwitchingOver",
        "before the present primary is taken away",
        True,
    ),
    "fewer, nobody can take over": (
        world(member(0, streaming=False), member(1, "primary"), replicas=1),
        "ScalingDown",
        "Waiting for an instance that can be the primary",
        False,
    ),
    "fewer, nobody leads": (world(R1, R2, replicas=1), "NoPrimary", "Waiting for a primary", False),
    "hibernation, first of all to one": (
        world(P, R1, R2, replicas=0),
        "ScalingDown",
        "From 3 instances to 1",
        True,
    ),
    "hibernation, replicas still there": (
        world(P, R1, size=1, replicas=0),
        "ScalingDown",
        "Waiting for an instance",
        False,
    ),
    "hibernation, replicas ending": (
        world(P, size=1, replicas=0, going=[R1]),
        "ScalingDown",
        "Waiting for an instance",
        False,
    ),
    "hibernation, the last": (world(P, replicas=0), "ScalingDown", "From 1 instances to 0", True),
    "hibernation, the last ending": (
        world(size=0, replicas=0, going=[P]),
        "ScalingDown",
        "Waiting for the last",
        False,
    ),
    "its log seems to be gone": (
        world(P, member(1, **DOWN, position=5), R2, after=61),
        "InstancesStarting",
        "Watching whether orders-1",
        True,
    ),
    "its log is gone": (
        world(P, member(1, **DOWN, position=5, annotations=STUCK), R2, after=121),
        "CloningInstance",
        "no longer has the write-ahead log",
        True,
    ),
    "its log is there": (world(P, member(1, **DOWN, position=10), R2), "InstancesStarting", "", False),
    "it does not start": (
        world(P, member(1, **DOWN, state="start failed"), after=61),
        "CloningInstance",
        "it does not start (start failed)",
        True,
    ),
    "it has just failed to start": (
        world(P, member(1, **DOWN, state="crashed"), after=59),
        "InstancesStarting",
        "",
        False,
    ),
    "nobody to clone from": (
        world(member(0, **DOWN), member(1, **DOWN, position=5), after=70),
        "NoPrimary",
        "",
        False,
    ),
    "cloning": (
        world(P, member(1, **DOWN, state="creating replica"), after=10**6),
        "CloningInstance",
        "Cloning orders-1",
        False,
    ),
    "no node": (
        world(P, member(1, "", **DOWN, unschedulable="0/1 nodes")),
        "Unschedulable",
        "0/1 nodes",
        False,
    ),
    "one lacks": (world(P, R1, size=3, replicas=3), "InstancesStarting", "ready", False),
    "all serve, nobody leads": (world(R1, R2), "NoPrimary", "", False),
    "no answer": (
        world(P, database={"connected": False}),
        "InstancesStarting",
        "Waiting for the primary",
        False,
    ),
    "drained": (
        world(member(0, "primary", node="n0"), member(1, node="n1"), nodes={"n0": CORDONED}),
        "SwitchingOver",
        "node n0 is being drained",
        True,
    ),
    "outdated replicas, the last first": (
        world(member(0, "primary", **OLD), member(1, **OLD), member(2, **OLD)),
        "RollingUpdate",
        "orders-2",
        True,
    ),
    "the outdated primary hands over": (
        world(member(0, "primary", **OLD), R1, R2),
        "SwitchingOver",
        "to be replaced",
        True,
    ),
    "the outdated primary, nobody can take over": (
        world(member(0, "primary", **OLD), member(1, streaming=False)),
        "RollingUpdate",
        "Waiting for a replica",
        False,
    ),
    "outdated and alone": (world(member(0, "primary", **OLD)), "RollingUpdate", "orders-0", True),
    "more": (world(P, replicas=3), "ScalingUp", "From 1 instances to 3", True),
    "settings": (world(P, database=FINE | {"settings_applied": False}), "ApplyingSettings", "Patroni", False),
    "a replica's restart": (
        world(member(0, "primary", pending=GROWS), member(1, pending=GROWS), R2),
        "RestartingInstances",
        "orders-1",
        True,
    ),
    "the primary hands over before its restart": (
        world(member(0, "primary", pending=GROWS), R1, R2),
        "SwitchingOver",
        "to restart",
        True,
    ),
    "the primary restarts alone": (
        world(member(0, "primary", pending=GROWS)),
        "RestartingInstances",
        "orders-0",
        True,
    ),
    "a smaller value goes to the primary first": (
        world(member(0, "primary", pending=SHRINKS), member(1, pending=SHRINKS)),
        "RestartingInstances",
        "orders-0",
        True,
    ),
    "not all have heard of the settings": (
        world(P, member(1, pending=SHRINKS), settings_age=1),
        "ApplyingSettings",
        "every instance",
        False,
    ),
    "volumes": (
        world(P, resizing="Growing data-orders-0"),
        "VolumesResizing",
        "Growing data-orders-0",
        False,
    ),
    "a certificate": (world(P, R1, certificate="c1"), "ReloadingCertificate", "orders-0, orders-1", False),
}


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_each_stage(row: tuple[World, str, str, bool]) -> None:
    seen, reason, words, acts = row
    step = decide(seen)
    assert step is not None
    assert (step.reason, step.act is not None) == (reason, acts)
    assert words in f"{step.message} {step.event}"
    assert 0 <= step.requeue_after <= 30


LOADED_C1 = {"annotations": {LOADED: "c1"}}


@pytest.mark.parametrize(
    "seen",
    [
        world(P),
        world(P, R1, R2),
        world(P, R1, replicas=None),
        world(size=0, replicas=0),
        world(P, database=None),
        world(P, resource=None),
        world(member(0, "primary", **LOADED_C1), member(1, **LOADED_C1), certificate="c1"),
        world(P, member(1, node="n1"), nodes={"n1": lost()}, after=1000),  # it serves: a node may come back
        world(P, member(1, node="n1"), nodes={"n1": CORDONED}),  # a drain may take a replica
        world(member(0, "primary", node="n0"), nodes={"n0": CORDONED}),  # nobody to hand over to
        world(P, database=FINE | {"pending_restart": True}),  # an ALTER SYSTEM of somebody
        world(P, R1, database=FINE | {"pending_restart": True}),
    ],
)
def test_settled(seen: World) -> None:
    assert decide(seen) is None


# Two wants at once: the one that goes first.
ORDER: dict[str, tuple[World, str]] = {
    "the template before what is broken": (
        world(P, member(1, **BROKEN, **OLD), wish="orders-2"),
        "RollingUpdate",
    ),
    "a node that is given up before the template": (
        world(P, member(1, node="n1", **DOWN, **OLD), after=200, nodes={"n1": lost()}, spec=FORCE),
        "NodeLost",
    ),
    "the template before a person's word on a node": (
        world(P, member(1, node="n1", **DOWN, **OLD), after=200, nodes={"n1": lost()}),
        "RollingUpdate",
    ),
    "a wish before the number": (world(P, R1, R2, replicas=1, wish="orders-1"), "SwitchingOver"),
    "a wish before an instance that will not come": (
        world(P, R1, member(2, **BROKEN), wish="orders-1"),
        "SwitchingOver",
    ),
    "fewer before what is broken, and goes": (world(P, R1, member(2, **BROKEN), replicas=2), "ScalingDown"),
    "hibernation before settings and template": (
        world(member(0, "primary", **OLD, pending=GROWS), member(1, **OLD), replicas=0),
        "ScalingDown",
    ),
    "a clone before the rest is waited for": (
        world(P, member(1, **DOWN, position=5, annotations=STUCK), member(2, **DOWN), after=121),
        "CloningInstance",
    ),
    "unready ones before the template": (world(P, member(1, **OLD), member(2, **DOWN)), "InstancesStarting"),
    "unready ones before settings": (
        world(P, member(1, pending=GROWS), member(2, **DOWN)),
        "InstancesStarting",
    ),
    "a drain before the template": (
        world(member(0, "primary", node="n0", **OLD), R1, member(2, **OLD), nodes={"n0": CORDONED}),
        "SwitchingOver",
    ),
    "the template before more": (world(member(0, "primary", **OLD), replicas=3), "RollingUpdate"),
    "more before settings": (world(member(0, "primary", pending=GROWS), replicas=3), "ScalingUp"),
    "settings before volumes and certificates": (
        world(member(0, "primary", pending=GROWS), resizing="x", certificate="c1"),
        "RestartingInstances",
    ),
    "volumes before certificates": (world(P, resizing="x", certificate="c1"), "VolumesResizing"),
}


@pytest.mark.parametrize("row", ORDER.values(), ids=ORDER)
def test_which_goes_first(row: tuple[World, str]) -> None:
    step = decide(row[0])
    assert step is not None
    assert step.reason == row[1]


@pytest.mark.parametrize(
    ("seen", "reason", "field"),
    [
        (world(P, member(1, **BROKEN)), "ImagePullFailed", ""),
        (
            world(member(0, "primary", **OLD), R1, member(2, **BROKEN)),
            "ImagePullFailed",
            "",
        ),  # it goes no further
        (world(P, member(1, **BROKEN), replicas=5), "ImagePullFailed", ""),
        (world(P, member(1, **DOWN), after=1000), "ProgressDeadlineExceeded", ""),
        (world(P, database=FINE | {"hba_problem": "line 3: bad"}), "InvalidHBARule", "spec.auth.pgHBA"),
    ],
)
def test_what_needs_a_person(seen: World, reason: str, field: str) -> None:
    with pytest.raises(Refused) as caught:
        decide(seen)
    assert (caught.value.reason, caught.value.field) == (reason, field)


def test_the_settings_are_told_in_the_order_that_no_replica_stops_over() -> None:
    """A replica that waits for a larger value gets it before another of them leads with it."""
    step = decide(world(member(0, "primary", **OLD), R1, member(2, pending=GROWS)))
    assert step is not None
    assert step.reason == "RestartingInstances"
    assert "orders-2" in step.message


def test_no_outdated_replica_is_handed_over_to_when_a_node_is_drained() -> None:
    seen = world(member(0, "primary", node="n0"), member(1, **OLD), R2, nodes={"n0": CORDONED})
    step = decide(seen)
    assert step is not None
    assert "orders-2" in step.message


@pytest.mark.parametrize(
    "pending",
    [
        {"": {}},
        {"max_connections": {}},
        {"max_connections": []},
        {"max_connections": {"old_value": "1", "new_value": "x"}},
    ],
)
def test_a_reason_that_cannot_be_read_goes_to_the_replicas_first(pending: dict[str, Any]) -> None:
    step = decide(world(member(0, "primary", pending=pending), member(1, pending=pending)))
    assert step is not None
    assert (step.reason, "orders-1" in step.message) == ("RestartingInstances", True)
