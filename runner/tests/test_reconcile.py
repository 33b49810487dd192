"""One pass: finalizers, variables, results, status and events."""

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from fakeapi import Fault, until
from fakeengine import BAD, GOOD, FakeEngine
from paradedb_runner.control.reconcile import Reconciler
from paradedb_runner.control.runs import Runs, run_environment
from paradedb_runner.engine.interface import EngineError, RunOutcome, Stats
from paradedb_runner.kube.events import EventRecorder
from paradedb_runner.watches.model import Finalizer, Playbook, Role, Watch
from paradedb_runner.watches.selector import parse_query
from support import DEMO, key, make_settings

A = key("a")
FINALIZER = "example.com/finalizer"


@pytest.fixture
def make(served, tmp_path):
    """Make a reconciler over the served API."""
    fake, api = served

    def build(engine: Any = None, settings: dict[str, Any] | None = None, **watch: Any) -> Reconciler:
        content = watch.pop("content", Role("demo", Path("/roles")))
        watched = Watch(DEMO, content, **({"manage_status": False} | watch))
        made = make_settings(**(settings or {}))
        runs = Runs(engine or FakeEngine(), made, tmp_path)
        events = EventRecorder(api, "test")
        return Reconciler(api, runs, {DEMO: watched}, made, events, uniform=lambda low, high: high)

    return fake, build


def with_finalizer(**options: Any) -> dict[str, Any]:
    return {
        "finalizer": Finalizer(FINALIZER, **({"content": None, "variables": {"state": "absent"}} | options))
    }


def conditions(fake: Any) -> dict[str, Any]:
    return {each["type"]: each for each in fake.get("demos", "a")["status"]["conditions"]}


# Runs


async def test_a_resource_that_is_gone_needs_nothing(make):
    _, build = make
    engine = FakeEngine()
    result = await build(engine).reconcile(A)
    assert (result.requeue_after, result.failure, engine.requests) == (None, None, [])


async def test_success_asks_for_the_next_pass_after_the_period_with_jitter(make):
    fake, build = make
    fake.put("demos", "a")
    result = await build().reconcile(A)
    assert result.failure is None
    assert result.requeue_after == pytest.approx(66)


@pytest.mark.parametrize(
    ("watch", "annotation", "expected"),
    [(120.0, None, 132), (120.0, "10s", 11), (None, "0s", None), (0.0, None, None)],
)
async def test_the_annotation_wins_over_the_watch_over_the_flag(make, watch, annotation, expected):
    fake, build = make
    name = "ansible.sdk.operatorframework.io/reconcile-period"
    fake.put("demos", "a", metadata={"annotations": {name: annotation} if annotation else {}})
    result = await build(reconcile_period=watch).reconcile(A)
    assert result.requeue_after == (None if expected is None else pytest.approx(expected))


async def test_a_period_nobody_can_read_is_a_failure_that_says_so(make):
    fake, build = make
    engine = FakeEngine()
    name = "ansible.sdk.operatorframework.io/reconcile-period"
    fake.put("demos", "a", metadata={"annotations": {name: "often"}})
    result = await build(engine).reconcile(A)
    assert result.failure.reason == "BadAnnotation"
    assert engine.requests == []
    assert "often" in fake.writes("POST", "/events")[0]["message"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(["5s"], 5), ([7], 7), (["2m", "90s"], 66), (["5s", 3.5], 3.5), ([0], 1), (["soon"], 66)],
)
async def test_the_soonest_requeue_after_of_a_task_wins(make, asked, expected):
    fake, build = make
    fake.put("demos", "a")
    engine = FakeEngine(dataclasses.replace(GOOD, requeue_after=asked))
    assert (await build(engine).reconcile(A)).requeue_after == pytest.approx(expected)


async def test_requeue_after_of_a_failed_run_is_ignored(make):
    fake, build = make
    fake.put("demos", "a")
    engine = FakeEngine(dataclasses.replace(BAD, requeue_after=["5s"]))
    result = await build(engine).reconcile(A)
    assert result.failure
    assert result.requeue_after is None


