"""Who may lead, what is asked of Patroni, and what a person is told."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock, patch

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import switchover, topology
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import KubeError
from ansible_collections.paradedb.db.plugins.module_utils.topology import Instance, Topology
from ansible_collections.paradedb.db.plugins.modules import switchover as module

from .fake_kube import FakeKube, Object, pod


def member(number: int, role: str = "replica", position: int = 100, **more: Any) -> Instance:
    ready = more.pop("ready", True)
    return Instance(
        pod(f"orders-{number}", ready=ready, role=role),
        ready=ready,
        primary=role == "primary",
        state="running",
        position=position,
        timeline=more.pop("timeline", 1),
        streaming=more.pop("streaming", role == "replica"),
        **more,
    )


def seen(*members: Instance) -> Topology:
    return Topology("prod", "orders", None, list(members))


LEADER = member(0, "primary")


@pytest.mark.parametrize(
    ("replicas", "number"),
    [
        ([], None),
        ([member(1)], 1),
        ([member(1), member(2)], 1),  # alike: the lower number
        ([member(1), member(2, position=101)], 2),
        ([member(1), member(2, position=101, ready=False)], 1),
        ([member(1), member(2, position=101, streaming=False)], 1),
        ([member(1, ready=False)], None),
        ([member(1, position=200), member(2, synchronous=True)], 2),
        ([member(1), member(2, synchronous=True, ready=False)], None),  # no other has every row
    ],
)
def test_the_candidate(replicas: list[Instance], number: int | None) -> None:
    found = switchover.candidate(seen(LEADER, *replicas))
    assert (found.ordinal if found else None) == number


def test_a_candidate_must_suit() -> None:
    found = switchover.candidate(seen(LEADER, member(1), member(2)), lambda item: item.ordinal == 2)
    assert found is not None
    assert found.ordinal == 2
    assert switchover.candidate(seen(LEADER, member(1)), lambda _item: False) is None


@pytest.mark.parametrize(
    ("replicas", "asked", "words"),
    [
        ([], "any", "no replica is ready to take over"),
        ([member(1, ready=False)], "any", "no replica is ready to take over"),
        ([member(1), member(2)], "orders-9", "no instance 'orders-9'; the replicas are: orders-1, orders-2"),
        ([], "x", "the replicas are: none"),
        ([member(1, ready=False)], "orders-1", "orders-1 is not ready"),
        ([member(1), member(2, synchronous=True)], "orders-1", "orders-1 is not a synchronous replica"),
    ],
)
def test_who_cannot_take_over(replicas: list[Instance], asked: str, words: str) -> None:
    with pytest.raises(Refused) as caught:
        switchover.chosen(seen(LEADER, *replicas), asked)
    assert caught.value.reason == "SwitchoverRefused"
    assert caught.value.field == "metadata.annotations[database.paradedb.io/switchover]"
    assert words in str(caught.value)


@pytest.mark.parametrize(("asked", "number"), [("any", 1), ("orders-2", 2), ("orders-0", 0)])
def test_who_is_chosen(asked: str, number: int) -> None:
    assert switchover.chosen(seen(LEADER, member(1, position=200), member(2)), asked).ordinal == number


def test_the_request_is_patronis_own_object() -> None:
    kube = FakeKube()
    switchover.request(kube, seen(LEADER, member(1)), LEADER, "orders-1", "any")  # type: ignore[arg-type]
    made = kube.objects[("ConfigMap", "prod", "orders-patroni-failover")]
    annotations = made["metadata"]["annotations"]
    assert (annotations["leader"], annotations["member"]) == ("orders-0", "orders-1")
    assert made["metadata"]["labels"] == {
        "app.kubernetes.io/name": "paradedb",
        "app.kubernetes.io/instance": "orders",
        "app.kubernetes.io/managed-by": "paradedb-operator",
        "database.paradedb.io/scope": "orders-patroni",
    }
    assert "data" not in made


# The module


def instance_pod(number: int, role: str, timeline: int = 1) -> Object:
    made = pod(f"orders-{number}", role=role)
    words = {"state": "running", "role": role, "xlog_location": 5, "timeline": timeline}
    words |= {"replication_state": "streaming"} if role == "replica" else {}
    made["metadata"]["annotations"] = {"status": json.dumps(words)}
    return made


class PatroniKube(FakeKube):
    """A cluster of two that hands over as soon as it is asked, or never."""

    def __init__(self, willing: bool = True) -> None:
        super().__init__(instance_pod(0, "primary"), instance_pod(1, "replica"))
        self.willing = willing

    def apply(self, definition: Object, dry_run: bool = False) -> Object:
        made = super().apply(definition, dry_run)
        if self.willing:
            self.put(instance_pod(0, "replica", 2))
            self.put(instance_pod(1, "primary", 2))
        return made


def perform(
    kube: FakeKube, candidate: str = "any", timeout: int = 60, check_mode: bool = False
) -> dict[str, Any]:
    params = {"name": "orders", "namespace": "prod", "candidate": candidate, "timeout": timeout}
    return module.run(params, kube, check_mode)  # type: ignore[arg-type]


@pytest.mark.parametrize("candidate", ["any", "orders-1"])
def test_another_leads(candidate: str) -> None:
    kube = PatroniKube()
    assert perform(kube, candidate) == {"changed": True, "before": "orders-0", "primary": "orders-1"}
    assert kube.writes == [("apply", "ConfigMap", "orders-patroni-failover")]


def test_the_primary_stays_when_it_is_named() -> None:
    kube = PatroniKube()
    assert perform(kube, "orders-0") == {"changed": False, "before": "orders-0", "primary": "orders-0"}
    assert kube.writes == []


def test_check_mode_says_who_and_asks_nobody() -> None:
    kube = PatroniKube()
    assert perform(kube, check_mode=True) == {"changed": True, "before": "orders-0", "primary": "orders-1"}
    assert kube.writes == []


def test_without_a_timeout_nothing_is_waited_for() -> None:
    assert perform(PatroniKube(willing=False), timeout=0)["changed"] is True


def test_a_handover_that_does_not_come_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(switchover.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(switchover.time, "sleep", lambda _seconds: None)
    with pytest.raises(Refused) as caught:
        perform(PatroniKube(willing=False), timeout=60)
    assert caught.value.reason == "SwitchoverTimeout"
    assert "60 s" in str(caught.value)


def test_without_a_primary_nothing_is_asked() -> None:
    kube = FakeKube(instance_pod(0, "replica"), instance_pod(1, "replica"))
    with pytest.raises(Refused) as caught:
        perform(kube)
    assert caught.value.reason == "NoPrimary"
    assert kube.writes == []


def test_a_primary_that_another_has_replaced_does_not_count() -> None:
    """It keeps its label while it is cut off from the API server."""
    kube = FakeKube(instance_pod(0, "primary", 1), instance_pod(1, "primary", 2))
    now = topology.observe(kube, "prod", "orders")  # type: ignore[arg-type]
    with pytest.raises(Refused):
        switchover.chosen(now, "orders-0")


def test_the_wish_is_written_down_and_taken_away() -> None:
    resource = {
        "apiVersion": "database.paradedb.io/v1alpha1",
        "kind": "ParadeDB",
        "metadata": {"name": "orders"},
    }
    kube = FakeKube()
    stored = kube.put(resource)
    switchover.annotate(kube, stored, "orders-1")  # type: ignore[arg-type]
    key = ("ParadeDB", "prod", "orders")
    assert kube.objects[key]["metadata"]["annotations"] == {switchover.ANNOTATION: "orders-1"}
    switchover.annotate(kube, stored, None)  # type: ignore[arg-type]
    assert kube.objects[key]["metadata"]["annotations"] == {}


@pytest.mark.parametrize("value", ["orders-1", None])
def test_a_wish_that_was_written_since_is_left_to_the_next_pass(value: str | None) -> None:
    metadata = {"name": "orders", "resourceVersion": "7", "annotations": {switchover.ANNOTATION: "any"}}
    read = FakeKube().put({"kind": "ParadeDB", "metadata": metadata})
    newer = metadata | {"resourceVersion": "8", "annotations": {switchover.ANNOTATION: "orders-2"}}
    kube = FakeKube({"kind": "ParadeDB", "metadata": newer})
    switchover.annotate(kube, read, value)  # type: ignore[arg-type]
    assert kube.objects["ParadeDB", "prod", "orders"]["metadata"]["annotations"] == newer["annotations"]


def test_what_else_the_api_server_says_to_a_wish_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube()
    stored = kube.put({"kind": "ParadeDB", "metadata": {"name": "orders", "resourceVersion": "7"}})

    def refuse(*_arguments: Any) -> None:
        raise KubeError(500, "no")

    monkeypatch.setattr(kube, "merge_patch", refuse)
    with pytest.raises(KubeError):
        switchover.annotate(kube, stored, None)  # type: ignore[arg-type]


# How long Patroni has been asked

START = datetime(2025, 1, 1, tzinfo=UTC)


def asked(*moments: float, wish: str = "orders-1") -> Topology:
    """The cluster after it was asked at these moments, in seconds."""
    kube, now = FakeKube(), seen(LEADER, member(1), member(2))
    for moment in moments:
        clock = Mock(now=lambda _zone, at=moment: START + timedelta(seconds=at))
        clock.fromisoformat = datetime.fromisoformat
        with patch.object(switchover, "datetime", clock):
            switchover.request(kube, now, LEADER, "orders-1", wish)  # type: ignore[arg-type]
        now.failover = kube.objects["ConfigMap", "prod", "orders-patroni-failover"]
    return now


@pytest.mark.parametrize(
    ("moments", "now", "since"),
    [
        ([], 0, None),
        ([0], 0, 0),
        ([0], 30, 0),
        ([0, 30, 60], 61, 0),  # asked again and again: since the first time
        ([0, 1000, 1010], 1020, 1000),  # a new matter
        ([0], switchover.FORGET_AFTER + 1, None),
    ],
)
def test_since_when_it_is_asked(moments: list[float], now: float, since: float | None) -> None:
    found = switchover.first_asked(asked(*moments), LEADER, "orders-1", START + timedelta(seconds=now))
    assert found == (None if since is None else START + timedelta(seconds=since))


def test_another_question_counts_anew() -> None:
    assert switchover.first_asked(asked(0), LEADER, "orders-2", START) is None
    # Which of several suits best changes all the time, and is the same question.
    assert switchover.first_asked(asked(0, wish="any"), LEADER, "any", START) == START
    assert switchover.first_asked(asked(0), member(2, "primary"), "orders-1", START) is None
    # It has led again since, so the hand-over that was asked for has been made.
    assert switchover.first_asked(asked(0), member(0, "primary", timeline=3), "orders-1", START) is None


@pytest.mark.parametrize("note", ["", "x", "orders-0 1 orders-1 x y", "orders-0 1 orders-1"])
def test_a_note_that_cannot_be_read_is_none(note: str) -> None:
    spoilt = asked(0)
    spoilt.failover = {"metadata": {"annotations": {"database.paradedb.io/asked": note}}}
    assert switchover.first_asked(spoilt, LEADER, "orders-1", START) is None


def test_patroni_takes_the_request_away_and_leaves_the_note() -> None:
    now = asked(0)
    assert now.requested
    annotations = now.failover["metadata"]["annotations"]  # type: ignore[index]
    del annotations["leader"], annotations["member"]
    assert not now.requested
    assert switchover.first_asked(now, LEADER, "orders-1", START) == START
