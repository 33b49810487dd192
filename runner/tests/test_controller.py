"""Watches, queue and passes together, lines 7, 14 and 15 of the checklist; the engine runs nothing."""

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from fakeapi import Fault, until
from fakeengine import BAD, GOOD, FakeEngine
from paradedb_runner.control.controller import Controller
from paradedb_runner.kube.objects import GroupVersionKind
from paradedb_runner.observe.metrics import Metrics
from paradedb_runner.tasks import outlast
from paradedb_runner.watches.model import DependentKind, Finalizer, Role, Watch
from support import CONFIG_MAP, DEMO, key, make_settings, owner, working

OTHER = GroupVersionKind("example.com", "v1", "Other")
ROLE = Role("demo", Path("/roles"))
FINALIZER = Finalizer("example.com/f", None, {"state": "absent"})


def demo(**options: Any) -> Watch:
    return Watch(
        DEMO, ROLE, **({"manage_status": False, "dependents": (DependentKind(CONFIG_MAP),)} | options)
    )


@pytest.fixture
def make(served, tmp_path):
    fake, api = served

    def build(engine: Any, *watches: Watch, **settings: Any) -> Controller:
        return Controller(
            api, engine, list(watches) or [demo()], make_settings(**settings), Metrics(), tmp_path
        )

    return fake, build


async def test_no_pass_starts_before_every_watch_is_in_sync(make):
    fake, build = make
    fake.put("demos", "a")
    fake.faults += [Fault("GET", 500, "/configmaps") for _ in range(2)]
    engine = FakeEngine()
    controller = build(engine)
    following = asyncio.create_task(controller.follow())
    waiting = asyncio.create_task(controller.synced())
    await until(lambda: controller.queue.depths()[DEMO] == 1)
    assert not waiting.done()
    assert engine.requests == []
    await waiting
    following.cancel()


async def test_one_run_for_a_resource_at_a_time_and_many_resources_at_once(make):
    fake, build = make
    engine = FakeEngine()
    async with working(build(engine, run_slots=4)):
        for round_ in range(6):
            for number in range(8):
                fake.put("demos", f"d{number}", spec={"round": round_})
            await asyncio.sleep(0.02)
        await until(lambda: not engine.running and len(engine.names) >= 8)
    assert engine.overlaps == []
    assert engine.most == 4


async def test_a_change_during_a_run_gives_exactly_one_more(make):
    fake, build = make
    engine = FakeEngine()
    engine.block = asyncio.Event()
    async with working(build(engine)):
        fake.put("demos", "a", spec={"n": 0})
        await until(lambda: engine.running)
        for number in range(1, 5):
            fake.put("demos", "a", spec={"n": number})
        await asyncio.sleep(0.1)
        engine.block.set()
        await until(lambda: len(engine.names) == 2)
        await asyncio.sleep(0.1)
    assert [variables["n"] for variables in engine.variables] == [0, 4]


async def test_a_run_that_changes_its_status_does_not_run_again(make):
    fake, build = make
    engine = FakeEngine()
    async with working(build(engine, demo(manage_status=True))):
        fake.put("demos", "a")
        await until(lambda: "Successful" in str(fake.get("demos", "a").get("status")))
        await asyncio.sleep(0.1)
    assert engine.names == ["a"]


async def test_after_success_the_resource_waits_for_its_period(make):
    fake, build = make
    engine = FakeEngine(dataclasses.replace(GOOD, requeue_after=[]))
    async with working(build(engine, demo(reconcile_period=0.05))):
        fake.put("demos", "a")
        await until(lambda: len(engine.names) >= 4)


async def test_after_failure_it_waits_for_the_back_off_but_a_new_spec_does_not(make):
    fake, build = make
    engine = FakeEngine(BAD, GOOD)
    async with working(build(engine)):
        fake.put("demos", "a", spec={"n": 1})
        await until(lambda: len(engine.names) == 1)
        await asyncio.sleep(0.2)
        assert len(engine.names) == 1
        fake.put("demos", "a", spec={"n": 2})
        await until(lambda: len(engine.names) == 2)


async def test_a_failing_api_is_a_failed_pass_not_the_end(make):
    fake, build = make
    engine = FakeEngine()
    controller = build(engine)
    async with working(controller):
        fake.faults += [Fault("GET", 500, "/demos/a")]
        fake.put("demos", "a")
        fake.put("demos", "b")
        await until(lambda: controller.queue.retries[DEMO] == 1 and engine.names == ["b"])


