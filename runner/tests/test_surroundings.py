"""Kinds that concern every resource: what of them counts, who gets a turn, and what a restart remembers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fakeapi import FakeApi, Fault, until
from fakeengine import FakeEngine
from paradedb_runner.control.controller import Controller
from paradedb_runner.control.surroundings import Surroundings
from paradedb_runner.control.workqueue import Lane
from paradedb_runner.engine.interface import RunOutcome, Stats
from paradedb_runner.kube.backoff import Backoff
from paradedb_runner.kube.objects import GroupVersionKind
from paradedb_runner.observe.metrics import Metrics
from paradedb_runner.watches.model import Refresh, Role, Surrounding, Watch
from support import DEMO, key, make_settings, working

OTHER = GroupVersionKind("example.com", "v1", "Other")
NODE = GroupVersionKind("", "v1", "Node")
NODES = Surrounding(NODE, ("spec.unschedulable",))
ZONES = Surrounding(NODE, ("metadata.labels",))
GADGETS = Surrounding(GroupVersionKind("gadgets.com", "v1", "Gadget"), ("spec.size",))
REST = RunOutcome(rc=0, stats=Stats(ok=2, hosts=1))
REFRESH = Refresh("paradedb.db.status", {})
SETTLED = 0.2  # seconds in which several rounds would be told

CHANGES: dict[str, Callable[[FakeApi], Any]] = {
    "cordoned": lambda fake: fake.put("nodes", "n1", "", spec={"unschedulable": True}),
    "uncordoned": lambda fake: fake.put("nodes", "cordoned", "", spec={}),
    "came": lambda fake: fake.put("nodes", "n3", "", spec={"unschedulable": True}),
    "gone": lambda fake: fake.delete("nodes", "cordoned", ""),
    "replaced": lambda fake: (
        fake.delete("nodes", "cordoned", ""),
        fake.put("nodes", "cordoned", "", spec={"unschedulable": True}),
    ),
}
NO_CHANGES: dict[str, Callable[[FakeApi], Any]] = {
    "heartbeat": lambda fake: fake.put("nodes", "n1", "", status={"conditions": [{"heartbeat": 2}]}),
    "metadata": lambda fake: fake.put("nodes", "n1", "", metadata={"labels": {"x": "y"}}),
    "another field": lambda fake: fake.put("nodes", "n1", "", spec={"taints": [{"key": "x"}]}),
    # A cluster that grows and shrinks all day: of an object without the field there is nothing to tell.
    "came": lambda fake: fake.put("nodes", "n3", "", spec={}),
    "gone": lambda fake: fake.delete("nodes", "n2", ""),
    "replaced": lambda fake: (fake.delete("nodes", "n2", ""), fake.put("nodes", "n2", "", spec={})),
}


def watch(gvk: GroupVersionKind = DEMO, **options: Any) -> Watch:
    defaults = {"manage_status": False, "skip_unchanged": True, "surroundings": (NODES,)}
    return Watch(gvk, Role("demo", Path("/roles")), **(defaults | options))


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch):
    """Rounds follow each other soon, and so do attempts at a watch."""
    monkeypatch.setattr("paradedb_runner.control.surroundings._GATHER", 0.02)
    monkeypatch.setattr("paradedb_runner.control.surroundings._PAUSE", 0.02)
    monkeypatch.setattr("paradedb_runner.kube.informer.Backoff", lambda: Backoff(0.005, 0.02))


@pytest.fixture
def make(served, tmp_path):
    fake, api = served
    fake.put("nodes", "n1", "", spec={}, status={"conditions": [{"heartbeat": 1}]})
    fake.put("nodes", "n2", "", spec={})
    fake.put("nodes", "cordoned", "", spec={"unschedulable": True})

    def build(engine: Any, *watches: Watch, **settings: Any) -> Controller:
        known = make_settings(environ={"ANSIBLE_COLLECTIONS_PATH": "/none"}, **settings)
        return Controller(api, engine, list(watches) or [watch()], known, Metrics(), tmp_path)

    return fake, build


@asynccontextmanager
async def surroundings(api: Any, *watches: Watch) -> AsyncIterator[tuple[Surroundings, list[Any]]]:
    """The watches alone, and which kinds' resources were told of a change."""
    told: list[GroupVersionKind] = []
    watching = Surroundings(api, {each.gvk: each for each in watches}, told.append, lambda gvk, since: None)
    task = asyncio.create_task(watching.follow())
    try:
        for informer in watching.informers:
            await informer.synced.wait()
        yield watching, told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def worked(engine: FakeEngine, runs: int, refreshes: int = 0) -> None:
    """So many runs and refreshes, and no more."""
    await until(lambda: len(engine.names) >= runs and len(engine.modules) >= refreshes and not engine.running)
    await asyncio.sleep(SETTLED)
    assert (len(engine.names), len(engine.modules)) == (runs, refreshes)