async def test_a_failure_becomes_an_event_with_the_message_of_the_task(make):
    fake, build = make
    obj = fake.put("demos", "a")
    result = await build(FakeEngine(BAD), manage_status=True).reconcile(A)
    assert result.failure.message == "Make it: no room"
    (event,) = fake.writes("POST", "/events")
    assert (event["type"], event["reason"], event["message"]) == (
        "Warning",
        "ReconcileFailed",
        "Make it: no room",
    )
    assert event["involvedObject"]["uid"] == obj["metadata"]["uid"]
    assert event["involvedObject"]["kind"] == "Demo"


async def test_a_role_that_tells_by_itself_gets_no_event_of_ours_for_a_failed_task(make):
    fake, build = make
    fake.put("demos", "a")
    assert (await build(FakeEngine(BAD), manage_status=False).reconcile(A)).failure
    assert fake.writes("POST", "/events") == []


async def test_a_run_without_a_recap_is_a_failure_with_its_reason(make):
    fake, build = make
    fake.put("demos", "a")
    engine = FakeEngine(RunOutcome(rc=4, stats=None, error="ERROR! conflicting action statements"))
    result = await build(engine).reconcile(A)
    assert result.failure.reason == "PlaybookParseError"
    assert fake.writes("POST", "/events")[0]["message"].startswith("PlaybookParseError: ERROR! conflicting")


async def test_a_run_beyond_its_time_limit_is_cancelled_and_fails(make):
    fake, build = make
    fake.put("demos", "a")
    engine = FakeEngine()
    engine.block = asyncio.Event()
    result = await build(engine, settings={"run_timeout": 0.05}).reconcile(A)
    assert result.failure.reason == "Timeout"
    assert engine.cancelled == 1


async def test_a_broken_engine_is_a_failure(make):
    fake, build = make
    fake.put("demos", "a")

    class Broken:
        async def run(self, *_: Any) -> RunOutcome:
            raise EngineError("killed")

    assert (await build(Broken()).reconcile(A)).failure.reason == "RunCrashed"


async def test_nothing_of_a_run_is_left_behind(make, tmp_path):
    fake, build = make
    fake.put("demos", "a")
    modes: list[int] = []

    class Looking(FakeEngine):
        async def run(self, request: Any, on_event: Any) -> RunOutcome:
            modes.extend(path.stat().st_mode & 0o777 for path in (request.directory, request.extra_vars))
            assert json.loads(request.playbook.read_text())[0]["gather_facts"] is False
            return await super().run(request, on_event)

    engine = Looking()
    await build(engine).reconcile(A)
    assert modes == [0o700, 0o600]
    assert not engine.requests[0].directory.exists()


async def test_artifacts_are_kept_by_count_if_asked_until_the_resource_is_gone(make, tmp_path):
    fake, build = make
    fake.put("demos", "a")

    class Writing(FakeEngine):
        async def run(self, request: Any, on_event: Any) -> RunOutcome:
            assert request.keep_output
            artifacts = request.directory / "artifacts" / request.ident
            artifacts.mkdir(parents=True)
            return await super().run(request, on_event)

    kept = tmp_path / "kept"
    reconciler = build(Writing(), settings={"artifacts": kept}, max_runner_artifacts=2)
    for _ in range(4):
        await reconciler.reconcile(A)
    directory = kept / "example.com" / "v1" / "Demo" / "ns" / "a"
    assert len(list(directory.iterdir())) == 2
    fake.delete("demos", "a")
    await reconciler.reconcile(A)
    assert not directory.exists()


async def test_a_selector_is_asked_again_at_the_pass(make):
    fake, build = make
    fake.put("demos", "a", metadata={"labels": {"x": "1"}})
    engine = FakeEngine()
    await build(engine, selector=parse_query("x=2")).reconcile(A)
    assert engine.requests == []


def test_the_environment_of_a_run(tmp_path):
    content = Role("demo", Path("/roles"))
    settings = make_settings(environ={"ANSIBLE_ROLES_PATH": "/more"})
    inside = run_environment(settings, content, tmp_path, None)
    assert inside["ANSIBLE_ROLES_PATH"] == "/roles:/more"
    assert inside["TMPDIR"] == str(tmp_path)
    assert "KUBECONFIG" not in inside, "in a pod modules use its account"
    outside = run_environment(make_settings(), Playbook(Path("/p.yml")), tmp_path, Path("/k"))
    assert (outside["KUBECONFIG"], outside["K8S_AUTH_KUBECONFIG"]) == ("/k", "/k")
    assert "ANSIBLE_ROLES_PATH" not in outside