async def test_a_deletion_ends_the_run_and_finalizes(make):
    fake, build = make
    engine = FakeEngine()
    engine.block = asyncio.Event()
    async with working(build(engine, demo(finalizer=FINALIZER))):
        fake.put("demos", "a")
        await until(lambda: engine.running)
        fake.delete("demos", "a")
        await until(lambda: engine.cancelled)
        engine.block.set()
        await until(lambda: ("demos", "ns", "a") not in fake.objects)
    assert engine.variables[-1]["state"] == "absent"
    assert len(engine.names) == 2


async def test_dependents_bring_their_owner_back(make):
    fake, build = make
    engine = FakeEngine()
    async with working(build(engine)):
        fake.put("demos", "a")
        await until(lambda: engine.names == ["a"])
        fake.put("configmaps", "c", metadata=owner("a"), data={"x": "1"})
        await asyncio.sleep(0.1)
        assert engine.names == ["a"], "what a run creates is not news"
        fake.put("configmaps", "c", status={"ready": 1})
        await until(lambda: engine.names == ["a"] * 2)
        fake.delete("configmaps", "c")
        await until(lambda: engine.names == ["a"] * 3)
        fake.put("configmaps", "unowned")
        fake.put("configmaps", "unowned", data={"y": "2"})
        await asyncio.sleep(0.1)
    assert engine.names == ["a"] * 3


async def test_a_dependent_kind_is_watched_once_for_all_its_owners(make):
    fake, build = make
    other = Watch(OTHER, ROLE, manage_status=False, dependents=(DependentKind(CONFIG_MAP),))
    async with working(build(FakeEngine(), demo(), other)):
        await until(lambda: fake.watching("configmaps"))
        await asyncio.sleep(0.1)
    assert len(fake.watching("configmaps")) == 1


async def test_a_kind_that_a_run_touched_brings_its_owner_back(make):
    fake, build = make
    engine = FakeEngine()
    controller = build(engine, demo(dependents=()))
    async with working(controller):
        fake.put("demos", "a")
        fake.put("configmaps", "c", metadata=owner("a"))
        await until(lambda: engine.names == ["a"])
        controller.depend_on(DEMO, CONFIG_MAP)
        await until(lambda: fake.watching("configmaps"))
        await asyncio.sleep(0.05)
        assert engine.names == ["a"]
        fake.put("configmaps", "c", data={"x": "1"})
        await until(lambda: engine.names == ["a"] * 2)


async def test_a_dependent_of_a_resource_that_is_not_there_runs_nothing(make):
    fake, build = make
    engine = FakeEngine()
    controller = build(engine)
    async with working(controller):
        fake.put("configmaps", "c", metadata=owner("nobody"))
        fake.put("configmaps", "c", data={"x": "1"})
        await asyncio.sleep(0.1)
    assert controller.queue.adds[DEMO] == 0


async def test_a_dependent_that_every_pass_changes_becomes_a_storm_and_then_rare(make):
    fake, build = make

    class Changing(FakeEngine):
        async def run(self, request: Any, on_event: Any) -> Any:
            fake.put("configmaps", "c", data={"n": len(self.names)})
            return await super().run(request, on_event)

    engine = Changing()
    controller = build(engine)
    async with working(controller):
        fake.put("configmaps", "c", metadata=owner("a"))
        fake.put("demos", "a", spec={"n": 1})
        await until(lambda: fake.writes("POST", "/events"))
        await asyncio.sleep(0.2)
        runs = len(engine.names)
        await asyncio.sleep(0.2)
        assert 20 <= runs == len(engine.names) <= 25
        fake.put("demos", "a", spec={"n": 2})
        await until(lambda: len(engine.names) > runs)
    (event,) = fake.writes("POST", "/events")
    assert event["reason"] == "DependentStorm"
    assert event["message"].startswith("ConfigMap c changes without end")


