"""Resources at rest: what leaves a pass out, what never does, and what a restart remembers."""

import asyncio
import dataclasses
import json
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fakeapi import Fault, until
from fakeengine import BAD, GOOD, FakeEngine
from paradedb_runner.control.controller import Controller
from paradedb_runner.engine.interface import ModuleOutcome, RunOutcome, Stats
from paradedb_runner.kube.backoff import Backoff
from paradedb_runner.kube.objects import GroupVersionKind
from paradedb_runner.observe.metrics import Metrics
from paradedb_runner.watches.model import DependentKind, Finalizer, Reference, Refresh, Role, Watch
from support import CONFIG_MAP, DEMO, key, make_settings, owner, working

SECRET = GroupVersionKind("", "v1", "Secret")
STATEFUL_SET = GroupVersionKind("apps", "v1", "StatefulSet")
SERVICE = GroupVersionKind("", "v1", "Service")
DEPLOYMENT = GroupVersionKind("apps", "v1", "Deployment")
POLICY = GroupVersionKind("networking.k8s.io", "v1", "NetworkPolicy")
MONITOR = GroupVersionKind("monitoring.example.com", "v1", "Monitor")
RULE = GroupVersionKind("monitoring.example.com", "v1", "Rule")
REST = RunOutcome(rc=0, stats=Stats(ok=2, hosts=1))
REFRESH = Refresh("paradedb.db.status", {"level": "full"})
FINALIZER = Finalizer("example.com/f", None, {"state": "absent"})
DEMO_A = key("a")
SETTLED = 0.15  # seconds in which many periods pass


def watch(**options: Any) -> Watch:
    kinds = tuple(DependentKind(gvk) for gvk in (CONFIG_MAP, STATEFUL_SET, SERVICE))
    return Watch(
        DEMO,
        Role("demo", Path("/roles")),
        **{
            "manage_status": False,
            "skip_unchanged": True,
            "reconcile_period": 0.02,
            "dependents": kinds,
            "references": (Reference(SECRET, "spec.secret"),),
        }
        | options,
    )


@pytest.fixture
def make(served, tmp_path):
    fake, api = served

    def build(engine: Any, settings: dict[str, Any] | None = None, **options: Any) -> Controller:
        given = {"environ": {"ANSIBLE_COLLECTIONS_PATH": "/none"}} | (settings or {})
        return Controller(api, engine, [watch(**options)], make_settings(**given), Metrics(), tmp_path)

    return fake, build


async def at_rest(engine: FakeEngine, runs: int) -> None:
    """So many runs, and no more over many periods."""
    await until(lambda: len(engine.names) >= runs and not engine.running)
    await asyncio.sleep(SETTLED)
    assert len(engine.names) == runs


def skipped(controller: Controller) -> float:
    labels = {"controller": "demo"}
    return controller._metrics.registry.get_sample_value("paradedb_runner_passes_skipped_total", labels)


# What is left out


async def test_a_resource_at_rest_costs_neither_a_run_nor_a_request(make):
    fake, build = make
    engine = FakeEngine(REST)
    controller = build(engine)
    async with working(controller):
        fake.put("demos", "a")
        await at_rest(engine, 1)
        requests, passes = len(fake.requests), skipped(controller)
        await until(lambda: skipped(controller) >= passes + 5)
        assert len(engine.names) == 1
        paths = [request.path for request in fake.requests[requests:]]
        assert [path for path in paths if "configmaps" not in path] == [], "what it found is written once"


async def test_without_the_option_every_period_runs(make):
    fake, build = make
    engine = FakeEngine(REST)
    async with working(build(engine, skip_unchanged=False)):
        fake.put("demos", "a")
        await until(lambda: len(engine.names) >= 4)


async def test_a_pass_that_changed_something_is_confirmed_by_another(make):
    fake, build = make
    engine = FakeEngine(GOOD, REST)
    async with working(build(engine, reconcile_period=60.0)):
        fake.put("demos", "a")
        await at_rest(engine, 2)