# Finalizers


async def test_the_finalizer_is_added_and_the_run_follows_in_the_same_pass(make):
    fake, build = make
    fake.put("demos", "a", metadata={"finalizers": ["other/one"]})
    engine = FakeEngine()
    await build(engine, **with_finalizer()).reconcile(A)
    assert fake.get("demos", "a")["metadata"]["finalizers"] == ["other/one", FINALIZER]
    assert engine.names == ["a"]
    assert "state" not in engine.variables[0]


async def test_adding_the_finalizer_survives_a_conflicting_write(make):
    fake, build = make
    fake.put("demos", "a")

    async def interfere(request: Any) -> None:
        if request.method == "PATCH" and not fake.get("demos", "a")["metadata"].get("finalizers"):
            fake.put("demos", "a", metadata={"finalizers": ["other/one"]})

    fake.on_request = interfere
    await build(**with_finalizer()).reconcile(A)
    assert fake.get("demos", "a")["metadata"]["finalizers"] == ["other/one", FINALIZER]


async def test_a_deleted_resource_is_finalized_and_only_our_finalizer_dropped(make):
    fake, build = make
    fake.put("demos", "a", metadata={"finalizers": ["other/one", FINALIZER, "other/two"]})
    fake.delete("demos", "a")
    engine = FakeEngine()
    result = await build(engine, **with_finalizer(content=Playbook(Path("/final.yml")))).reconcile(A)
    assert engine.requests[0].playbook == Path("/final.yml")
    assert engine.variables[0]["state"] == "absent"
    assert fake.get("demos", "a")["metadata"]["finalizers"] == ["other/one", "other/two"]
    assert result.requeue_after is None


async def test_a_finalizer_with_vars_only_runs_the_main_content(make):
    fake, build = make
    fake.put("demos", "a", metadata={"finalizers": [FINALIZER]})
    fake.delete("demos", "a")
    engine = FakeEngine()
    await build(engine, content=Playbook(Path("/main.yml")), **with_finalizer()).reconcile(A)
    assert engine.requests[0].playbook == Path("/main.yml")
    assert ("demos", "ns", "a") not in fake.objects


async def test_a_failing_finalizer_keeps_the_resource_and_says_so(make):
    fake, build = make
    fake.put("demos", "a", metadata={"finalizers": [FINALIZER]})
    fake.delete("demos", "a")
    result = await build(FakeEngine(BAD), **with_finalizer()).reconcile(A)
    assert result.failure
    assert fake.get("demos", "a")["metadata"]["finalizers"] == [FINALIZER]
    assert fake.writes("POST", "/events")[0]["reason"] == "FinalizerFailed"


async def test_a_rescued_finalizer_succeeds(make):
    fake, build = make
    fake.put("demos", "a", metadata={"finalizers": [FINALIZER]})
    fake.delete("demos", "a")
    rescued = RunOutcome(rc=0, stats=Stats(rescued=1, hosts=1), failed=BAD.failed)
    await build(FakeEngine(rescued), **with_finalizer()).reconcile(A)
    assert ("demos", "ns", "a") not in fake.objects


@pytest.mark.parametrize("finalizers", [["other/one"], [FINALIZER]])
async def test_deleted_without_our_finalizer_runs_nothing(make, finalizers):
    fake, build = make
    fake.put("demos", "a", metadata={"finalizers": finalizers})
    fake.delete("demos", "a")
    engine = FakeEngine()
    options = with_finalizer() if finalizers == ["other/one"] else {}
    await build(engine, **options).reconcile(A)
    assert engine.requests == []


