"""Both engines with real Ansible, and what a run is taken for."""

import asyncio
import contextlib
import json
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakeapi import until
from paradedb_runner.control.inputdir import InputDirectory, input_directory, private_base
from paradedb_runner.control.runs import run_environment
from paradedb_runner.engine import proctree, runner_events
from paradedb_runner.engine.ansible_runner_engine import AnsibleRunnerEngine
from paradedb_runner.engine.fork_engine import ForkEngine
from paradedb_runner.engine.interface import (
    Engine,
    EngineError,
    ModuleOutcome,
    ModuleRequest,
    RunOutcome,
    RunRequest,
    Stats,
    TaskEvent,
    judge,
    shorten,
    task_failure,
)
from paradedb_runner.watches.model import Playbook, Role
from support import make_settings

Run = Callable[..., Any]


def play(tasks: str) -> str:
    indented = "\n".join("    " + line for line in tasks.strip().splitlines())
    return f"- hosts: localhost\n  gather_facts: false\n  tasks:\n{indented}\n"


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory with a short path: Ansible makes sockets below it."""
    with tempfile.TemporaryDirectory(prefix="rt-") as name:
        yield Path(name)


@pytest.fixture(params=["fork", "ansible-runner"])
async def engine(request: pytest.FixtureRequest, short: Path) -> AsyncIterator[Engine]:
    """Every test of this file holds for both engines, unless it says which it is about."""
    made: Engine = ForkEngine([], short) if request.param == "fork" else AnsibleRunnerEngine()
    yield made
    await made.close()
    assert proctree.descendants(os.getpid()) == []


@pytest.fixture
def run(engine: Engine, short: Path) -> Run:
    """Run a playbook text with variables; returns the outcome and the events."""

    async def go(text: str, ident: str = "run1", **variables: Any) -> tuple[RunOutcome, list[TaskEvent]]:
        playbook = short / f"{ident}.yml"
        playbook.write_text(text)
        return await start(engine, short, Playbook(playbook), ident, variables)

    return go


async def start(
    engine: Engine,
    base: Path,
    content: Any,
    ident: str,
    variables: dict[str, Any],
    inventory: Path | None = None,
    **more: Any,
) -> tuple[RunOutcome, list[TaskEvent]]:
    events: list[TaskEvent] = []
    with input_directory(base, ident, content, variables, inventory) as directory:
        request = request_for(directory, content, ident, **more)
        return await engine.run(request, events.append), events


def request_for(directory: InputDirectory, content: Any, ident: str, **more: Any) -> RunRequest:
    return RunRequest(
        ident,
        directory.root,
        directory.playbook,
        directory.inventory,
        directory.extra_vars,
        run_environment(make_settings(), content, directory.temporary, None),
        **more,
    )


async def test_events_recap_and_requeue_after_arrive(run):
    outcome, events = await run(
        play("""
- name: Say {{ word }}
  ansible.builtin.debug: {msg: "{{ word }}"}
- name: Never
  ansible.builtin.debug:
  when: false
- name: Later
  ansible.builtin.command: echo
- block:
    - name: Break
      ansible.builtin.fail: {msg: broken}
  rescue:
    - name: Mend
      ansible.builtin.debug:
