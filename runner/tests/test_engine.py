"""The ansible-runner engine with real Ansible, and what it takes a run for."""

import asyncio
import json
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakeapi import until
from paradedb_runner import proctree, runner_events
from paradedb_runner.engine import (
    EngineError,
    RunOutcome,
    RunRequest,
    Stats,
    TaskEvent,
    judge,
    shorten,
    task_failure,
)
from paradedb_runner.engine_ansible_runner import AnsibleRunnerEngine
from paradedb_runner.inputdir import input_directory, private_base
from paradedb_runner.reconcile import run_environment
from paradedb_runner.watches import Playbook, Role
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


@pytest.fixture
def run(short: Path) -> Run:
    """Run a playbook text with variables; returns the outcome, the events and the run directory's parent."""
    engine = AnsibleRunnerEngine()

    async def go(text: str, ident: str = "run1", **variables: Any) -> tuple[RunOutcome, list[TaskEvent]]:
        playbook = short / "play.yml"
        playbook.write_text(text)
        return await start(engine, short, Playbook(playbook), ident, variables)

    return go


async def start(
    engine: AnsibleRunnerEngine, base: Path, content: Any, ident: str, variables: dict[str, Any]
) -> tuple[RunOutcome, list[TaskEvent]]:
    events: list[TaskEvent] = []
    with input_directory(base, ident, content, variables, None) as directory:
        request = RunRequest(
            ident,
            directory.root,
            directory.playbook,
            directory.inventory,
            directory.extra_vars,
            run_environment(make_settings(), content, directory.temporary),
        )
        return await engine.run(request, events.append), events


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


async def test_a_role_is_found_where_it_was_looked_for(short):
    tasks = short / "roles" / "demo" / "tasks"
    tasks.mkdir(parents=True)
    (tasks / "main.yml").write_text("- name: Inside\n  ansible.builtin.debug:\n")
    engine = AnsibleRunnerEngine()
    outcome, events = await start(engine, short, Role("demo", short / "roles"), "run1", {})
    assert judge(outcome) is None
    assert (events[0].task, events[0].role) == ("Inside", "demo")


def processes_of(ident: str) -> list[str]:
    mark = f"{proctree.MARK}={ident}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (path / "environ").read_bytes().split(b"\0"):
                found.append((path / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def engine_process() -> int:
    for pid in proctree.descendants(os.getpid()):
        if b"paradedb_runner.engine_child" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    raise AssertionError("no engine process")


SLEEPER = play("- ansible.builtin.command: sleep 300")


async def test_a_cancelled_run_leaves_no_process(run, short):
    going = asyncio.create_task(run(SLEEPER, "cancelled"))
    await until(lambda: any(line.startswith("sleep 300") for line in processes_of("cancelled")), 30)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert processes_of("cancelled") == []
    assert not (short / "cancelled").exists()


async def test_a_module_that_ignores_sigterm_is_killed(run):
    stubborn = "python3 -c 'import signal,time; signal.signal(15, signal.SIG_IGN); time.sleep(301)'"
    going = asyncio.create_task(run(play(f'- ansible.builtin.command: "{stubborn}"'), "stubborn"))
    await until(
        lambda: any("time.sleep(301)" in line and "-c" in line for line in processes_of("stubborn")), 30
    )
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert processes_of("stubborn") == []


async def test_an_engine_process_that_is_killed_is_a_failure_and_leaves_nothing(run):
    going = asyncio.create_task(run(SLEEPER, "killed"))
    await until(lambda: any(line.startswith("sleep 300") for line in processes_of("killed")), 30)
    os.kill(engine_process(), signal.SIGKILL)
    with pytest.raises(EngineError, match="killed"):
        await going
    assert processes_of("killed") == []


async def test_a_background_task_does_not_outlive_its_run(run):
    outcome, _ = await run(play("- ansible.builtin.command: sleep 302\n  async: 300\n  poll: 0"), "async")
    assert judge(outcome) is None
    assert processes_of("async") == []


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


def test_events_carry_no_arguments_and_no_results():
    data = {"task": "t", "task_args": "password=hunter2", "res": {"stdout": "hunter2", "changed": True}}
    event = runner_events.task_event({"event": "runner_on_ok", "event_data": data, "stdout": "hunter2"})
    assert "hunter2" not in json.dumps(vars(event))


def test_error_lines_start_at_the_error():
    lines = ["", "PLAY [all]", "\x1b[0;31m[ERROR]: no such thing\x1b[0m", "Origin: x"]
    assert runner_events.error_lines(lines) == "[ERROR]: no such thing\nOrigin: x"
    assert runner_events.error_lines(["just", "words"]) == "just\nwords"