# Who gets a turn


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_refreshes_every_resource_at_rest(make, change):
    fake, build = make
    engine = FakeEngine(REST)
    async with working(build(engine, watch(refresh=REFRESH))):
        for name in ("a", "b", "c"):
            fake.put("demos", name)
        await worked(engine, 3)
        CHANGES[change](fake)
        await worked(engine, 3, 3)
    assert sorted(request.arguments["name"] for request in engine.modules) == ["a", "b", "c"]


@pytest.mark.parametrize("change", CHANGES)
async def test_without_a_refresh_it_runs_a_pass(make, change):
    fake, build = make
    engine = FakeEngine(REST)
    async with working(build(engine)):
        fake.put("demos", "a")
        await worked(engine, 1)
        CHANGES[change](fake)
        await worked(engine, 2)


async def test_so_it_does_for_a_watch_that_leaves_nothing_out(make):
    fake, build = make
    fake.put("demos", "a")
    engine = FakeEngine(REST)
    async with working(build(engine, watch(skip_unchanged=False))):
        await worked(engine, 1)
        CHANGES["cordoned"](fake)
        await worked(engine, 2)


@pytest.mark.parametrize("change", NO_CHANGES)
async def test_what_no_field_names_gives_nobody_a_turn(make, change):
    fake, build = make
    engine = FakeEngine(REST)
    controller = build(engine)
    async with working(controller):
        fake.put("demos", "a")
        await worked(engine, 1)
        adds = controller.queue.adds[DEMO]
        NO_CHANGES[change](fake)
        await worked(engine, 1)
        assert controller.queue.adds[DEMO] == adds


async def test_a_change_during_a_pass_is_followed_by_a_turn(make):
    fake, build = make
    fake.put("demos", "a")
    engine = FakeEngine(REST)
    engine.block = asyncio.Event()
    async with working(build(engine, watch(refresh=REFRESH))):
        await until(lambda: engine.running)
        CHANGES["cordoned"](fake)
        await asyncio.sleep(SETTLED)
        engine.block.set()
        await worked(engine, 1, 1)


async def test_where_all_are_told_what_happens_to_one_goes_first(make):
    fake, build = make
    controller = build(FakeEngine(REST))
    following = asyncio.create_task(controller.follow())
    await controller.synced()
    for name in ("a", "b", "c"):
        fake.put("demos", name)
    await until(lambda: controller.queue.depths()[DEMO] == 3)
    for _ in range(3):
        found, _ = await controller.queue.get()
        controller.queue.done(found)
    CHANGES["cordoned"](fake)
    await until(lambda: controller.queue.depths()[DEMO] == 3)
    controller.queue.add(key("c"), Lane.EVENT)
    assert (await controller.queue.get())[0] == key("c")
    following.cancel()


# A restart


async def restarted(make: Any, change: Callable[[FakeApi], Any]) -> FakeEngine:
    """An engine that was used since a restart, after a change while nobody looked."""
    fake, build = make
    fake.put("demos", "a")
    engine = FakeEngine(REST)
    async with working(build(engine, watch(refresh=REFRESH))):
        await worked(engine, 1)
    change(fake)
    engine = FakeEngine(REST)
    async with working(build(engine, watch(refresh=REFRESH))):
        await asyncio.sleep(2 * SETTLED)
    return engine


@pytest.mark.parametrize("change", NO_CHANGES)
async def test_after_a_restart_with_the_same_digest_nothing_runs(make, change):
    engine = await restarted(make, NO_CHANGES[change])
    assert (engine.names, engine.modules) == ([], [])


@pytest.mark.parametrize("change", CHANGES)
async def test_after_a_restart_what_changed_meanwhile_is_refreshed(make, change):
    engine = await restarted(make, CHANGES[change])
    assert (engine.names, len(engine.modules)) == ([], 1)


async def test_a_restart_runs_no_pass_twice_for_what_its_first_list_finds(make):
    fake, build = make
    fake.put("demos", "a")
    engine = FakeEngine(REST)
    async with working(build(engine, watch(skip_unchanged=False))):
        await worked(engine, 1)


# What is not there


async def test_without_the_right_to_see_the_kind_it_goes_on_without_and_says_so_once(make, caplog):
    fake, build = make
    fake.faults += [Fault("GET", 403, "/nodes") for _ in range(100)]
    engine = FakeEngine(REST)
    controller = build(engine, watch(reconcile_period=0.05, refresh=REFRESH))
    async with working(controller):
        fake.put("demos", "a")
        await worked(engine, 1)
        assert len([each for each in caplog.records if "may not watch" in each.message]) == 1
        fake.faults.clear()
        await worked(engine, 1, 1)
        CHANGES["cordoned"](fake)
        await worked(engine, 1, 2)


