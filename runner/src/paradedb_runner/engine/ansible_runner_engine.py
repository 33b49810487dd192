"""The reference engine: ansible-runner, in one child process for each run."""

import asyncio
import contextlib
import json
import logging
import os
import shlex
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable

from paradedb_runner.engine import proctree
from paradedb_runner.engine.interface import (
    EngineError,
    ModuleOutcome,
    ModuleRequest,
    RunOutcome,
    RunRequest,
    TaskEvent,
    judge,
    shorten_front,
)
from paradedb_runner.engine.report import read_report
from paradedb_runner.tasks import outlast

log = logging.getLogger(__name__)

_LONGEST_LINE = 1 << 20
_ERROR_BYTES = 4096
_GRACE = 6.0  # seconds a child gets for ending its own tree, more than it gives its processes


class AnsibleRunnerEngine:
    """Starts children, reads their events, and makes sure that nothing of a run outlives it."""

    def __init__(self) -> None:
        proctree.adopt_orphans()
        self._children: set[int] = set()

    async def warm_up(self) -> None:
        """Nothing is shared between runs."""

    async def run(self, request: RunRequest, on_event: Callable[[TaskEvent], None]) -> RunOutcome:
        """See Engine.run."""
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "paradedb_runner.engine.ansible_runner_child",
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            limit=_LONGEST_LINE,
            start_new_session=True,  # a Ctrl-C at our terminal is ours to handle
            env=_environment(request),
        )
        self._children.add(child.pid)
        try:
            return await _converse(child, request, on_event)
        finally:
            await outlast(asyncio.ensure_future(self._end(child, request.ident)))

    async def run_module(self, request: ModuleRequest) -> ModuleOutcome:
        """See Engine.run_module; here it is a play of one task."""
        events: list[TaskEvent] = []
        failure = judge(await self.run(_one_task(request), events.append))
        asked = [event.requeue_after for event in events if event.requeue_after is not None]
        return ModuleOutcome(
            changed=any(event.changed for event in events),
            error=failure.message if failure else "",
            requeue_after=asked[-1] if asked else None,
        )

    async def close(self) -> None:
        """Nothing is kept between runs."""

    async def _end(self, child: Process, ident: str) -> None:
        """After the child nothing is left of the run, whether it ended well, was cancelled or was killed."""
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        try:
            await asyncio.wait_for(child.wait(), _GRACE)
        except TimeoutError:
            log.warning("run %s does not end, killing it", ident)
            tree = [*proctree.descendants(child.pid), child.pid]
            await asyncio.to_thread(proctree.end_all, lambda: proctree.alive(tree), 0)
        await asyncio.to_thread(proctree.end_all, lambda: proctree.orphans(ident), 0)
        await child.wait()
        self._children.discard(child.pid)
        proctree.reap(self._children)


async def _converse(child: Process, request: RunRequest, on_event: Callable[[TaskEvent], None]) -> RunOutcome:
    assert child.stdin
    assert child.stdout
    assert child.stderr
    errors = asyncio.create_task(_tail(child.stderr))
    try:
        child.stdin.write(_order(request))
        child.stdin.close()
        outcome = await read_report(child.stdout, on_event)
        if outcome is None:
            await asyncio.wait({errors}, timeout=1)  # its end, unless an orphan holds the other side
            said = errors.result() if errors.done() else ""
            raise EngineError(shorten_front(said) or "the process of the run was killed")
        return outcome
    finally:
        errors.cancel()


def _one_task(request: ModuleRequest) -> RunRequest:
    """A playbook of nothing but the module, written beside the run's other files."""
    playbook, variables = request.directory / "module.yml", request.directory / "module-variables.json"
    task = {"name": request.module, request.module: dict(request.arguments)}
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}
    playbook.write_text(json.dumps([play]))
    variables.write_text("{}")
    return RunRequest(
        ident=request.ident,
        directory=request.directory,
        playbook=playbook,
        inventory=request.directory / "inventory",
        extra_vars=variables,
        environment=request.environment,
    )


def _environment(request: RunRequest) -> dict[str, str]:
    ours = {**os.environ, **request.environment, proctree.MARK: request.ident}
    return proctree.with_our_programs_first(ours)


def _order(request: RunRequest) -> bytes:
    return json.dumps(
        {
            "parent": os.getpid(),
            "ident": request.ident,
            "directory": str(request.directory),
            "playbook": str(request.playbook),
            "inventory": str(request.inventory),
            "arguments": shlex.join(request.arguments),
            "verbosity": request.verbosity,
            "keep_output": request.keep_output,
        }
    ).encode()


async def _tail(stream: asyncio.StreamReader) -> str:
    """The end of what a child said on standard error; reading all of it keeps the child from blocking."""
    text = b""
    while chunk := await stream.read(65536):
        text = (text + chunk)[-_ERROR_BYTES:]
    return text.decode(errors="replace").strip()