async def test_passes_that_never_come_to_rest_fall_back_to_the_period_and_are_complained_about(make):
    fake, build = make
    engine = FakeEngine(GOOD)
    async with working(build(engine, reconcile_period=60.0)):
        fake.put("demos", "a")
        await at_rest(engine, 6)
        await until(lambda: fake.writes("POST", "/events"))
    (event,) = fake.writes("POST", "/events")
    assert (event["reason"], event["involvedObject"]["name"]) == ("NeverAtRest", "a")


async def test_a_new_spec_starts_the_count_of_confirmations_anew(make):
    fake, build = make
    engine = FakeEngine(*[GOOD] * 4, REST, *[GOOD] * 4, REST)
    async with working(build(engine, reconcile_period=60.0)):
        fake.put("demos", "a", spec={"n": 1})
        await at_rest(engine, 5)
        fake.put("demos", "a", spec={"n": 2})
        await at_rest(engine, 10)
    assert fake.writes("POST", "/events") == []


# What never is


CHANGES: dict[str, Callable[[Any], Any]] = {
    "spec": lambda fake: fake.put("demos", "a", spec={"secret": "s", "n": 2}),
    "annotation": lambda fake: fake.put("demos", "a", metadata={"annotations": {"x": "y"}}),
    "label": lambda fake: fake.put("demos", "a", metadata={"labels": {"x": "y"}}),
    "dependent changed": lambda fake: fake.put("configmaps", "c", data={"x": "2"}),
    "dependent gone": lambda fake: fake.delete("configmaps", "c"),
    "dependent appeared": lambda fake: fake.put("configmaps", "new", metadata=owner("a")),
    "dependent adopted": lambda fake: fake.put("configmaps", "stray", metadata=owner("a")),
    "status": lambda fake: fake.put("statefulsets", "db", status={"ready": 1}),
    "secret changed": lambda fake: fake.put("secrets", "s", data={"p": "2"}),
    "secret gone": lambda fake: fake.delete("secrets", "s"),
}


def put_all(fake: Any) -> None:
    fake.put("secrets", "s", data={"p": "1"})
    fake.put("configmaps", "stray")
    fake.put("configmaps", "c", metadata=owner("a"), data={"x": "1"})
    fake.put("statefulsets", "db", metadata=owner("a"))
    fake.put("services", "svc", metadata=owner("a"), spec={})
    fake.put("demos", "a", spec={"secret": "s"})


@pytest.mark.parametrize("change", CHANGES)
async def test_every_change_that_watches_show_runs_once_more(make, change):
    fake, build = make
    engine = FakeEngine(REST)
    put_all(fake)
    async with working(build(engine)):
        await at_rest(engine, 1)
        CHANGES[change](fake)
        await at_rest(engine, 2)


async def test_what_does_not_concern_the_resource_runs_nothing(make):
    fake, build = make
    engine = FakeEngine(REST)
    put_all(fake)
    async with working(build(engine)):
        await at_rest(engine, 1)
        fake.put("secrets", "other")
        fake.put("configmaps", "stray", data={"x": "9"})
        fake.put("demos", "a", status={"phase": "Ready"})
        fake.put("configmaps", "theirs", metadata=owner("b"))
        await at_rest(engine, 1)


async def test_a_named_object_counts_from_when_the_spec_names_it(make):
    fake, build = make
    engine = FakeEngine(REST)
    fake.put("secrets", "s")
    fake.put("demos", "a", spec={})
    async with working(build(engine)):
        await at_rest(engine, 1)
        fake.put("secrets", "s", data={"p": "1"})
        await at_rest(engine, 1)
        fake.put("demos", "a", spec={"secret": "s"})
        await at_rest(engine, 2)
        fake.put("secrets", "s", data={"p": "2"})
        await at_rest(engine, 3)


@pytest.mark.parametrize(
    "outcome", [BAD, dataclasses.replace(REST, requeue_after=["10h"])], ids=["failed", "asks for more"]
)
async def test_only_a_pass_that_succeeded_and_wants_nothing_is_remembered(make, outcome):
    fake, build = make
    engine = FakeEngine(outcome)
    controller = build(engine)
    async with working(controller):
        fake.put("demos", "a")
        for runs in (1, 2, 3):
            await until(lambda runs=runs: len(engine.names) == runs and not engine.running)
            controller.queue.add(DEMO_A)
        assert skipped(controller) == 0


