"""An engine that runs nothing, but can be told how a run goes and remembers what it was asked."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from paradedb_runner.engine.interface import (
    ModuleOutcome,
    ModuleRequest,
    RunOutcome,
    RunRequest,
    Stats,
    TaskEvent,
)

GOOD = RunOutcome(rc=0, stats=Stats(ok=2, changed=1, hosts=1))
FAILED_TASK = TaskEvent("failed", "Make it", message="Make it: no room")
BAD = RunOutcome(rc=2, stats=Stats(failures=1, hosts=1), failed=[FAILED_TASK])


class FakeEngine:
    """
    Hands out ``outcomes`` in turn, ``module_outcomes`` for modules (the last one for ever); ``block`` makes
    runs and modules wait until it is set.
    """

    def __init__(self, *outcomes: RunOutcome) -> None:
        self.outcomes = list(outcomes or [GOOD])
        self.module_outcomes = [ModuleOutcome()]
        self.modules: list[ModuleRequest] = []
        self.closed = False
        self.requests: list[RunRequest] = []
        self.variables: list[dict[str, Any]] = []
        self.block: asyncio.Event | None = None
        self.running = 0
        self.most = 0
        self.names: list[str] = []
        self.overlaps: list[str] = []
        self.cancelled = 0
        self._current: set[str] = set()

    async def warm_up(self) -> None:
        pass

    async def run(self, request: RunRequest, on_event: Callable[[TaskEvent], None]) -> RunOutcome:
        self.requests.append(request)
        variables = json.loads(request.extra_vars.read_text())
        self.variables.append(variables)
        name = variables["ansible_operator_meta"]["name"]
        self.names.append(name)
        if name in self._current:
            self.overlaps.append(name)
        self._current.add(name)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0)
            if self.block:
                await self.block.wait()
            on_event(TaskEvent("ok", "Look", changed=True))
            return self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
            self._current.discard(name)

    async def run_module(self, request: ModuleRequest) -> ModuleOutcome:
        self.modules.append(request)
        await asyncio.sleep(0)
        if self.block:
            await self.block.wait()
        return self.module_outcomes.pop(0) if len(self.module_outcomes) > 1 else self.module_outcomes[0]

    async def close(self) -> None:
        self.closed = True