"""),
        word="hello",
    )
    assert judge(outcome) is None, "rescued is success"
    assert [(event.outcome, event.task) for event in events] == [
        ("ok", "Say hello"),
        ("skipped", "Never"),
        ("ok", "Later"),
        ("failed", "Break"),
        ("ok", "Mend"),
    ]
    assert events[2].changed
    assert events[2].duration > 0
    assert events[3].message == "Break: broken"
    assert outcome.stats == Stats(ok=3, changed=1, skipped=1, rescued=1, hosts=1)


async def test_what_was_printed_after_a_slow_end_is_not_lost(run):
    long = "x" * 20000
    tasks = "\n".join(f"- ansible.builtin.debug: {{msg: {number}{long}}}" for number in range(10))
    outcome, events = await run(play(tasks))
    assert len(events) == 10
    assert outcome.stats == Stats(ok=10, hosts=1)


async def test_a_parse_error_is_a_failure_with_its_text(run):
    outcome, _ = await run(play("- ansible.builtin.debug: {msg: x}\n  wait: 1"))
    failure = judge(outcome)
    assert failure.reason == "PlaybookParseError"
    assert "conflicting action statements" in failure.message


async def test_hosts_that_match_nothing_are_a_failure(run):
    outcome, _ = await run("- hosts: nowhere\n  tasks: []\n")
    assert judge(outcome).reason == "NoHosts"


async def test_a_failed_task_hidden_by_no_log_tells_nothing(run):
    outcome, events = await run(
        play("- name: Secret\n  ansible.builtin.fail: {msg: hunter2}\n  no_log: true")
    )
    assert judge(outcome).reason == "Failed"
    assert "hunter2" not in repr((outcome, events))


async def test_strings_marked_unsafe_are_not_templated(run):
    outcome, _ = await run(
        play("- ansible.builtin.assert:\n    that: [evil | length == 11, fine | int == 2]"),
        evil={"__ansible_unsafe": "{{ 1 + 1 }}"},
        fine="{{ 1 + 1 }}",
    )
    assert judge(outcome) is None


async def test_a_role_is_found_where_it_was_looked_for(engine, short):
    tasks = short / "roles" / "demo" / "tasks"
    tasks.mkdir(parents=True)
    (tasks / "main.yml").write_text("- name: Inside\n  ansible.builtin.debug:\n")
    outcome, events = await start(engine, short, Role("demo", short / "roles"), "run1", {})
    assert judge(outcome) is None
    assert (events[0].task, events[0].role) == ("Inside", "demo")


def started(*words: str) -> list[int]:
    """Our descendants whose command line begins with these words."""
    found = []
    for pid in proctree.descendants(os.getpid()):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_text().split("\0")[: len(words)] == list(words):
                found.append(pid)
    return found


def ignores_sigterm(pid: int) -> bool:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/status").read_text().split()
        return bool(int(words[words.index("SigIgn:") + 1], 16) & 1 << (signal.SIGTERM - 1))
    return False


def lineage(pid: int) -> list[int]:
    """The process and its ancestors below us."""
    found = []
    while pid != os.getpid():
        found.append(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found


async def sleeping(seconds: int) -> int:
    """Wait for the only process that sleeps so long."""
    await until(lambda: started("sleep", str(seconds)), 30)
    (pid,) = started("sleep", str(seconds))
    return pid


SLEEPER = play("- ansible.builtin.command: sleep 300")


async def test_a_cancelled_run_leaves_no_process(run, short):
    going = asyncio.create_task(run(SLEEPER, "cancelled"))
    await sleeping(300)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert started("sleep") == []
    assert not (short / "cancelled").exists()


async def test_a_run_cancelled_at_any_moment_leaves_no_process(run):
    for moment in (0.0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.8):
        going = asyncio.create_task(run(SLEEPER, "early"))
        await asyncio.sleep(moment)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        assert started("sleep") == []


STUBBORN = ("python3", "-c", "import signal,time; signal.signal(15, signal.SIG_IGN); time.sleep(301)")


async def stubborn() -> int:
    """Wait for a process that ignores SIGTERM, as ``stubborn_play`` starts it."""
    await until(lambda: any(map(ignores_sigterm, started(*STUBBORN))), 30)
    (pid,) = started(*STUBBORN)
    return pid


def stubborn_play() -> str:
    return play(f"- ansible.builtin.command: {{argv: {json.dumps(STUBBORN)}}}")


async def test_a_module_that_ignores_sigterm_is_killed(run):
    going = asyncio.create_task(run(stubborn_play()))
    await stubborn()
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert started(*STUBBORN) == []


async def test_a_run_process_that_is_killed_is_a_failure_and_leaves_nothing(run, engine):
    going = asyncio.create_task(run(SLEEPER, "killed"))
    above = lineage(await sleeping(300))
    os.kill(above[-2] if isinstance(engine, ForkEngine) else above[-1], signal.SIGKILL)
    with pytest.raises(EngineError, match="killed"):
        await going
    assert started("sleep") == []


async def test_a_background_task_does_not_outlive_its_run(run):
    outcome, _ = await run(play("- ansible.builtin.command: sleep 302\n  async: 300\n  poll: 0"), "async")
    assert judge(outcome) is None
    assert started("sleep") == []


async def test_runs_at_the_same_time_keep_their_variables_apart(run):
    text = play("""