async def test_a_drain_lets_running_passes_end_and_starts_no_more(make):
    fake, build = make
    engine = FakeEngine()
    engine.block = asyncio.Event()
    controller = build(engine, run_slots=1)
    async with working(controller):
        for name in ("a", "b", "c"):
            fake.put("demos", name)
        await until(lambda: engine.running)
    assert engine.cancelled == 1, "the fixture drains without patience"

    engine = FakeEngine()
    engine.block = asyncio.Event()
    controller = build(engine, run_slots=1)
    following = asyncio.create_task(controller.follow())
    await controller.synced()
    dispatching = asyncio.create_task(controller.dispatch())
    await until(lambda: engine.running)
    dispatching.cancel()
    draining = asyncio.create_task(controller.drain(5))
    await asyncio.sleep(0.1)
    assert not draining.done()
    engine.block.set()
    await draining
    following.cancel()
    assert (len(engine.names), engine.cancelled) == (1, 0)


async def test_what_was_there_at_start_waits_behind_events(make):
    fake, build = make
    for number in range(5):
        fake.put("demos", f"old{number}")
    engine = FakeEngine()
    controller = build(engine, run_slots=1)
    following = asyncio.create_task(controller.follow())
    await controller.synced()
    controller.queue.add(key("new"))
    fake.put("demos", "new")
    dispatching = asyncio.create_task(controller.dispatch())
    await until(lambda: len(engine.names) >= 6)
    for task in (dispatching, following):
        task.cancel()
    await controller.drain(0)
    assert engine.names[0] == "new"


async def test_a_kind_has_its_own_limit(make):
    fake, build = make
    engine = FakeEngine()
    engine.block = asyncio.Event()
    limits = {"MAX_CONCURRENT_RECONCILES_DEMO_EXAMPLE_COM": "1"}
    async with working(
        build(engine, demo(), Watch(OTHER, ROLE, manage_status=False), run_slots=4, environ=limits)
    ):
        for number in range(3):
            fake.put("demos", f"d{number}")
            fake.put("others", f"o{number}")
        await until(lambda: engine.running == 4)
        await asyncio.sleep(0.05)
        assert sorted(name[0] for name in engine.names) == ["d", "o", "o", "o"]
        engine.block.set()


async def test_metrics_tell_what_happened(make, served, tmp_path):
    fake, api = served
    metrics = Metrics()
    engine = FakeEngine(GOOD, BAD)
    controller = Controller(api, engine, [demo()], make_settings(), metrics, tmp_path)
    async with working(controller):
        fake.put("demos", "a")
        await until(lambda: engine.names == ["a"])
        fake.put("demos", "b")
        await until(lambda: controller.queue.retries[DEMO] == 1)
        text = metrics.render().decode()
        fake.delete("demos", "a")
        await until(lambda: 'name="a"' not in metrics.render().decode())
    gvk = 'GVK="example.com/v1, Kind=Demo"'
    for line in (
        f"ansible_operator_reconciles_count{{{gvk}}} 2.0",
        f'ansible_operator_reconcile_result{{{gvk},result="succeeded"}} 1.0',
        f'ansible_operator_reconcile_result{{{gvk},result="failed"}} 1.0',
        'controller_runtime_reconcile_errors_total{controller="demo"} 1.0',
        'controller_runtime_active_workers{controller="demo"} 0.0',
        'controller_runtime_max_concurrent_reconciles{controller="demo"} 2.0',
        'workqueue_adds_total{name="demo"} 2.0',
        'workqueue_depth{name="demo"} 0.0',
        'workqueue_retries_total{name="demo"} 1.0',
        'workqueue_longest_running_processor_seconds{name="demo"} 0.0',
        'workqueue_unfinished_work_seconds{name="demo"} 0.0',
        'controller_runtime_reconcile_time_seconds_count{controller="demo"} 2.0',
        'paradedb_runner_passes_skipped_total{controller="demo"} 0.0',
        'paradedb_runner_dependent_storms_total{controller="demo"} 0.0',
        "paradedb_runner_run_slots 2.0",
        "paradedb_runner_run_slots_in_use 0.0",
        'resource_created_at_seconds{group="example.com",kind="Demo",name="a",namespace="ns",version="v1"}'
        " 1.7672256e+09",
    ):
        assert line in text
    assert 'ansible_operator_build_info{commit="",version="' in text


async def test_cleaning_up_is_not_cut_short_by_a_second_cancellation():
    done: list[str] = []

    async def clean() -> None:
        await asyncio.sleep(0.05)
        done.append("clean")

    async def work() -> None:
        await outlast(asyncio.ensure_future(clean()))

    task = asyncio.create_task(work())
    for _ in range(3):
        await asyncio.sleep(0.01)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["clean"]