async def test_a_deletion_ends_a_normal_run(make):
    fake, build = make
    fake.put("demos", "a")
    engine = FakeEngine()
    engine.block = asyncio.Event()
    reconciler = build(engine, **with_finalizer())
    going = asyncio.create_task(reconciler.reconcile(A))
    await until(lambda: engine.running)
    reconciler.going_away(A)
    result = await going
    assert result.interrupted
    assert engine.cancelled == 1


async def test_a_deletion_does_not_end_the_finalizer(make):
    fake, build = make
    fake.put("demos", "a", metadata={"finalizers": [FINALIZER]})
    fake.delete("demos", "a")
    engine = FakeEngine()
    engine.block = asyncio.Event()
    reconciler = build(engine, **with_finalizer())
    going = asyncio.create_task(reconciler.reconcile(A))
    await until(lambda: engine.running)
    reconciler.going_away(A)
    engine.block.set()
    await going
    assert ("demos", "ns", "a") not in fake.objects


# Status


async def test_status_of_a_success(make):
    fake, build = make
    fake.put(
        "demos", "a", status={"custom": 1, "conditions": [{"type": "Mine", "status": "True", "extra": 2}]}
    )
    seen: list[Any] = []

    class Looking(FakeEngine):
        async def run(self, request: Any, on_event: Any) -> RunOutcome:
            seen.append(conditions(fake))
            return await super().run(request, on_event)

    await build(Looking(), manage_status=True).reconcile(A)
    assert seen[0]["Running"]["reason"] == "Running"
    now = conditions(fake)
    assert (now["Running"]["status"], now["Running"]["reason"]) == ("True", "Successful")
    assert now["Running"]["message"] == "Awaiting next reconciliation"
    assert now["Running"]["ansibleResult"]["ok"] == 2
    assert (now["Successful"]["status"], now["Successful"]["message"]) == (
        "True",
        "Last reconciliation succeeded",
    )
    assert (now["Failure"]["status"], now["Failure"]["reason"]) == ("False", "")
    assert now["Mine"] == {"type": "Mine", "status": "True", "extra": 2}
    assert fake.get("demos", "a")["status"]["custom"] == 1
    assert fake.get("demos", "a")["status"]["observedGeneration"] == now["Running"]["observedGeneration"] == 1


async def test_a_pass_that_changes_nothing_writes_no_status(make):
    fake, build = make
    fake.put("demos", "a")
    quiet = RunOutcome(rc=0, stats=Stats(ok=2, hosts=1))
    reconciler = build(FakeEngine(GOOD, quiet), manage_status=True)
    await reconciler.reconcile(A)
    writes = len(fake.writes("PATCH"))
    await reconciler.reconcile(A)
    assert len(fake.writes("PATCH")) == writes


async def test_a_pass_that_repairs_something_tells_what_it_did(make):
    fake, build = make
    fake.put("demos", "a")
    repair = RunOutcome(rc=0, stats=Stats(ok=7, changed=3, hosts=1))
    reconciler = build(FakeEngine(GOOD, repair), manage_status=True)
    await reconciler.reconcile(A)
    before = {each["type"]: each for each in fake.get("demos", "a")["status"]["conditions"]}
    await reconciler.reconcile(A)
    after = {each["type"]: each for each in fake.get("demos", "a")["status"]["conditions"]}
    assert after["Running"]["ansibleResult"]["changed"] == 3
    assert after["Successful"] == before["Successful"], "it does not flap"


@pytest.mark.parametrize(("text", "verbosity"), [("3", 3), ("-1", 0), ("250000", 7), ("debug", 1), ("", 1)])
async def test_the_verbosity_of_a_resource_stays_within_reason(make, text, verbosity):
    fake, build = make
    annotation = "ansible.sdk.operatorframework.io/verbosity"
    fake.put("demos", "a", metadata={"annotations": {annotation: text}})
    engine = FakeEngine()
    result = await build(engine, settings={"ansible_verbosity": 1}).reconcile(A)
    assert result.failure is None
    assert engine.requests[0].verbosity == verbosity