- ansible.builtin.command: sleep 0.3
- name: Number {{ number }}
  ansible.builtin.debug: {msg: "{{ number }}"}
""")
    ended = await asyncio.gather(*(run(text, f"run{number}", number=number) for number in range(4)))
    assert [events[-1].task for _, events in ended] == [f"Number {number}" for number in range(4)]
    assert all(judge(outcome) is None for outcome, _ in ended)


async def test_extra_arguments_reach_ansible(engine, short):
    playbook = short / "play.yml"
    playbook.write_text(
        play("- ansible.builtin.debug:\n  tags: [one]\n- ansible.builtin.fail:\n  tags: [two]")
    )
    outcome, _ = await start(engine, short, Playbook(playbook), "run1", {}, arguments=("--tags", "one"))
    assert outcome.stats == Stats(ok=1, hosts=1)


async def test_a_wrong_argument_is_a_failure_with_its_text(engine, short):
    playbook = short / "play.yml"
    playbook.write_text(play("- ansible.builtin.debug:"))
    outcome, _ = await start(engine, short, Playbook(playbook), "run1", {}, arguments=("--no-such",))
    assert judge(outcome).reason == "RunCrashed"
    assert "--no-such" in judge(outcome).message


async def test_several_hosts_are_counted_together(engine, short):
    inventory = short / "hosts"
    inventory.write_text("one ansible_connection=local\ntwo ansible_connection=local\n")
    playbook = short / "play.yml"
    playbook.write_text("- hosts: all\n  gather_facts: false\n  tasks:\n  - ansible.builtin.debug:\n")
    outcome, events = await start(engine, short, Playbook(playbook), "run1", {}, inventory=inventory)
    assert outcome.stats == Stats(ok=2, hosts=2)
    assert {event.host for event in events} == {"one", "two"}


async def test_variables_beside_an_inventory_count(engine, short):
    inventory = short / "inventory"
    (inventory / "group_vars").mkdir(parents=True)
    (inventory / "hosts").write_text("[shelf]\none ansible_connection=local\n")
    (inventory / "group_vars" / "shelf.yml").write_text("word: beside\n")
    playbook = short / "play.yml"
    playbook.write_text("- hosts: all\n  gather_facts: false\n  tasks:\n  - name: '{{ word }}'\n    debug:\n")
    _, events = await start(engine, short, Playbook(playbook), "run1", {}, inventory=inventory)
    assert [event.task for event in events] == ["beside"]


async def test_a_handler_runs_with_fresh_values_every_time(run, short):
    text = play("""
- ansible.builtin.command: echo 1
  notify: tell
- ansible.builtin.set_fact: {word: first}
- ansible.builtin.meta: flush_handlers
- ansible.builtin.command: echo 2
  notify: tell
- ansible.builtin.set_fact: {word: second}
""")
    handler = f"ansible.builtin.shell: 'echo {{{{ word }}}} >> {short}/told'"
    outcome, _ = await run(text + f"  handlers:\n  - name: tell\n    {handler}\n")
    assert judge(outcome) is None
    assert (short / "told").read_text().split() == ["first", "second"]


async def test_artifacts_are_written_where_asked_for(engine, short):
    playbook = short / "play.yml"
    playbook.write_text(play("- ansible.builtin.debug: {msg: hello}"))
    base = short / "base"
    base.mkdir()
    with input_directory(base, "run1", Playbook(playbook), {}, None) as directory:
        request = request_for(directory, Playbook(playbook), "run1", keep_output=True)
        await engine.run(request, lambda event: None)
        kept = directory.root / "artifacts" / "run1"
        assert "hello" in (kept / "stdout").read_text()
        assert (kept / "rc").read_text() == "0"
        assert (kept / "status").read_text() == "successful"


# A module without a playbook


@pytest.fixture
def run_module(engine: Engine, short: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Write a collection's module with this body, and run it."""
    plugins = short / "collections" / "ansible_collections" / "test" / "fixture" / "plugins" / "modules"
    plugins.mkdir(parents=True)
    others = os.environ.get("ANSIBLE_COLLECTIONS_PATH", "")
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", f"{short / 'collections'}:{others}")

    async def go(body: str, **arguments: Any) -> ModuleOutcome:
        code = "from ansible.module_utils.basic import AnsibleModule\ndef main():\n"
        code += "    module = AnsibleModule({'word': {'type': 'str'}})\n"
        (plugins / "look.py").write_text(code + f"    {body}\nif __name__ == '__main__':\n    main()\n")
        content = Playbook(short / "none.yml")
        with input_directory(short, "module1", content, {}, None) as directory:
            environment = run_environment(make_settings(), content, directory.temporary, None)
            request = ModuleRequest("module1", directory.root, "test.fixture.look", arguments, environment)
            return await engine.run_module(request)

    return go


