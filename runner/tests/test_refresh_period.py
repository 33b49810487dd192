"""The refresh that comes now and then though nothing changed: when, for whom, and what it leaves alone."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fakeapi import until
from fakeengine import FakeEngine
from paradedb_runner.control.controller import Controller
from paradedb_runner.control.fingerprint import Fingerprint
from paradedb_runner.control.memory import PassMemory
from paradedb_runner.control.unchanged import Gate, Turn
from paradedb_runner.engine.interface import ModuleOutcome, RunOutcome, Stats
from paradedb_runner.observe.metrics import Metrics
from paradedb_runner.watches.model import Refresh, Role, Watch
from support import DEMO, key, make_settings, working

REST = RunOutcome(rc=0, stats=Stats(ok=2, hosts=1))
PERIOD = 0.05
SETTLED = 0.3  # seconds in which several periods pass
DEMO_A = key("a")
SEEN = Fingerprint("uid", "content", "versions")


@pytest.fixture
def make(served, tmp_path):
    fake, api = served

    def build(engine: Any, period: float = PERIOD, settings: dict[str, Any] | None = None) -> Controller:
        watch = Watch(
            DEMO,
            Role("demo", Path("/roles")),
            manage_status=False,
            skip_unchanged=True,
            refresh=Refresh("paradedb.db.status", {}, period),
        )
        given = {"environ": {"ANSIBLE_COLLECTIONS_PATH": "/none"}, "reconcile_period": 3600.0}
        return Controller(
            api, engine, [watch], make_settings(**(given | (settings or {}))), Metrics(), tmp_path
        )

    return fake, build


async def test_a_resource_at_rest_is_refreshed_again_and_again_and_nothing_else_happens(make):
    fake, build = make
    engine = FakeEngine(REST)
    controller = build(engine)
    async with working(controller):
        fake.put("demos", "a")
        await until(lambda: len(engine.modules) >= 1)
        known, requests = controller.memory.get(DEMO_A), len(fake.requests)
        await until(lambda: len(engine.modules) >= 4)
        again = controller.memory.get(DEMO_A)
        paths = [request.path for request in fake.requests[requests:]]
    assert engine.names == ["a"]
    assert (again.fingerprint, again.due) == (known.fingerprint, known.due), "the resync is not put off"
    assert [path for path in paths if "configmaps" not in path] == []


@pytest.mark.parametrize("settings", [{"resync_period": 0.0}, {"reconcile_period": 0.0}], ids=str)
async def test_it_needs_neither_a_resync_nor_periodic_passes(make, settings):
    fake, build = make
    engine = FakeEngine(REST)
    async with working(build(engine, settings=settings)):
        fake.put("demos", "a")
        await until(lambda: len(engine.modules) >= 2)
    assert engine.names == ["a"]


async def test_without_a_period_there_is_none(make):
    fake, build = make
    engine = FakeEngine(REST)
    async with working(build(engine, period=0.0, settings={"reconcile_period": 0.02})):
        fake.put("demos", "a")
        await until(lambda: engine.names)
        await asyncio.sleep(SETTLED)
    assert engine.modules == []


async def test_a_resource_that_never_rests_has_passes_only(make):
    fake, build = make
    engine = FakeEngine(RunOutcome(rc=0, stats=Stats(ok=2, hosts=1), requeue_after=["10h"]))
    async with working(build(engine)):
        fake.put("demos", "a")
        await until(lambda: engine.names)
        await asyncio.sleep(SETTLED)
    assert engine.modules == []


async def test_one_that_fails_is_followed_by_a_pass_after_the_back_off(make):
    fake, build = make
    engine = FakeEngine(REST)
    engine.module_outcomes = [ModuleOutcome(error="no connection")]
    controller = build(engine)
    async with working(controller):
        fake.put("demos", "a")
        await until(lambda: controller.queue.retries[DEMO] == 1)
        await asyncio.sleep(SETTLED)
        assert (engine.names, len(engine.modules)) == (["a"], 1)
        controller.queue.add(DEMO_A)
        await until(lambda: len(engine.names) == 2)


async def test_one_that_sees_more_to_do_asks_for_a_pass(make):
    fake, build = make
    engine = FakeEngine(REST)
    engine.module_outcomes = [ModuleOutcome(requeue_after=0), ModuleOutcome()]
    async with working(build(engine)):
        fake.put("demos", "a")
        await until(lambda: len(engine.names) == 2)


async def test_a_restart_refreshes_nobody_at_once_and_everybody_within_a_period(make):
    fake, build = make
    for number in range(50):
        fake.put("demos", f"d{number}")
    engine = FakeEngine(REST)
    async with working(build(engine, period=3600.0)):
        await until(lambda: len(engine.names) == 50 and not engine.running)
    engine = FakeEngine(REST)
    controller = build(engine, period=3600.0)
    async with working(controller):
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(SETTLED)
        due = sorted(controller.memory.get(key(f"d{number}")).stale - now for number in range(50))
    assert (engine.names, len(engine.modules)) == ([], 0)
    assert due[10] < 1800 < due[-10]
    assert due[-1] < 3600


class Ordered(FakeEngine):
    """Remembers what was asked in the order in which it was."""

    def __init__(self) -> None:
        super().__init__(REST)
        self.order: list[str] = []

    async def run(self, request: Any, on_event: Any) -> RunOutcome:
        outcome = await super().run(request, on_event)
        self.order.append(self.names[-1])
        return outcome

    async def run_module(self, request: Any) -> ModuleOutcome:
        self.order.append("refresh")
        return await super().run_module(request)


async def test_what_happens_to_a_resource_goes_first(make):
    fake, build = make
    engine = Ordered()
    controller = build(engine, period=0.3, settings={"run_slots": 1})
    async with working(controller):
        fake.put("demos", "a")
        await until(lambda: controller.memory.get(DEMO_A))
        engine.block = asyncio.Event()
        fake.put("demos", "b")
        await until(lambda: engine.running)
        await until(lambda: controller.queue.depths()[DEMO] == 1)  # a's refresh waits for the slot
        fake.put("demos", "c")
        await until(lambda: controller.queue.depths()[DEMO] == 2)
        engine.block.set()
        await until(lambda: len(engine.order) >= 4)
    assert engine.order[:4] == ["a", "b", "c", "refresh"]


# The gate


class Gated:
    """A gate over one resource at rest, whose refresh and resync are due after so many seconds."""

    def __init__(self, refresh: float, resync: float = 3600.0) -> None:
        self.now: Fingerprint | None = SEEN
        self.memory = PassMemory(None, "ns", "p", resync, lambda _: refresh, uniform=lambda _, high: high)
        self.gate = Gate(self.memory, lambda _: self.now)
        self.begin()
        self.gate.ended(DEMO_A, 0)

    def begin(self) -> Turn:
        return self.gate.begin(DEMO_A, refreshable=True)


async def test_it_is_due_after_the_period_and_then_again_after_another():
    gated = Gated(0.05)
    for _ in range(2):
        assert gated.begin() is Turn.SKIP
        assert 0 < gated.gate.rest(DEMO_A) <= 0.05
        await asyncio.sleep(0.06)
        assert gated.gate.rest(DEMO_A) == 0
        assert gated.begin() is Turn.REFRESH
        gated.gate.refreshed(DEMO_A, good=True)


async def test_it_counts_from_the_last_refresh_whatever_that_was_for():
    gated = Gated(0.2)
    await asyncio.sleep(0.15)
    gated.now = SEEN._replace(versions="others")
    assert gated.begin() is Turn.REFRESH
    gated.gate.refreshed(DEMO_A, good=True)
    await asyncio.sleep(0.1)
    assert gated.begin() is Turn.SKIP


@pytest.mark.parametrize(
    "change",
    [
        lambda gated: setattr(gated, "now", SEEN._replace(content="other")),
        lambda gated: setattr(gated, "now", None),
        lambda gated: gated.gate.touch(DEMO_A),
    ],
    ids=["content", "deletion", "touch"],
)
async def test_it_never_takes_the_place_of_a_pass_that_is_due(change):
    gated = Gated(0.01)
    await asyncio.sleep(0.02)
    change(gated)
    assert gated.begin() is Turn.RUN


async def test_nor_of_the_resync():
    gated = Gated(0.01, resync=0.02)
    await asyncio.sleep(0.03)
    assert gated.begin() is Turn.RUN


@pytest.mark.parametrize("good", [True, False])
async def test_an_event_during_it_is_followed_by_a_pass(good):
    gated = Gated(0.01)
    await asyncio.sleep(0.02)
    assert gated.begin() is Turn.REFRESH
    gated.gate.touch(DEMO_A)
    gated.gate.refreshed(DEMO_A, good=good)
    assert gated.begin() is Turn.RUN