async def test_status_of_a_failure_never_stays_running(make):
    fake, build = make
    fake.put("demos", "a")
    reconciler = build(FakeEngine(GOOD, RunOutcome(rc=4, stats=None, error="ERROR! bad")), manage_status=True)
    await reconciler.reconcile(A)
    await reconciler.reconcile(A)
    now = conditions(fake)
    assert now["Running"]["status"] == "False"
    assert (now["Failure"]["status"], now["Failure"]["reason"]) == ("True", "PlaybookParseError")
    assert now["Failure"]["message"] == "ERROR! bad"
    assert now["Successful"]["status"] == "False"


async def test_a_new_generation_shows_as_running_again(make):
    fake, build = make
    fake.put("demos", "a", spec={"n": 1})
    reconciler = build(manage_status=True)
    await reconciler.reconcile(A)
    fake.put("demos", "a", spec={"n": 2})
    writes = len(fake.writes("PATCH"))
    await reconciler.reconcile(A)
    started = {each["type"]: each for each in fake.writes("PATCH")[writes]["status"]["conditions"]}
    assert started["Running"]["reason"] == "Running"
    assert started["Successful"]["status"] == "False"
    assert conditions(fake)["Successful"]["observedGeneration"] == 2


async def test_manage_status_false_never_touches_the_status(make):
    fake, build = make
    fake.put("demos", "a")
    await build(FakeEngine(BAD)).reconcile(A)
    assert "status" not in fake.get("demos", "a")
    assert fake.writes("PATCH") == []


async def test_a_status_write_is_repeated_on_what_somebody_else_wrote(make):
    fake, build = make
    fake.put("demos", "a", status={"conditions": []})
    fake.faults += [Fault("PATCH", 409, "/status")]
    interferences = 3

    async def interfere(request: Any) -> None:
        nonlocal interferences
        if request.method == "PATCH" and interferences:
            interferences -= 1
            status = fake.get("demos", "a")["status"]
            mine = {"type": f"Theirs{interferences}", "status": "True"}
            fake.put("demos", "a", status={"conditions": [*status["conditions"], mine]})

    fake.on_request = interfere
    result = await build(manage_status=True).reconcile(A)
    assert result.failure is None
    assert {"Running", "Successful", "Theirs0", "Theirs1", "Theirs2"} <= set(conditions(fake))


async def test_a_status_records_the_generation_the_run_saw(make):
    fake, build = make
    fake.put("demos", "a", spec={"n": 1})

    class Changing(FakeEngine):
        async def run(self, request: Any, on_event: Any) -> RunOutcome:
            fake.put("demos", "a", spec={"n": 2})
            return await super().run(request, on_event)

    await build(Changing(), manage_status=True).reconcile(A)
    assert conditions(fake)["Successful"]["observedGeneration"] == 1


# Events


async def test_a_repeated_event_is_counted_instead_of_repeated(make):
    fake, build = make
    fake.put("demos", "a")
    reconciler = build(FakeEngine(BAD), manage_status=True)
    for _ in range(5):
        await reconciler.reconcile(A)
    assert len(fake.writes("POST", "/events")) == 1
    assert [body["count"] for body in fake.writes("PATCH", "/events")] == [2, 3, 4, 5]


async def test_many_different_events_of_one_reason_are_combined(make):
    fake, build = make
    fake.put("demos", "a")
    outcomes = [RunOutcome(rc=4, stats=None, error=f"error {number}") for number in range(15)]
    reconciler = build(FakeEngine(*outcomes))
    for _ in outcomes:
        await reconciler.reconcile(A)
    created = [body["message"] for body in fake.writes("POST", "/events")]
    assert len(created) == 11
    assert created[-1].startswith("(combined from similar events)")


async def test_an_event_that_the_server_forgot_is_made_anew(make):
    fake, build = make
    fake.put("demos", "a")
    reconciler = build(FakeEngine(BAD), manage_status=True)
    await reconciler.reconcile(A)
    fake.objects = {name: obj for name, obj in fake.objects.items() if name[0] != "events"}
    await reconciler.reconcile(A)
    assert len(fake.writes("POST", "/events")) == 2


async def test_an_event_that_cannot_be_written_harms_nobody(make):
    fake, build = make
    fake.put("demos", "a")
    fake.faults += [Fault("POST", 403, "/events")]
    assert (await build(FakeEngine(BAD), manage_status=True).reconcile(A)).failure.reason == "Failed"