async def test_a_module_tells_its_result(run_module):
    assert await run_module("module.exit_json(changed=True)") == ModuleOutcome(changed=True)


async def test_a_module_asks_for_a_pass(run_module):
    assert await run_module("module.exit_json(requeue_after='5s')") == ModuleOutcome(requeue_after="5s")


async def test_a_module_gets_its_arguments_and_fails_with_its_message(run_module):
    outcome = await run_module("module.fail_json(msg='no ' + module.params['word'])", word="luck")
    assert outcome.error == "test.fixture.look: no luck"


async def test_a_module_refuses_wrong_arguments(run_module):
    outcome = await run_module("module.exit_json()", wrong=1)
    assert "wrong" in outcome.error


async def test_a_module_that_breaks_is_a_failure(run_module):
    outcome = await run_module("raise ValueError('broken')")
    assert "broken" in outcome.error


@pytest.fixture
def ours(engine: Engine, short: Path) -> Run:
    """Run a module of this project's collection, which has no function main and needs no API."""

    async def go(**arguments: Any) -> ModuleOutcome:
        content = Playbook(short / "none.yml")
        with input_directory(short, "module1", content, {}, None) as directory:
            environment = run_environment(make_settings(), content, directory.temporary, None)
            name = "paradedb.db.requeue_after"
            return await engine.run_module(
                ModuleRequest("module1", directory.root, name, arguments, environment)
            )

    return go


async def test_a_module_that_is_only_a_program_runs(ours):
    assert await ours(time="5s") == ModuleOutcome(requeue_after=5)


async def test_its_wrong_arguments_are_told(ours):
    assert "later" in (await ours(time="later")).error


async def test_a_task_that_needs_no_worker_reports_as_one_that_has_one(run):
    """The tasks of this collection run in the process of the run: nobody can tell from what is reported."""
    outcome, events = await run(
        play("""
- name: Fine
  paradedb.db.requeue_after: {time: 7s}
  register: asked
- name: Seen by the next
  ansible.builtin.assert: {that: [asked.requeue_after == 7, asked is not failed]}
- name: Twice
  paradedb.db.requeue_after: {time: "{{ item }}s"}
  loop: [8, 9]
- name: Left out
  paradedb.db.requeue_after: {time: 1s}
  when: false
- name: Wrong, but minded by nobody
  paradedb.db.requeue_after: {time: never}
  ignore_errors: true
- name: Hidden
  paradedb.db.requeue_after: {time: hunter2}
  no_log: true
  failed_when: false
- name: Tried again
  paradedb.db.requeue_after: {time: 3s}
  register: again
  until: again.requeue_after == 3
  retries: 2
  delay: 0
- block:
    - name: Broken
      paradedb.db.requeue_after: {time: broken}
  rescue:
    - name: Mended
      ansible.builtin.assert: {that: ["'broken' in ansible_failed_result.msg"]}
- name: Elsewhere
  paradedb.db.requeue_after: {time: 4s}
  environment: {WORD: x}
""")
    )
    assert [(event.outcome, event.task, event.ignored) for event in events] == [
        ("ok", "Fine", False),
        ("ok", "Seen by the next", False),
        ("ok", "Twice", False),
        ("skipped", "Left out", False),
        ("failed", "Wrong, but minded by nobody", True),
        ("ok", "Hidden", False),
        ("ok", "Tried again", False),
        ("failed", "Broken", False),
        ("ok", "Mended", False),
        ("ok", "Elsewhere", False),
    ]
    assert outcome.stats == Stats(ok=8, skipped=1, rescued=1, ignored=1, hosts=1)
    assert outcome.requeue_after == [7, 3, 4]
    assert "hunter2" not in repr((outcome, events))
    assert judge(outcome) is None


