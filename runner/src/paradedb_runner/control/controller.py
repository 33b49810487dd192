"""The heart: what watches tell becomes work, and work becomes passes, refreshes, or nothing."""

import asyncio
import logging
import math
import socket
from collections import Counter
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from paradedb_runner.control.dependents import Effect
from paradedb_runner.control.memory import PassMemory
from paradedb_runner.control.predicates import wants_pass
from paradedb_runner.control.reconcile import Reconciler, Result
from paradedb_runner.control.runs import Access, Runs
from paradedb_runner.control.storm import StormBreaker
from paradedb_runner.control.unchanged import Gate, Turn, Verdict
from paradedb_runner.control.watched import Watched
from paradedb_runner.control.workqueue import Lane, WorkQueue
from paradedb_runner.engine.interface import Engine, Failure
from paradedb_runner.kube.api import Api, ApiError
from paradedb_runner.kube.events import EventRecorder
from paradedb_runner.kube.objects import GroupVersionKind, Key, Object, is_deleting, metadata
from paradedb_runner.logs import fields
from paradedb_runner.observe.metrics import Metrics
from paradedb_runner.settings import Settings
from paradedb_runner.watches.model import Watch

log = logging.getLogger(__name__)

_INPUTS = ("uid", "generation", "annotations", "labels", "deletionTimestamp", "finalizers")


