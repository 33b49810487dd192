"""How each resource fares, as its metrics show it."""

import time
from pathlib import Path
from typing import Any

import pytest
from fakeapi import until
from fakeengine import BAD, FakeEngine
from paradedb_runner.control.controller import Controller
from paradedb_runner.engine.interface import ModuleOutcome, RunOutcome, Stats
from paradedb_runner.kube.objects import GroupVersionKind
from paradedb_runner.observe.metrics import Metrics
from paradedb_runner.watches.model import DependentKind, Refresh, Role, Watch
from support import DEMO, key, make_settings, owner, working

DEPLOYMENT = GroupVersionKind("apps", "v1", "Deployment")
REST = RunOutcome(rc=0, stats=Stats(ok=2, hosts=1))
GOOD_AT = "paradedb_runner_resource_last_success_timestamp_seconds"
FAILURES = "paradedb_runner_resource_failures"


@pytest.fixture
def make(served, tmp_path):
    fake, api = served

    def build(engine: FakeEngine, metrics: Metrics, **options: Any) -> Controller:
        given = {"manage_status": False, "skip_unchanged": True, "reconcile_period": 3600.0} | options
        watch = Watch(DEMO, Role("demo", Path("/roles")), **given)
        settings = make_settings(environ={"ANSIBLE_COLLECTIONS_PATH": "/none"})
        return Controller(api, engine, [watch], settings, metrics, tmp_path)

    return fake, build


def value(metrics: Metrics, name: str, resource: str = "a") -> float | None:
    labels = {"namespace": "ns", "name": resource, **DEMO._asdict()}
    return metrics.registry.get_sample_value(name, labels)


async def test_failures_in_a_row_are_counted_until_one_pass_goes_well(make):
    fake, build = make
    metrics, started = Metrics(), time.time()
    controller = build(FakeEngine(BAD, BAD, REST), metrics)
    async with working(controller):
        fake.put("demos", "a")
        for failures in (1, 2):
            await until(lambda failures=failures: value(metrics, FAILURES) == failures)
            assert value(metrics, GOOD_AT) is None
            controller.queue.add(key("a"))
        await until(lambda: value(metrics, FAILURES) == 0)
        assert started < value(metrics, GOOD_AT) <= time.time()


async def test_a_pass_that_is_left_out_is_a_good_turn_and_so_is_a_refresh(make):
    fake, build = make
    metrics, engine = Metrics(), FakeEngine(REST)
    fake.put("deployments", "d", metadata=owner("a"))
    dependents = (DependentKind(DEPLOYMENT),)
    controller = build(engine, metrics, refresh=Refresh("x.y.status", {}), dependents=dependents)
    async with working(controller):
        fake.put("demos", "a")
        await until(lambda: value(metrics, GOOD_AT))
        passed = value(metrics, GOOD_AT)
        controller.queue.add(key("a"))
        await until(lambda: value(metrics, GOOD_AT) > passed)
        skipped = value(metrics, GOOD_AT)
        fake.put("deployments", "d", status={"readyReplicas": 1})
        await until(lambda: value(metrics, GOOD_AT) > skipped)
    assert (len(engine.names), len(engine.modules)) == (1, 1)


async def test_a_refresh_that_fails_is_a_failure(make):
    fake, build = make
    metrics, engine = Metrics(), FakeEngine(REST)
    engine.module_outcomes = [ModuleOutcome(error="no connection")]
    controller = build(engine, metrics, refresh=Refresh("x.y.status", {}, period=0.05))
    async with working(controller):
        fake.put("demos", "a")
        await until(lambda: value(metrics, FAILURES) == 1)
        assert value(metrics, GOOD_AT) is not None


async def test_series_end_with_the_resource_even_if_a_pass_ends_after_it(make):
    fake, build = make
    metrics = Metrics()
    controller = build(FakeEngine(REST), metrics)
    async with working(controller):
        fake.put("demos", "a")
        await until(lambda: value(metrics, GOOD_AT))
        fake.delete("demos", "a")
        await until(lambda: not controller.queue.working() and value(metrics, GOOD_AT) is None)
        assert value(metrics, FAILURES) is None


async def test_only_the_leader_shows_them(make):
    fake, build = make
    metrics, leads = Metrics(), True
    metrics.watch_leader("lease", lambda: leads)
    async with working(build(FakeEngine(REST), metrics)):
        fake.put("demos", "a")
        await until(lambda: value(metrics, FAILURES) == 0)
        leads = False
        assert value(metrics, FAILURES) is None