# The fork server


@pytest.fixture
async def forks(short: Path) -> AsyncIterator[ForkEngine]:
    engine = ForkEngine([], short)
    yield engine
    await engine.close()
    assert proctree.descendants(os.getpid()) == []


async def one_run(engine: Engine, short: Path, ident: str = "run1", text: str = "") -> RunOutcome:
    playbook = short / f"{ident}.yml"
    playbook.write_text(text or play("- ansible.builtin.debug:"))
    outcome, _ = await start(engine, short, Playbook(playbook), ident, {})
    return outcome


async def test_a_worn_server_is_replaced_and_ends(forks, short, monkeypatch):
    monkeypatch.setattr("paradedb_runner.engine.fork_engine._FORKS_PER_SERVER", 2)
    monkeypatch.setattr("paradedb_runner.engine.fork_engine._AHEAD", 0)
    await one_run(forks, short)
    (first,) = proctree.children(os.getpid())
    for number in range(200):
        assert judge(await one_run(forks, short, f"run{number}")) is None
        if first not in proctree.children(os.getpid()):
            return
    raise AssertionError("the first server is still there")


async def test_a_successor_that_cannot_start_leaves_the_old_server_at_work(forks, short, monkeypatch):
    monkeypatch.setattr("paradedb_runner.engine.fork_engine._FORKS_PER_SERVER", 1)
    monkeypatch.setattr("paradedb_runner.engine.fork_engine._AHEAD", 0)
    await one_run(forks, short)
    (first,) = proctree.children(os.getpid())
    monkeypatch.setattr("sys.executable", "/bin/false")
    for number in range(5):
        assert judge(await one_run(forks, short, f"run{number}")) is None
    assert first in proctree.children(os.getpid())


async def test_a_server_that_was_killed_is_replaced(forks, short):
    await one_run(forks, short)
    (server,) = proctree.children(os.getpid())
    os.kill(server, signal.SIGKILL)
    await until(lambda: proctree.children(os.getpid()) == [], 30)
    assert judge(await one_run(forks, short)) is None


async def test_a_server_killed_during_a_run_takes_the_run_with_it(forks, short):
    going = asyncio.create_task(one_run(forks, short, text=SLEEPER))
    above = lineage(await sleeping(300))
    os.kill(above[-1], signal.SIGKILL)
    with pytest.raises(EngineError):
        await going
    assert started("sleep") == []


@pytest.mark.parametrize("first", [True, False], ids=["the older run", "the younger run"])
async def test_to_end_a_run_that_ignores_sigterm_waits_for_no_other_and_harms_none(forks, short, first):
    """A younger run inherits what the fork server holds of an older one, and must not keep it."""
    plays = {"stubborn": stubborn_play, "other": lambda: play("- ansible.builtin.command: sleep 303")}
    seen = {"stubborn": stubborn, "other": lambda: sleeping(303)}
    going = {}
    for name in sorted(plays, reverse=first):
        going[name] = asyncio.create_task(one_run(forks, short, name, plays[name]()))
        await seen[name]()
    going["stubborn"].cancel()
    with pytest.raises(asyncio.CancelledError):
        await going["stubborn"]
    assert started(*STUBBORN) == []
    (sleeper,) = started("sleep", "303")
    os.kill(sleeper, signal.SIGKILL)
    assert judge(await going["other"]).reason == "Failed", (
        "it went on to its end, and its task was what failed"
    )


