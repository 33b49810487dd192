"""What tests of whole changes share: a cluster that has come up, and its clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import rollout, switchover, topology

from .fake_cluster import FakeCluster

SEEDS = range(12)
FEW = range(4)
Make = Callable[..., FakeCluster]


def with_clock(monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster) -> FakeCluster:
    """All of the operator lives by the cluster's clock."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return cluster.now

    for module in (rollout, switchover, topology):
        monkeypatch.setattr(module, "datetime", Clock)
    return cluster


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    """A cluster that has come up with so many instances; the clock is its own."""

    def made(replicas: int, seed: int, spec: dict[str, Any] | None = None, **more: Any) -> FakeCluster:
        cluster = with_clock(monkeypatch, FakeCluster({"replicas": replicas} | (spec or {}), seed, **more))
        cluster.settle()
        assert cluster.ready() == {f"orders-{number}" for number in range(replicas)}
        return cluster

    return made


def lead(cluster: FakeCluster, name: str) -> None:
    """Have a certain instance lead before the test begins."""
    while cluster.leader != name:
        named = cluster._synchronous() in (set(), {cluster.leader, name})
        cluster.wish(name if named else "any")
        cluster.settle()


def passes(cluster: FakeCluster, count: int) -> list[dict[str, Any]]:
    """So many passes, with a tick after each: what they said."""
    said = []
    for _ in range(count):
        said.append(cluster.operate())
        cluster.tick()
    return said