async def test_after_the_resync_period_a_pass_runs_whatever_the_fingerprint_says(make):
    fake, build = make
    engine = FakeEngine(REST)
    async with working(build(engine, settings={"resync_period": 0.2}, reconcile_period=0.0)):
        fake.put("demos", "a")
        await until(lambda: len(engine.names) == 3)


async def test_the_resync_does_not_depend_on_a_verdict(make):
    fake, build = make
    engine = FakeEngine(GOOD)
    async with working(build(engine, settings={"resync_period": 0.2}, reconcile_period=0.0)):
        fake.put("demos", "a")
        await until(lambda: len(engine.names) == 8)


async def test_a_deletion_is_always_worked_on(make):
    fake, build = make
    engine = FakeEngine(REST)
    async with working(build(engine, finalizer=FINALIZER)):
        fake.put("demos", "a")
        await until(lambda: fake.get("demos", "a")["metadata"].get("finalizers"))
        await asyncio.sleep(SETTLED)
        runs = len(engine.names)
        fake.delete("demos", "a")
        await until(lambda: ("demos", "ns", "a") not in fake.objects)
    assert engine.variables[-1]["state"] == "absent"
    assert len(engine.names) == runs + 1


async def test_a_finalizer_that_was_taken_away_comes_back(make):
    fake, build = make
    engine = FakeEngine(REST)
    async with working(build(engine, finalizer=FINALIZER)):
        fake.put("demos", "a")
        await until(lambda: fake.get("demos", "a")["metadata"].get("finalizers"))
        await asyncio.sleep(SETTLED)
        fake.put("demos", "a", metadata={"finalizers": []})
        await until(lambda: fake.get("demos", "a")["metadata"]["finalizers"] == [FINALIZER.name])


async def test_another_resource_of_the_same_name_is_another(make):
    fake, build = make
    engine = FakeEngine(REST)
    async with working(build(engine)):
        fake.put("demos", "a")
        await at_rest(engine, 1)
        fake.delete("demos", "a")
        fake.put("demos", "a")
        await at_rest(engine, 2)


# Kinds that controllers of others write to, and kinds that are not there


async def test_a_rollout_of_a_deployment_refreshes_and_never_runs_a_pass(make):
    fake, build = make
    engine = FakeEngine(REST)
    fake.put("demos", "a")
    fake.put("deployments", "pooler", metadata=owner("a"), spec={"replicas": 2})
    async with working(build(engine, refresh=REFRESH, dependents=(DependentKind(DEPLOYMENT),))):
        await at_rest(engine, 1)
        for revision in range(1, 4):
            notes = {"annotations": {"deployment.kubernetes.io/revision": str(revision)}}
            fake.put("deployments", "pooler", metadata=notes, status={"updatedReplicas": revision})
            await until(lambda revision=revision: len(engine.modules) == revision)
        await at_rest(engine, 1)
        fake.put("deployments", "pooler", spec={"replicas": 3})
        await at_rest(engine, 2)
    assert len(engine.modules) == 3


@pytest.mark.parametrize("kind", [POLICY, MONITOR, RULE], ids=lambda kind: kind.kind)
async def test_only_what_is_wanted_of_other_kinds_runs_a_pass(make, kind):
    fake, build = make
    plural = {POLICY: "networkpolicies", MONITOR: "monitors", RULE: "rules"}[kind]
    engine = FakeEngine(REST)
    fake.put("demos", "a")
    fake.put(plural, "o", metadata=owner("a"), spec={"n": 1})
    async with working(build(engine, refresh=REFRESH, dependents=(DependentKind(kind),))):
        await at_rest(engine, 1)
        fake.put(plural, "o", metadata={"managedFields": [{"manager": "somebody"}]})
        await until(lambda: len(engine.modules) == 1)
        await at_rest(engine, 1)
        fake.put(plural, "o", spec={"n": 2})
        await at_rest(engine, 2)
        fake.delete(plural, "o")
        await at_rest(engine, 3)