async def test_a_run_process_that_is_killed_leaves_nothing_and_harms_no_other(forks, short):
    other = asyncio.create_task(one_run(forks, short, "other", SLEEPER))
    spared = await sleeping(300)
    going = asyncio.create_task(one_run(forks, short, text=stubborn_play()))
    above = lineage(await stubborn())
    os.kill(above[-2], signal.SIGKILL)
    with pytest.raises(EngineError):
        await going
    assert started(*STUBBORN) == []
    assert started("sleep", "300") == [spared]
    other.cancel()
    await asyncio.wait({other})


async def test_a_server_that_is_asked_to_end_ends_runs_that_ignore_it(forks, short):
    runs = [
        asyncio.create_task(one_run(forks, short, "sleeper", SLEEPER)),
        asyncio.create_task(one_run(forks, short, "stubborn", stubborn_play())),
    ]
    await sleeping(300)
    above = lineage(await stubborn())
    os.kill(above[-1], signal.SIGTERM)
    for ended in await asyncio.gather(*runs, return_exceptions=True):
        assert isinstance(ended, EngineError)
    assert started("sleep") == started(*STUBBORN) == []


async def test_to_end_a_run_at_its_very_start_harms_no_other(forks, short):
    """A run has the server's handlers until it sets its own: a signal in between must not reach those."""
    await one_run(forks, short)
    other = asyncio.create_task(one_run(forks, short, "other", SLEEPER))
    await sleeping(300)
    for number in range(15):
        going = asyncio.create_task(one_run(forks, short, f"brief{number}"))
        await until(lambda: any(each.runs > 1 for each in forks._servers))
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
    assert not other.done()
    other.cancel()
    await asyncio.wait({other})