async def test_a_kind_that_is_not_installed_counts_from_when_it_is(make):
    fake, build = make
    fake.put("demos", "a")
    engine = FakeEngine(REST)
    async with working(build(engine, watch(surroundings=(GADGETS,)))):
        await worked(engine, 1)
        fake.put("gadgets", "g", "", spec={"size": 1})
        fake.kinds["/apis/gadgets.com/v1"] = {"Gadget": "gadgets"}
        await worked(engine, 2)


# The watches


async def test_entries_share_a_watch_and_each_hears_of_its_own_fields(served):
    fake, api = served
    fake.put("nodes", "n1", "", spec={})
    watches = watch(), watch(OTHER, surroundings=(ZONES, NODES))
    async with surroundings(api, *watches) as (watching, told):
        await until(lambda: fake.watching("nodes"))
        before = watching.digest(DEMO)
        fake.put("nodes", "n1", "", metadata={"labels": {"zone": "b"}})
        await until(lambda: told == [OTHER])
        assert watching.digest(DEMO) == before
        told.clear()
        fake.put("nodes", "n1", "", spec={"unschedulable": True})
        await until(lambda: sorted(told) == [DEMO, OTHER])
        assert watching.digest(DEMO) != before
        assert len(watching.informers) == 1
    assert len(fake.watching("nodes")) == 1


async def test_the_watch_is_over_the_whole_cluster_and_asked_for_in_small_pages(served):
    fake, api = served
    for number in range(60):
        fake.put("nodes", f"n{number}", "", spec={})
    async with surroundings(api, watch()) as (watching, _):
        assert len(watching.informers[0]) == 60
    assert [(each.path, each.query["limit"]) for each in fake.listing("nodes")] == [
        ("/api/v1/nodes", "50")
    ] * 2


async def test_of_an_object_only_a_digest_is_kept(served):
    fake, api = served
    fake.put("nodes", "n1", "", spec={"unschedulable": True}, status={"images": ["x"] * 1000})
    async with surroundings(api, watch()) as (watching, _):
        ((_, digests),) = watching.informers[0].items()
    assert [len(each) for each in digests] == [16]


async def test_an_object_without_the_fields_is_not_in_the_digest(served):
    fake, api = served
    async with surroundings(api, watch()) as (watching, told):
        await until(lambda: fake.watching("nodes"))
        empty = watching.digest(DEMO)
        fake.put("nodes", "n1", "", spec={})
        await until(lambda: watching.informers[0].get(("", "n1")) is not None)
        assert watching.digest(DEMO) == empty
        fake.put("nodes", "n1", "", spec={"unschedulable": True})
        await until(lambda: told == [DEMO])
        cordoned = watching.digest(DEMO)
        assert cordoned != empty
        told.clear()
        fake.delete("nodes", "n1", "")
        await until(lambda: told == [DEMO])
        assert watching.digest(DEMO) == empty


async def test_the_digest_does_not_depend_on_the_order_in_which_objects_came(served):
    fake, api = served
    uids = {"n1": "1", "n2": "2"}
    digests = []
    for order in (("n1", "n2"), ("n2", "n1")):
        async with surroundings(api, watch()) as (watching, _):
            for name in order:
                fake.put("nodes", name, "", metadata={"uid": uids[name]}, spec={"unschedulable": True})
                await until(lambda name=name, at=watching.informers[0]: at.get(("", name)))
            digests.append(watching.digest(DEMO))
        for name in order:
            fake.delete("nodes", name, "")
    assert digests[0] == digests[1]


async def test_a_watch_without_surroundings_has_an_empty_digest_and_watches_nothing(served):
    fake, api = served
    async with surroundings(api, watch(surroundings=())) as (watching, _):
        assert (watching.informers, watching.digest(DEMO)) == ([], b"")
    assert fake.requests == []


async def test_objects_that_change_together_make_one_round_and_without_end_few(served, monkeypatch):
    fake, api = served
    monkeypatch.setattr("paradedb_runner.control.surroundings._PAUSE", 0.3)
    async with surroundings(api, watch()) as (_, told):
        await until(lambda: fake.watching("nodes"))
        for number in range(50):
            fake.put("nodes", f"n{number}", "", spec={"unschedulable": True})
            await asyncio.sleep(0.001)
        await until(lambda: told)
        fake.put("nodes", "n0", "", spec={})
        await asyncio.sleep(0.1)
        fake.put("nodes", "n1", "", spec={})
        assert len(told) == 1
        await until(lambda: len(told) == 2)
        await asyncio.sleep(0.4)
        assert len(told) == 2