class Controller:
    """Watches, queue and passes of one process. Passes start only once ``dispatch`` runs."""

    def __init__(
        self,
        api: Api,
        engine: Engine,
        watches: list[Watch],
        settings: Settings,
        metrics: Metrics,
        base: Path,
        access: Access | None = None,
    ) -> None:
        """``base`` is a private directory for runs, ``access`` how they reach the API."""
        self._settings, self._metrics = settings, metrics
        self._watches = {watch.gvk: watch for watch in watches}
        self.queue = WorkQueue()
        self.runs = Runs(engine, settings, base, access)
        self._events = EventRecorder(api, socket.gethostname())
        self.reconciler = Reconciler(api, self.runs, self._watches, settings, self._events)
        self.watched = Watched(api, self._watches, settings, self)
        prefix = f"{settings.leader_election_id}-passes"
        self.memory = PassMemory(
            api, settings.leader_election_namespace, prefix, settings.resync_period, self._refresh_period
        )
        self._gate = Gate(self.memory, self.watched.look)
        self._storm = StormBreaker(self._storm_began)
        self._slots = asyncio.Semaphore(settings.run_slots)
        self._active: Counter[GroupVersionKind] = Counter()
        self._passes: set[asyncio.Task[None]] = set()
        self._notes: set[asyncio.Task[None]] = set()
        metrics.watch_queue(self.queue)
        metrics.slots(settings.run_slots)
        for gvk in self._watches:
            metrics.watching(gvk, settings.kind_limit(gvk))
            metrics.watch_fields(self._watches[gvk].metrics, partial(self.watched.measured, gvk))

    async def follow(self) -> None:
        """Keep all watches going."""
        await self.watched.follow()

    async def synced(self) -> None:
        """Wait until every watch holds the current state and every fingerprint can be taken."""
        await asyncio.gather(self.watched.digest_contents(), self.watched.synced())

    def depend_on(self, owner: GroupVersionKind, dependent: GroupVersionKind) -> None:
        """A run over an ``owner`` created or read a ``dependent``: such objects matter from now on."""
        self.watched.related.depend_on(owner, dependent)

    async def recall(self) -> None:
        """Load what is known about resources at rest; after ``synced`` and before ``dispatch``."""
        gated = [gvk for gvk, watch in self._watches.items() if watch.skip_unchanged]
        if gated:
            await self.memory.load({uid: key for gvk in gated for uid, key in self.watched.keys(gvk).items()})

    async def dispatch(self) -> None:
        """Give every waiting resource its turn when its kind may have one more and a run slot is free."""
        while True:
            await self._slots.acquire()
            try:
                key, waited = await self.queue.get(self._at_limit)
            except BaseException:
                self._slots.release()
                raise
            turn = self._turn(key)
            if turn is Turn.SKIP:
                self._slots.release()
                self._skip(key)
                await asyncio.sleep(0)  # thousands of them in a row must not keep the watches waiting
                continue
            self._active[key.gvk] += 1
            task = asyncio.create_task(self._work(key, turn, waited), name=str(key))
            self._passes.add(task)
            task.add_done_callback(self._passes.discard)

    async def drain(self, grace: float) -> None:
        """Let running passes end within ``grace`` seconds, then end their processes."""
        passes = list(self._passes)
        if passes:
            log.info("waiting for %d passes to end", len(passes))
            _, late = await asyncio.wait(passes, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*passes, return_exceptions=True)
        for note in self._notes:
            note.cancel()
        await asyncio.gather(*self._notes, return_exceptions=True)

    # What watches tell

    def resource_changed(
        self, watch: Watch, key: Key, old: Object | None, new: Object | None, *, first: bool
    ) -> None:
        """See Listener."""
        if old is None or new is None:
            self._metrics.exists(key, new)
        if watch.skip_unchanged and (old is None or new is None or _inputs(old) != _inputs(new)):
            self._gate.touch(
                key, by_itself=old is None or new is None or _generation(old) != _generation(new)
            )
        if new is None:
            self._storm.forget(key)
        if new is None or is_deleting(new):
            self.reconciler.going_away(key)
        if wants_pass(watch, old, new):
            self.queue.add(key, Lane.PERIODIC if first else Lane.EVENT)

    def related_changed(self, key: Key, cause: Key, effect: Effect, *, first: bool) -> None:
        """
        See Listener. That a dependent appeared is no news by itself, since a run made it and knows; only what
        is remembered of the resource no longer holds.
        """
        gated = self._watches[key.gvk].skip_unchanged
        if gated and effect is not Effect.VERSION:
            self._gate.touch(key)
        appeared = effect is Effect.APPEARED
        if first or (appeared and not gated) or self.watched.find(key) is None:
            return
        delay = self._storm.triggered(key, cause)
        if delay:
            self.queue.add_after(key, delay)
        elif delay is not None:
            self.queue.add(key, Lane.PERIODIC if appeared else Lane.EVENT)

    def kinds_changed(self, gvk: GroupVersionKind) -> None:
        """See Listener. What a pass did with such objects, or without, the next one may do otherwise."""
        for key in self.watched.keys(gvk).values():
            if self._watches[gvk].skip_unchanged:
                self._gate.touch(key)
            self.queue.add(key, Lane.PERIODIC)

    def missed(self, gvk: GroupVersionKind, since: float) -> None:
        """See Listener. Where every period has its pass, the next one sees to it."""
        if self._watches[gvk].skip_unchanged:
            for key in self.watched.keys(gvk).values():
                if self._gate.doubt(key, since):
                    self.queue.add(key, Lane.PERIODIC)

    def surroundings_changed(self, gvk: GroupVersionKind) -> None:
        """See Listener. Where everybody gets a turn, what happened to one in particular goes first."""
        for key in self.watched.keys(gvk).values():
            self.queue.add(key, Lane.PERIODIC)

    def _storm_began(self, key: Key, cause: Key) -> None:
        self._metrics.storm(key.gvk)
        self._warn(
            key,
            "DependentStorm",
            f"{cause.gvk.kind} {cause.name} changes without end; passes that dependents ask for are held "
            "back until they are quiet for a minute",
        )

    # What becomes of a key

    def _at_limit(self, gvk: GroupVersionKind) -> bool:
        return self._active[gvk] >= self._settings.kind_limit(gvk)

    def _turn(self, key: Key) -> Turn:
        """Decided before anything else may happen, or an event could come in between."""
        watch = self._watches[key.gvk]
        turn = Turn.RUN
        if watch.skip_unchanged:
            turn = self._gate.begin(key, refreshable=watch.refresh is not None)
        if turn is not Turn.SKIP:
            self._storm.begin(key, counts=turn is Turn.RUN)
        return turn

    def _skip(self, key: Key) -> None:
        self._metrics.skipped(key.gvk)
        self._metrics.turn(key, failed=False)
        self.queue.done(key)
        obj = self.watched.find(key)
        self._later(key, self.reconciler.next_period(key, obj) if obj else None)

    async def _work(self, key: Key, turn: Turn, waited: float) -> None:
        loop = asyncio.get_running_loop()
        started, result = loop.time(), Result(interrupted=True)
        self._metrics.started(key.gvk, waited)
        try:
            result = await self._try(key, turn)
        finally:
            if turn is Turn.REFRESH:
                self._metrics.refreshed(key.gvk, result=_label(result))
            else:
                self._metrics.ended(key.gvk, loop.time() - started, result=_label(result))
            if not result.interrupted and self.watched.find(key):
                self._metrics.turn(key, failed=result.failure is not None)
            self._active[key.gvk] -= 1
            self._slots.release()
            verdict = self._judge(key, turn, result)
            waiting = self._storm.ended(key, failed=result.failure is not None)
            self.queue.done(key)
        if result.failure:
            delay = self.queue.retry(key)
            log.info("will retry", extra=fields(key, delay=round(delay, 1)))
            return
        self.queue.forget(key)
        if waiting:
            self.queue.add(key)
        elif verdict is Verdict.CONFIRM and not self._storm.holds(key):
            self.queue.add(key, Lane.PERIODIC)
        else:
            self._later(key, result.requeue_after)

    async def _try(self, key: Key, turn: Turn) -> Result:
        try:
            if turn is Turn.REFRESH and (obj := self.watched.find(key)):
                return await self.reconciler.refresh(key, obj)
            return await self.reconciler.reconcile(key)
        except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("the pass failed: %s", error or type(error).__name__, extra=fields(key))
            return Result(failure=Failure("ApiError", str(error)))
        except Exception as error:
            log.exception("the pass broke", extra=fields(key))
            return Result(failure=Failure("InternalError", str(error)))

    def _judge(self, key: Key, turn: Turn, result: Result) -> Verdict:
        """Tell the gate how it went, and hear what follows."""
        if not self._watches[key.gvk].skip_unchanged:
            return Verdict.NOTHING
        changed = None if result.asked else result.changed
        if turn is Turn.REFRESH:
            self._gate.refreshed(key, good=changed is not None)
            return Verdict.NOTHING
        verdict = self._gate.ended(key, changed)
        if verdict is Verdict.RESTLESS:
            text = (
                "passes never come to rest: each changes something, so the role or playbook is not idempotent"
            )
            self._warn(key, "NeverAtRest", text)
        return verdict

    def _later(self, key: Key, period: float | None) -> None:
        """
        Come back after the period, and for passes that may be left out at the latest for a refresh or the
        resync.
        """
        delay = math.inf if period is None else period
        if self._watches[key.gvk].skip_unchanged and self.watched.find(key):
            delay = min(delay, self._settings.resync_period or math.inf, self._gate.rest(key))
        if delay < math.inf:
            self.queue.add_after(key, delay)

    def _refresh_period(self, gvk: GroupVersionKind) -> float:
        refresh = self._watches[gvk].refresh
        return refresh.period if refresh else 0.0

    def _warn(self, key: Key, reason: str, message: str) -> None:
        log.warning("%s: %s", reason, message, extra=fields(key))
        if obj := self.watched.find(key):
            self._note(self._events.warn(key, obj, reason, message))

    def _note(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something on the side that nobody waits for."""
        task = asyncio.create_task(work)
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)


def _label(result: Result) -> str:
    if result.interrupted:
        return "interrupted"
    if result.failure:
        return "error"
    return "requeue_after" if result.requeue_after is not None else "success"


def _generation(obj: Object) -> Any:
    return metadata(obj).get("generation")


def _inputs(obj: Object) -> list[Any]:
    """What of a resource is part of its fingerprint."""
    meta = metadata(obj)
    return [meta.get(name) for name in _INPUTS] + ([] if "generation" in meta else [meta["resourceVersion"]])
