"""Decisions while something is broken: what is mended, what must not wait for it, and what is left alone."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils.decision import World, decide
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.topology import Instance

from .worlds import BROKEN, CORDONED, DOWN, FORCE, GROWS, OLD, R1, R2, P, lost, member, world

CLONED = {"annotations": {"database.paradedb.io/cloned": "2025-01-01T00:00:00+00:00"}}
ALONE = member(0, "primary", **DOWN)
FULL = Refused("DiskFull", "spec.storage.size", "full")


def said(seen: World) -> tuple[str, bool, str]:
    """The step or refusal of a pass: reason, whether anything is done, and all words."""
    try:
        step = decide(seen)
    except Refused as refused:
        return f"Refused {refused.reason}", False, str(refused)
    assert step is not None
    return step.reason, step.act is not None, f"{step.message} {step.event}"


# An outdated instance that does not serve: its state, the seconds for which it does not, and whether it is
# replaced then.
@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize(
    ("state", "after", "replaced"),
    [
        ("initializing new cluster", 599, False),  # a second one would find the first one's remains
        ("running custom bootstrap script", 10000, False),
        ("starting after custom bootstrap", 10000, False),
        ("starting", 10000, False),  # crash recovery
        ("stopping", 10000, False),
        ("restarting", 10000, False),
        ("creating replica", 10000, False),
        ("", 5, False),  # Patroni has said nothing yet
        ("stopped", 5, False),
        ("stopped", 61, True),
        ("start failed", 1, True),
        ("crashed", 1, True),
    ],
)
def test_what_is_on_its_way_up_is_not_replaced(state: str, after: float, replaced: bool, alone: bool) -> None:
    item = member(1, **DOWN, **OLD, state=state)
    seen = world(*([] if alone else [P]), item, size=2, after=after, database={"connected": False})
    assert (said(seen)[0] == "RollingUpdate") is replaced


@pytest.mark.parametrize("last", [{}, {"terminated": {"exitCode": 1, "message": "NoBackup|why"}}])
def test_a_recovery_is_left_to_end_whatever_changes(last: dict[str, Any]) -> None:
    item = member(0, "", **DOWN, **OLD, state="")
    recovering = {"name": "recover", "image": "x", "state": {"running": {}}, "lastState": last}
    item.pod["status"] |= {"initContainerStatuses": [recovering], "containerStatuses": []}
    seen = world(item, after=100_000, database={"connected": False})
    assert said(seen)[:2] == ("Recovering", False)
    recovering["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
    assert said(seen)[0] == "RollingUpdate"


def test_trouble_with_its_container_ends_the_patience() -> None:
    assert said(world(P, member(1, **OLD, **BROKEN | {"state": "starting"})))[0] == "RollingUpdate"


@pytest.mark.parametrize(
    ("item", "after", "reason", "acts"),
    [
        (member(1, **DOWN, state="start failed"), 30, "InstancesStarting", False),
        (member(1, **DOWN, state="start failed"), 61, "CloningInstance", True),
        (member(1, **DOWN, state="start failed", **CLONED), 61, "Refused InstanceCrashing", False),
        (member(1, **DOWN, state="start failed", node="gone"), 61, "InstancesStarting", False),
        (member(1, **DOWN, state="running", position=5), 30, "InstancesStarting", True),  # it is watched
        (member(1, **DOWN, state="starting", position=5), 61, "InstancesStarting", False),
        (member(1, **DOWN, state="running", position=5, pending=GROWS), 61, "InstancesStarting", False),
    ],
)
def test_data_are_thrown_away_with_care(item: Instance, after: float, reason: str, acts: bool) -> None:
    assert said(world(P, item, after=after, nodes={"gone": lost()}))[:2] == (reason, acts)


def test_an_instance_of_a_newer_template_is_not_cloned() -> None:
    """What it does not start with is most likely the template; its data are as good as before."""
    new = member(1, **DOWN, state="start failed")
    seen = world(member(0, "primary", **OLD), new, after=61)
    assert said(seen)[0] == "Refused InstanceCrashing"
    assert "orders-1" in said(seen)[2]


# A replica whose node does not answer, and nobody may give it up: all that can be done without it is done.
N1 = {"n1": lost()}
GONE = member(2, node="n1", **DOWN)
DRAINED = {"n0": CORDONED, "n1": lost()}
LATE: dict[str, Any] = {"after": 200}


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (world(member(0, "primary", node="n0"), R1, GONE, nodes=DRAINED, **LATE), "SwitchingOver"),
        (world(P, R1, GONE, nodes=N1, replicas=2, **LATE), "ScalingDown"),
        (world(P, R1, GONE, nodes=N1, wish="orders-1", **LATE), "SwitchingOver"),
        (world(P, member(1, **OLD, **BROKEN), GONE, nodes=N1, **LATE), "RollingUpdate"),
        (world(P, R1, GONE, nodes=N1, **LATE), "NodeLost"),
        (world(P, R1, GONE, nodes=N1, spec=FORCE, wish="orders-1", **LATE), "NodeLost"),
    ],
)
def test_a_lost_node_holds_nothing_else_up(seen: World, reason: str) -> None:
    assert said(seen)[0] == reason


# Something of orders-2 is broken; the primary is on a node that is being drained.
@pytest.mark.parametrize(
    "broken",
    [
        member(2, **BROKEN),
        member(2, "", **DOWN, unschedulable="0/3 nodes"),
        member(2, **DOWN, state="start failed"),
        member(2, **DOWN, position=5),
        member(2, **DOWN, state="creating replica"),
    ],
)
@pytest.mark.parametrize("full", [None, FULL])
def test_a_drain_waits_for_no_other_instance(broken: Instance, full: Refused | None) -> None:
    primary = member(0, "primary", node="n0")
    seen = world(primary, R1, broken, nodes={"n0": CORDONED}, after=61, full=lambda _item: full)
    assert said(seen)[:2] == ("SwitchingOver", True)


# The kubelet of the primary's node is dead; PostgreSQL and Patroni there live and renew the lock.
@pytest.mark.parametrize("spec", [{}, FORCE])
def test_a_primary_that_lives_on_a_lost_node_hands_over(spec: dict[str, Any]) -> None:
    primary = member(0, "primary", node="n1", **DOWN)
    seen = world(primary, R1, R2, nodes=N1, holder="orders-0", spec=spec, **LATE)
    reason, acts, words = said(seen)
    assert (reason, acts) == ("SwitchingOver", True)
    assert "Making orders-1 the primary in place of orders-0" in words


@pytest.mark.parametrize("others", [[], [member(1, **DOWN)]])
def test_a_pod_that_renews_the_lock_is_never_given_up(others: list[Instance]) -> None:
    primary = member(0, "primary", node="n1", **DOWN)
    seen = world(primary, *others, nodes=N1, holder="orders-0", spec=FORCE, **LATE)
    assert said(seen)[:2] == ("NodeLost", False)
    seen.seen.holder = ""
    assert said(seen)[:2] == ("NodeLost", True)


# Going down


@pytest.mark.parametrize(
    ("seen", "reason", "words"),
    [
        # From the top, as far as the primary; only the topmost hands over: the synchronous one suits.
        (world(member(0), member(1, "primary"), R2, replicas=1), "ScalingDown", "From 3 instances to 2"),
        (
            world(member(0), member(1, synchronous=True), member(2, "primary"), replicas=1),
            "SwitchingOver",
            "Making orders-1 the primary",
        ),
        (world(member(0, **OLD), member(1, "primary"), replicas=1), "RollingUpdate", "orders-0"),
        (world(member(0, **OLD), member(1, "primary", **OLD), replicas=1), "SwitchingOver", "orders-0"),
        # What stays must serve first.
        (world(P, member(1, **DOWN), R2, replicas=2), "InstancesStarting", ""),
        (world(P, R2, size=3, replicas=2), "InstancesStarting", ""),
        (world(P, member(1, **DOWN), R2, replicas=1), "ScalingDown", "From 3 instances to 1"),
    ],
)
def test_the_way_down(seen: World, reason: str, words: str) -> None:
    found = said(seen)
    assert found[0] == reason
    assert words in found[2]


@pytest.mark.parametrize("replicas", [0, 1])
@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (member(0, **DOWN, state="start failed"), "CloningInstance"),
        (member(0, **BROKEN), "Refused ImagePullFailed"),
        (member(0, "", **DOWN, unschedulable="0/3 nodes"), "Unschedulable"),
        (member(0, streaming=False), "ScalingDown"),
    ],
)
def test_who_cannot_be_handed_over_to_is_mended_first(item: Instance, reason: str, replicas: int) -> None:
    seen = world(item, member(1, "primary"), replicas=replicas, after=61)
    assert said(seen)[0] == reason


@pytest.mark.parametrize("replicas", [0, 1, 2])
def test_broken_instances_are_told_of_on_the_way_down(replicas: int) -> None:
    items = [member(number, **DOWN, state="start failed") for number in range(3)]
    assert said(world(*items, replicas=replicas, after=61))[0] == "Refused InstanceCrashing"


# A full disk


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (world(P, R1, member(2, **DOWN)), "Refused DiskFull"),
        (world(P, R1, member(2, **DOWN), replicas=2), "ScalingDown"),
        (world(P, R1, member(2, **DOWN), wish="orders-1"), "SwitchingOver"),
        (world(P, R1, R2, wish="orders-1"), "SwitchingOver"),
        (world(P, member(1, node="n1", **DOWN), R2, nodes=N1, spec=FORCE, **LATE), "NodeLost"),
        (world(P, member(1, **DOWN, state="start failed"), after=61), "Refused DiskFull"),  # no clone helps
        (world(member(0), member(1)), "Refused DiskFull"),  # ready, but finds no room for its promotion
    ],
)
def test_a_full_disk_is_told_when_nothing_else_can_be_done(seen: World, reason: str) -> None:
    seen.full = lambda _item: FULL
    assert said(seen)[0] == reason


# What Patroni turns down


@pytest.mark.parametrize(
    ("more", "primary", "to"),
    [
        ({"replicas": 2}, 2, 0),
        ({"nodes": {"n0": CORDONED}}, 0, 1),
    ],
)
@pytest.mark.parametrize(("since", "refused"), [(3, False), (119, False), (121, True)])
def test_a_handover_that_does_not_come_is_told(
    more: dict[str, Any], primary: int, to: int, since: float, refused: bool
) -> None:
    members = [
        member(number, "primary" if number == primary else "replica", node=f"n{number}")
        for number in range(3)
    ]
    seen = world(*members, asked=(members[primary], f"orders-{to}", since), **more)
    assert said(seen)[0] == ("Refused SwitchoverTimeout" if refused else "SwitchingOver")


def test_a_wish_that_patroni_turns_down_ends() -> None:
    step = decide(world(P, R1, R2, wish="orders-2", asked=(P, "orders-2", 121)))
    assert step is not None
    assert (step.reason, step.warning) == ("SwitchoverTimeout", True)


def test_a_handover_that_was_made_does_not_count() -> None:
    """The primary leads again, since a failure, on a later timeline."""
    seen = world(member(0, "primary", timeline=3), R1, wish="orders-1", asked=(P, "orders-1", 121))
    assert said(seen)[0] == "SwitchingOver"
