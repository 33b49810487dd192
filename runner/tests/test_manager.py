"""The process as a whole: what it ends, and what its probes complain about."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from fakeapi import until
from fakeengine import FakeEngine
from paradedb_runner import manager
from paradedb_runner.control import runs
from paradedb_runner.control.runs import Runs, Subject
from paradedb_runner.engine.interface import RunOutcome, Stats
from paradedb_runner.watches.model import Role, Watch
from support import DEMO, key, make_settings

REST = RunOutcome(rc=0, stats=Stats(ok=1, hosts=1))


def demo(**options: Any) -> Watch:
    return Watch(DEMO, Role("demo", Path("/roles")), manage_status=False, **options)


class Credentials:
    """Stands in for a kubeconfig."""

    server_name = None
    ssl_context = True

    def __init__(self, host: str) -> None:
        self.host = host

    async def headers(self) -> dict[str, str]:
        return {}

    async def reload(self) -> None: ...


@pytest.mark.parametrize("elect", [False, True])
async def test_it_works_until_sigterm_and_then_ends_in_order(served, monkeypatch, elect):
    fake, api = served
    engine = FakeEngine()
    monkeypatch.setattr(manager, "Credentials", lambda _: Credentials(api.credentials.host))
    monkeypatch.setattr(manager, "make_engine", lambda *_: engine)
    fake.put("demos", "a")
    settings = make_settings(leader_elect=elect, environ={"ANSIBLE_COLLECTIONS_PATH": "/none"})
    serving = asyncio.create_task(manager.serve(settings, [demo(skip_unchanged=True)]))
    await until(lambda: engine.names)
    assert not engine.closed
    os.kill(os.getpid(), signal.SIGTERM)
    assert await serving == 0
    assert engine.closed
    if elect:
        assert fake.get("leases", "test")["spec"]["holderIdentity"] == ""


async def test_what_passes_found_is_written_before_the_lease_is_let_go(served, monkeypatch):
    fake, api = served
    monkeypatch.setattr(manager, "Credentials", lambda _: Credentials(api.credentials.host))
    engine = FakeEngine(REST)
    monkeypatch.setattr(manager, "make_engine", lambda *_: engine)
    fake.put("demos", "a")
    settings = make_settings(leader_elect=True, environ={"ANSIBLE_COLLECTIONS_PATH": "/none"})
    serving = asyncio.create_task(manager.serve(settings, [demo(skip_unchanged=True)]))
    await until(lambda: engine.names and not engine.running)
    await asyncio.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)
    await serving
    order = [r.path.rsplit("/", 1)[1] for r in fake.requests if r.method in {"POST", "PUT"}]
    assert order[-2:] == ["configmaps", "test"]


async def test_a_run_that_cannot_be_ended_is_complained_about(tmp_path, monkeypatch):
    class Stuck(FakeEngine):
        async def run(self, request: Any, on_event: Any) -> Any:
            while True:
                try:
                    await asyncio.sleep(0.05)
                except asyncio.CancelledError:
                    if done.is_set():
                        raise

    done = asyncio.Event()
    monkeypatch.setattr(runs, "_ENDING", 0.05)
    running = Runs(Stuck(), make_settings(run_timeout=0.05), tmp_path)
    watch = demo()
    task = asyncio.create_task(running.content(Subject(key("a"), watch, {}), watch.content, {}, 0, 0))
    await asyncio.sleep(0.05)
    assert running.hanging() == []
    await until(running.hanging)
    done.set()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert running.hanging() == []