async def test_a_kind_of_dependents_that_comes_or_goes_brings_everybody_a_pass(make, hurry):
    fake, build = make
    engine = FakeEngine(REST)
    served = fake.kinds.pop("/apis/monitoring.example.com/v1")
    for name in ("a", "b"):
        fake.put("demos", name)
    options = {"refresh": REFRESH, "dependents": (DependentKind(MONITOR), DependentKind(RULE))}
    async with working(build(engine, **options)):
        await at_rest(engine, 2)
        del served["Rule"]
        fake.kinds["/apis/monitoring.example.com/v1"] = served
        await at_rest(engine, 4)
        fake.kinds.pop("/apis/monitoring.example.com/v1")
        fake.disconnect()
        await at_rest(engine, 6)
    async with working(build(engine, **options)):
        await at_rest(engine, 6)
    fake.kinds["/apis/monitoring.example.com/v1"] = served
    async with working(build(engine, **options)):
        await at_rest(engine, 8)
    assert engine.modules == []


# Hostile orders


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paradedb_runner.kube.informer.Backoff", lambda: Backoff(0.005, 0.02))


PHANTOMS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "dependent": (
        lambda fake: fake.put("configmaps", "phantom", metadata=owner("a")),
        lambda fake: fake.delete("configmaps", "phantom"),
    ),
    "secret": (
        lambda fake: fake.put("secrets", "s", data={"p": "1"}),
        lambda fake: fake.delete("secrets", "s"),
    ),
    "annotation": (
        lambda fake: fake.put("demos", "a", metadata={"annotations": {"x": "y"}}),
        lambda fake: fake.put("demos", "a", metadata={"annotations": {}}),
    ),
}


def hear_again(fake: Any) -> None:
    """What was not heard is made up for by a list, as after a connection that was half-open."""
    fake.silent = False
    fake.forget_history()
    fake.disconnect()


@pytest.mark.parametrize("late", [False, True], ids=["pass has ended", "pass still runs"])
@pytest.mark.parametrize("phantom", PHANTOMS)
async def test_what_only_a_pass_saw_while_no_watch_did_is_followed_by_another(make, hurry, phantom, late):
    fake, build = make
    come, go = PHANTOMS[phantom]
    fake.put("demos", "a", metadata={"annotations": {}}, spec={"secret": "s"})
    engine = FakeEngine(REST)
    controller = build(engine, reconcile_period=3600.0)
    async with working(controller):
        await at_rest(engine, 1)
        fake.silent = True
        come(fake)
        engine.block = asyncio.Event() if late else None
        controller.kinds_changed(DEMO)  # or anything else that brings a pass
        await until(lambda: len(engine.names) == 2 and (late or not engine.running))
        go(fake)
        await asyncio.sleep(0.05)
        hear_again(fake)
        await asyncio.sleep(0.05)
        if engine.block:
            engine.block.set()
        await until(lambda: len(engine.names) > 2 and controller.memory.get(DEMO_A))


async def during_a_run(fake: Any, engine: FakeEngine, act: Callable[[], Awaitable[None]]) -> None:
    """Do something while the first run over the resource is going on."""
    engine.block = asyncio.Event()
    await until(lambda: engine.running)
    await act()
    engine.block.set()


@pytest.mark.parametrize("change", CHANGES)
async def test_an_event_during_a_pass_is_followed_by_another(make, change):
    fake, build = make
    engine = FakeEngine(REST)
    put_all(fake)
    engine.block = asyncio.Event()
    async with working(build(engine)):

        async def act() -> None:
            CHANGES[change](fake)
            await asyncio.sleep(0.05)

        await during_a_run(fake, engine, act)
        await at_rest(engine, 2)