async def test_a_server_that_cannot_be_started_is_tried_again(forks, short, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr("sys.executable", "/nowhere/python")
        with pytest.raises(EngineError, match="cannot be started"):
            await one_run(forks, short)
    assert judge(await one_run(forks, short)) is None


async def test_server_and_run_killed_together_leave_nothing(forks, short):
    going = asyncio.create_task(one_run(forks, short, text=SLEEPER))
    above = lineage(await sleeping(300))
    for pid in (above[-1], above[-2]):
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(EngineError):
        await going
    assert started("sleep") == []
    await until(lambda: ended_children() == [], 30)


def ended_children() -> list[int]:
    """Our children that have ended and that nobody has collected."""
    stats = [path.read_text() for path in Path("/proc").glob("[0-9]*/stat") if path.exists()]
    fields = [(stat.split()[0], *stat.rpartition(")")[2].split()[:2]) for stat in stats]
    return [int(pid) for pid, state, parent in fields if state == "Z" and int(parent) == os.getpid()]


async def test_many_runs_leave_no_process_descriptor_or_file(forks, short):
    await one_run(forks, short)
    (server,) = proctree.children(os.getpid())

    def held() -> tuple[int, int, list[Path]]:
        descriptors = [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in (server, os.getpid())]
        return (*descriptors, sorted(short.iterdir()))

    before = held()
    for _ in range(30):
        await one_run(forks, short)
    assert held() == before
    assert proctree.descendants(server) == []


async def test_replaced_code_of_a_collection_is_used(short, monkeypatch):
    """The server imports plugins once; when their files change it must not go on with what it holds."""
    monkeypatch.setattr("paradedb_runner.engine.fork_engine._LOOK_AT_CODE", 0)
    plugins = short / "collections" / "ansible_collections" / "test" / "fixture" / "plugins" / "action"
    plugins.mkdir(parents=True)
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", str(short / "collections"))
    playbook = short / "play.yml"
    playbook.write_text(play("- test.fixture.say:"))
    code = "from ansible.plugins.action import ActionBase\nclass ActionModule(ActionBase):\n"
    code += "    def run(self, tmp=None, task_vars=None):\n        return {'requeue_after': 'WORD'}\n"
    engine = ForkEngine([playbook], short)
    try:
        for word in ("1s", "22s"):
            (plugins / "say.py").write_text(code.replace("WORD", word))
            outcome, _ = await start(engine, short, Playbook(playbook), word, {})
            assert outcome.requeue_after == [word]
        await until(lambda: len(proctree.children(os.getpid())) == 1, 30)  # the outdated server has ended
    finally:
        await engine.close()


def test_directories_of_killed_processes_are_removed_and_others_are_not(short, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(short))
    dead = short / "paradedb-runner-dead"
    dead.mkdir()
    (dead / "lock").touch()
    with private_base() as alive, private_base() as other:
        assert not dead.exists()
        assert alive.exists()
        assert alive.stat().st_mode & 0o777 == 0o700
        assert other != alive
    assert list(short.iterdir()) == []


# What a run is taken for


def outcome(rc: int = 0, failed: tuple[str, ...] = (), error: str = "", **stats: int) -> RunOutcome:
    tasks = [TaskEvent("failed", "t", message=message) for message in failed]
    return RunOutcome(rc, Stats(**({"hosts": 1} | stats)), error, tasks)


@pytest.mark.parametrize(
    ("ended", "reason"),
    [
        (outcome(ok=1), None),
        (outcome(rescued=1, failed=("x",)), None),
        (outcome(ignored=1, failed=("x",)), None),
        (outcome(rc=2, failures=1, failed=("x", "y")), "Failed"),
        (outcome(rc=4, dark=1), "Unreachable"),
        (outcome(hosts=0), "NoHosts"),
        (outcome(rc=250, ok=1), "RunCrashed"),
        (RunOutcome(4, None, "parse"), "PlaybookParseError"),
        (RunOutcome(250, None), "RunCrashed"),
    ],
)
def test_the_verdict_comes_from_recap_and_exit_code(ended, reason):
    failure = judge(ended)
    assert (failure and failure.reason) == reason


def test_of_several_failures_the_last_one_counts():
    assert (
        judge(outcome(rc=2, failures=1, failed=("rescued before", "the real one"))).message == "the real one"
    )


def test_messages_are_cut_to_a_kibibyte_at_a_character():
    text = shorten("ä" * 2000)
    assert len(text.encode()) <= 1024
    assert text.endswith("...")


def test_messages_of_a_loop_are_those_of_its_failed_items():
    items = [
        {"failed": True, "msg": "first"},
        {"failed": False, "msg": "fine"},
        {"failed": True, "msg": "hunter2", "_ansible_no_log": True},
    ]
    message = task_failure({"msg": "One or more items failed", "results": items}, "Loop")
    assert message == "Loop: first; output hidden by no_log"


@pytest.mark.parametrize("result", [{"censored": "hidden"}, {"_ansible_no_log": True, "msg": "hunter2"}])
def test_messages_respect_no_log(result):
    assert task_failure(result, "T") == "T: output hidden by no_log"


@pytest.mark.parametrize(("value", "kept"), [(5, 5), ("5s", "5s"), (True, None), ({}, None)])
def test_requeue_after_is_taken_from_results_of_good_tasks(value, kept):
    event = {"event": "runner_on_ok", "event_data": {"task": "t", "res": {"requeue_after": value}}}
    assert runner_events.task_event(event).requeue_after == kept
    assert runner_events.task_event(event | {"event": "runner_on_failed"}).requeue_after is None


def test_the_requeue_module_of_operator_sdk_is_understood():
    data = {"task": "t", "resolved_action": "operator_sdk.util.requeue_after", "res": {"period": "10s"}}
    assert runner_events.task_event({"event": "runner_on_ok", "event_data": data}).requeue_after == "10s"
    data["resolved_action"] = "ansible.builtin.debug"
    assert runner_events.task_event({"event": "runner_on_ok", "event_data": data}).requeue_after is None


def test_events_carry_no_arguments_and_no_results():
    data = {"task": "t", "task_args": "password=hunter2", "res": {"stdout": "hunter2", "changed": True}}
    event = runner_events.task_event({"event": "runner_on_ok", "event_data": data, "stdout": "hunter2"})
    assert "hunter2" not in json.dumps(vars(event))


def test_error_lines_start_at_the_error():
    lines = ["", "PLAY [all]", "\x1b[0;31m[ERROR]: no such thing\x1b[0m", "Origin: x"]
    assert runner_events.error_lines(lines) == "[ERROR]: no such thing\nOrigin: x"
    assert runner_events.error_lines(["just", "words"]) == "just\nwords"