async def test_a_change_that_is_taken_back_during_a_pass_is_followed_by_another(make):
    fake, build = make
    engine = FakeEngine(REST)
    put_all(fake)
    engine.block = asyncio.Event()
    async with working(build(engine, refresh=REFRESH)):

        async def act() -> None:
            fake.put("services", "svc", spec={"port": 1})
            fake.put("services", "svc", spec={})
            await asyncio.sleep(0.05)

        await during_a_run(fake, engine, act)
        await at_rest(engine, 2)


@pytest.mark.parametrize("change", [name for name in CHANGES if name not in {"annotation", "label"}])
async def test_an_event_that_arrives_after_the_pass_that_saw_it_is_not_lost(make, change):
    fake, build = make
    engine = FakeEngine(REST)
    put_all(fake)
    engine.block = asyncio.Event()
    async with working(build(engine, reconcile_period=60.0)):

        async def act() -> None:
            fake.silent = True
            CHANGES[change](fake)
            await asyncio.sleep(0.05)

        await during_a_run(fake, engine, act)
        await at_rest(engine, 1)
        fake.silent = False
        fake.disconnect()  # the watches resume where they were and hear of it only now
        await at_rest(engine, 2)


async def test_an_interrupted_pass_leaves_no_verdict_behind(make):
    fake, build = make
    engine = FakeEngine(REST)
    controller = build(engine, settings={"resync_period": 0.1})
    async with working(controller):
        fake.put("demos", "a")
        await until(lambda: controller.memory.get(DEMO_A))
        engine.block = asyncio.Event()
        await until(lambda: engine.running)
    assert controller.memory.get(DEMO_A) is None
    stored = [data for (_, _, name), obj in fake.objects.items() if "passes" in name for data in obj["data"]]
    assert stored == []


# Refresh


def settled_with_refresh(fake: Any, build: Any, engine: FakeEngine, **options: Any) -> Controller:
    """A controller with a resource that has everything, and a module to refresh its status."""
    put_all(fake)
    return build(engine, refresh=REFRESH, **options)


async def test_a_status_of_a_dependent_refreshes_instead_of_running(make):
    fake, build = make
    engine = FakeEngine(REST)
    controller = settled_with_refresh(fake, build, engine)
    async with working(controller):
        await at_rest(engine, 1)
        fake.put("statefulsets", "db", status={"ready": 1})
        await until(lambda: len(engine.modules) == 1)
        await at_rest(engine, 1)
    labels = {"controller": "demo", "result": "requeue_after"}
    counted = controller._metrics.registry.get_sample_value
    assert counted("paradedb_runner_status_refreshes_total", labels) == 1
    assert counted("controller_runtime_active_workers", {"controller": "demo"}) == 0
    (request,) = engine.modules
    assert request.module == "paradedb.db.status"
    assert request.arguments == {"level": "full", "name": "a", "namespace": "ns"}
    assert request.environment["TMPDIR"].startswith(str(request.directory))


async def test_a_status_of_a_resource_that_is_not_settled_runs_a_pass(make):
    fake, build = make
    engine = FakeEngine(dataclasses.replace(REST, requeue_after=["10h"]))
    async with working(settled_with_refresh(fake, build, engine, reconcile_period=60.0)):
        await at_rest(engine, 1)
        fake.put("statefulsets", "db", status={"ready": 1})
        await at_rest(engine, 2)
    assert engine.modules == []


async def test_a_refresh_that_fails_is_followed_by_a_pass_after_the_back_off(make):
    fake, build = make
    engine = FakeEngine(REST)
    engine.module_outcomes = [ModuleOutcome(error="no connection")]
    controller = settled_with_refresh(fake, build, engine, reconcile_period=60.0)
    async with working(controller):
        await at_rest(engine, 1)
        fake.put("statefulsets", "db", status={"ready": 1})
        await until(lambda: controller.queue.retries[DEMO] == 1)
        controller.queue.add(DEMO_A)
        await at_rest(engine, 2)


async def test_a_refresh_may_ask_for_a_pass_now(make):
    fake, build = make
    engine = FakeEngine(REST)
    engine.module_outcomes = [ModuleOutcome(requeue_after=0), ModuleOutcome()]
    async with working(settled_with_refresh(fake, build, engine, reconcile_period=60.0)):
        await at_rest(engine, 1)
        fake.put("statefulsets", "db", status={"ready": 1})
        await at_rest(engine, 2)
    assert len(engine.modules) == 1


async def test_a_change_of_content_during_a_refresh_runs_a_pass(make):
    fake, build = make
    engine = FakeEngine(REST)
    async with working(settled_with_refresh(fake, build, engine, reconcile_period=60.0)):
        await at_rest(engine, 1)
        engine.block = asyncio.Event()
        fake.put("statefulsets", "db", status={"ready": 1})
        await until(lambda: engine.modules)
        fake.put("configmaps", "c", data={"x": "2"})
        await asyncio.sleep(0.05)
        engine.block.set()
        await at_rest(engine, 2)


async def test_a_status_that_changes_during_a_refresh_is_refreshed_again(make):
    fake, build = make
    engine = FakeEngine(REST)
    async with working(settled_with_refresh(fake, build, engine, reconcile_period=60.0)):
        await at_rest(engine, 1)
        engine.block = asyncio.Event()
        fake.put("statefulsets", "db", status={"ready": 1})
        await until(lambda: engine.modules)
        fake.put("statefulsets", "db", status={"ready": 2})
        await asyncio.sleep(0.05)
        engine.block.set()
        await until(lambda: len(engine.modules) == 2)
        await at_rest(engine, 1)


# Restart


async def test_a_restart_with_1000_resources_at_rest_runs_nothing(make):
    fake, build = make
    for number in range(1000):
        fake.put("configmaps", f"c{number}", metadata=owner(f"d{number}"))
        fake.put("demos", f"d{number}")
    engine = FakeEngine(REST)
    async with working(build(engine, settings={"run_slots": 50}, reconcile_period=3600.0)):
        await until(lambda: len(engine.names) == 1000 and not engine.running, patience=60)
    again = FakeEngine(REST)
    controller = build(again, reconcile_period=3600.0)
    async with working(controller):
        await until(lambda: skipped(controller) == 1000)
    assert again.names == []


async def restarted(make: Any, change: Callable[[Any], Any], **options: Any) -> FakeEngine:
    """An engine that was used since a restart, after a change while nobody looked."""
    fake, build = make
    put_all(fake)
    engine = FakeEngine(REST)
    async with working(build(engine, **options)):
        await at_rest(engine, 1)
    change(fake)
    engine = FakeEngine(REST)
    async with working(build(engine, **options)):
        await asyncio.sleep(2 * SETTLED)
    return engine


@pytest.mark.parametrize("change", CHANGES)
async def test_after_a_restart_what_changed_meanwhile_runs(make, change):
    engine = await restarted(make, CHANGES[change])
    assert engine.names == ["a"]


async def test_after_a_restart_a_status_that_changed_meanwhile_is_refreshed(make):
    engine = await restarted(make, CHANGES["status"], refresh=REFRESH)
    assert (engine.names, len(engine.modules)) == ([], 1)


async def test_after_a_restart_nothing_changed_nothing_runs(make):
    assert (await restarted(make, lambda fake: None)).names == []


async def test_other_variables_of_the_watch_are_another_matter(make):
    fake, build = make
    put_all(fake)
    engine = FakeEngine(REST)
    async with working(build(engine)):
        await at_rest(engine, 1)
    async with working(build(engine, variables={"x": 1})):
        await at_rest(engine, 2)


async def test_without_rights_on_config_maps_it_goes_on_without_and_says_so_once(make, caplog):
    fake, build = make

    async def forbid(request: Any) -> None:
        if "passes" in request.path or (request.method == "POST" and "configmaps" in request.path):
            fake.faults.append(Fault(request.method, 403, request.path))

    fake.on_request = forbid
    engine = FakeEngine(REST)
    async with working(build(engine)):
        for name in ("a", "b"):
            fake.put("demos", name)
        await at_rest(engine, 2)
    assert len([each for each in caplog.records if "a restart will repeat" in each.message]) == 1


# Everything at once


class Reading(FakeEngine):
    """Reads the world when a run starts, takes a while, and remembers what every resource was last like."""

    def __init__(self, fake: Any, chance: random.Random) -> None:
        super().__init__()
        self._fake, self._chance = fake, chance
        self.seen: dict[str, Any] = {}
        self.changed = 0

    async def run(self, request: Any, on_event: Any) -> RunOutcome:
        name = json.loads(request.extra_vars.read_text())["ansible_operator_meta"]["name"]
        self.names.append(name)
        self.seen[name] = world(self._fake, name)
        await asyncio.sleep(self._chance.random() * 0.03)
        outcome = self._chance.choice([REST, REST, GOOD])
        self.changed += outcome is GOOD
        return outcome


def is_list(request: Any) -> bool:
    """Whether a watch began with it, the first time or after a gap."""
    return request.method == "GET" and "limit" in request.query


def world(fake: Any, name: str) -> Any:
    """All that a pass over the resource would find."""
    there = {kind: fake.objects.get((kind, "ns", name), {}) for kind in ("demos", "configmaps", "secrets")}
    return [there["demos"].get("spec"), there["configmaps"].get("data"), there["secrets"].get("data")]


def set_limits(monkeypatch: pytest.MonkeyPatch, *, storms: bool) -> None:
    """
    Both limits on passes put them off, by a minute or to the next period, and how soon they are reached
    depends on how fast the machine is. So either neither ever is, or there always are storms, but short ones.
    """
    monkeypatch.setattr("paradedb_runner.kube.informer.Backoff", lambda: Backoff(0.005, 0.02))
    storm = "paradedb_runner.control.storm"
    if storms:
        monkeypatch.setattr(f"{storm}._PASSES", 0)
        monkeypatch.setattr(f"{storm}._MINUTE", 0.1)
        monkeypatch.setattr(f"{storm}._LONGEST", 0.2)
    else:
        monkeypatch.setattr(f"{storm}._PASSES", 1000)
        monkeypatch.setattr("paradedb_runner.control.unchanged._CONFIRMATIONS", 1000)


@pytest.mark.parametrize("storms", [False, True], ids=["no storms", "storms"])
@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_the_last_pass_saw_the_last_state(make, seed, storms, monkeypatch):
    set_limits(monkeypatch, storms=storms)
    fake, build = make
    version = fake.version
    chance = random.Random(seed)  # noqa: S311  (keeps no secret)
    engine = Reading(fake, chance)
    names = [f"r{number}" for number in range(6)]

    def disturb(name: str) -> None:
        match chance.randrange(20):
            case 0 | 1 | 2:
                fake.put("demos", name, spec={"secret": name, "n": chance.randrange(3)})
            case 8 | 9 | 10 | 11 | 12:
                fake.put("configmaps", name, metadata=owner(name), data={"x": chance.randrange(2)})
            case 3 | 13 | 14:
                fake.put("secrets", name, data={"p": chance.randrange(2)})
            case 4 | 15 | 16 if ("configmaps", "ns", name) in fake.objects:
                fake.delete("configmaps", name)
            case 5:
                fake.silent = True
            case 6:
                fake.disconnect()
            case 7:
                hear_again(fake)

    controller = build(engine, settings={"run_slots": 3}, reconcile_period=3600.0)
    async with working(controller):
        for name in names:
            fake.put("demos", name, spec={"secret": name})
        for _ in range(300):
            disturb(chance.choice(names))
            await asyncio.sleep(chance.random() * 0.02)
        hear_again(fake)
        await until(lambda: all(engine.seen.get(name) == world(fake, name) for name in names), patience=60)
        if not storms:  # during one, what a pass changed is confirmed by nothing before the next period
            await until(lambda: all(controller.memory.get(key(name)) for name in names), patience=60)
        gaps = len(names) * len([request for request in fake.requests if is_list(request)])
        assert len(engine.names) <= fake.version - version + engine.changed + gaps, "one for each change"
    counted = controller._metrics.registry.get_sample_value
    assert storms == (counted("paradedb_runner_dependent_storms_total", {"controller": "demo"}) > 0)
