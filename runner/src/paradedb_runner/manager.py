"""The controller as a whole: watches fill the queue, the leader empties it, and everything ends in order."""

import asyncio
import logging
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp

from paradedb_runner.api import Api, ApiError
from paradedb_runner.credentials import Credentials
from paradedb_runner.dependents import Dependent, DependentDigest, triggered
from paradedb_runner.engine import Engine, Failure
from paradedb_runner.engine_ansible_runner import AnsibleRunnerEngine
from paradedb_runner.events import EventRecorder
from paradedb_runner.health import health_app
from paradedb_runner.http_server import serving
from paradedb_runner.informer import Informer
from paradedb_runner.inputdir import private_base
from paradedb_runner.lease import LeaderElector
from paradedb_runner.logs import fields
from paradedb_runner.metrics import Metrics
from paradedb_runner.metrics_server import Certificate, Reviewer, metrics_app
from paradedb_runner.objects import GroupVersionKind, Key, Object, is_deleting
from paradedb_runner.predicates import wants_pass
from paradedb_runner.reconcile import Reconciler, Result
from paradedb_runner.settings import Settings
from paradedb_runner.watches import Watch
from paradedb_runner.workqueue import Lane, WorkQueue

log = logging.getLogger(__name__)


class Controller:
    """Watches, queue and passes of one process. Passes start only once ``dispatch`` runs."""

    def __init__(
        self, api: Api, engine: Engine, watches: list[Watch], settings: Settings, metrics: Metrics, base: Path
    ) -> None:
        self._settings, self._metrics = settings, metrics
        self._watches = {watch.gvk: watch for watch in watches}
        self.queue = WorkQueue()
        self.reconciler = Reconciler(
            api, engine, self._watches, settings, EventRecorder(api, socket.gethostname()), base
        )
        self._slots = asyncio.Semaphore(settings.run_slots)
        self._active: Counter[GroupVersionKind] = Counter()
        self._passes: set[asyncio.Task[None]] = set()
        self.informers = self._make_informers(api)
        metrics.watch_queue(self.queue)
        for gvk in self._watches:
            metrics.watching(gvk, settings.kind_limit(gvk))

    def _make_informers(self, api: Api) -> list[Informer[Any]]:
        """One for every kind and namespace. A kind that several watches depend on is watched once."""
        namespaces = self._settings.namespaces or ("",)
        digest = DependentDigest(list(self._watches))
        dependents = {kind.gvk: None for watch in self._watches.values() for kind in watch.dependents}
        return [
            *(
                Informer[Object](api, gvk, namespace, _whole, self._primary_handler(watch))
                for gvk, watch in self._watches.items()
                for namespace in namespaces
            ),
            *(
                Informer[Dependent](api, gvk, namespace, digest, self._dependent_changed, optional=True)
                for gvk in dependents
                for namespace in namespaces
            ),
        ]

    def _primary_handler(self, watch: Watch) -> "_PrimaryHandler":
        return _PrimaryHandler(watch, self.queue, self.reconciler, self._metrics)

    def _dependent_changed(
        self, name: tuple[str, str], old: Dependent | None, new: Dependent | None, *, first: bool
    ) -> None:
        for key in triggered(old, new):
            self.queue.add(key)

    async def follow(self) -> None:
        """Keep all watches going."""
        async with asyncio.TaskGroup() as group:
            for informer in self.informers:
                group.create_task(informer.run())

    async def synced(self) -> None:
        """Wait until every watch holds the current state."""
        for informer in self.informers:
            await informer.synced.wait()

    async def dispatch(self) -> None:
        """Start a pass whenever a resource waits, its kind may have one more and a run slot is free."""
        while True:
            await self._slots.acquire()
            try:
                key, waited = await self.queue.get(self._at_limit)
            except BaseException:
                self._slots.release()
                raise
            self._active[key.gvk] += 1
            task = asyncio.create_task(self._work(key, waited), name=str(key))
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

    def _at_limit(self, gvk: GroupVersionKind) -> bool:
        return self._active[gvk] >= self._settings.kind_limit(gvk)

    async def _work(self, key: Key, waited: float) -> None:
        loop = asyncio.get_running_loop()
        started, result = loop.time(), Result(interrupted=True)
        self._metrics.started(key.gvk, waited)
        try:
            result = await self._try(key)
        finally:
            self._metrics.ended(key.gvk, loop.time() - started, result=_label(result))
            self._active[key.gvk] -= 1
            self._slots.release()
            self.queue.done(key)
        self._schedule(key, result)

    async def _try(self, key: Key) -> Result:
        try:
            return await self.reconciler.reconcile(key)
        except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("the pass failed: %s", error or type(error).__name__, extra=fields(key))
            return Result(failure=Failure("ApiError", str(error)))
        except Exception as error:
            log.exception("the pass broke", extra=fields(key))
            return Result(failure=Failure("InternalError", str(error)))

    def _schedule(self, key: Key, result: Result) -> None:
        if result.failure:
            delay = self.queue.retry(key)
            log.info("will retry", extra=fields(key, delay=round(delay, 1)))
            return
        self.queue.forget(key)
        if result.requeue_after is not None:
            self.queue.add_after(key, result.requeue_after)


class _PrimaryHandler:
    """Turns changes of one watched kind into work."""

    def __init__(self, watch: Watch, queue: WorkQueue, reconciler: Reconciler, metrics: Metrics) -> None:
        self._watch, self._queue, self._reconciler, self._metrics = watch, queue, reconciler, metrics

    def __call__(self, name: tuple[str, str], old: Object | None, new: Object | None, *, first: bool) -> None:
        key = Key(self._watch.gvk, *name)
        if old is None or new is None:
            self._metrics.exists(key, new)
        if new is None or is_deleting(new):
            self._reconciler.going_away(key)
        if wants_pass(self._watch, old, new):
            self._queue.add(key, Lane.PERIODIC if first else Lane.EVENT)


async def serve(settings: Settings, watches: list[Watch]) -> int:
    """Run until SIGTERM or until something essential is lost; the exit code."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        base = stack.enter_context(private_base())
        api = await stack.enter_async_context(Api(Credentials(settings.kubeconfig), metrics.request))
        controller = Controller(api, AnsibleRunnerEngine(), watches, settings, metrics, base)
        elector = _elector(api, settings)
        metrics.watch_leader(settings.leader_election_id, lambda: elector is None or elector.is_leader)
        await stack.enter_async_context(serving(health_app(controller.informers), settings.health_address))
        await _serve_metrics(stack, api, settings, metrics, base)
        essential = [await stack.enter_async_context(_background(controller.follow()))]
        stopped = await stack.enter_async_context(_background(stop.wait()))
        if not await _first(_prepare(controller, elector), stopped, *essential):
            return await _finish(controller, elector, settings, stopped, essential)
        if elector:
            essential.append(await stack.enter_async_context(_background(elector.hold())))
        log.info("starting passes", extra=fields(slots=settings.run_slots))
        async with _background(controller.dispatch()) as dispatching:
            await asyncio.wait({stopped, dispatching, *essential}, return_when=asyncio.FIRST_COMPLETED)
        return await _finish(controller, elector, settings, stopped, essential)


async def _prepare(controller: Controller, elector: LeaderElector | None) -> None:
    """Sync first, so that a new leader starts at once."""
    await controller.synced()
    log.info("all watches are in sync")
    if elector:
        await elector.acquire()


async def _finish(
    controller: Controller,
    elector: LeaderElector | None,
    settings: Settings,
    stopped: asyncio.Task[Any],
    essential: list[asyncio.Task[Any]],
) -> int:
    """End in order: passes, then the lease. Losing something essential ends passes at once."""
    asked = stopped.done()
    drain = asyncio.ensure_future(controller.drain(settings.graceful_shutdown_timeout if asked else 0))
    await asyncio.wait({drain, *essential}, return_when=asyncio.FIRST_COMPLETED)
    if not drain.done():
        await controller.drain(0)
    await drain
    if elector:
        await elector.release()
    for task in essential:
        if task.done() and (error := task.exception()):
            log.error("this should not have ended", exc_info=error)
    log.log(logging.INFO if asked else logging.ERROR, "stopped %s", "as asked" if asked else "after a loss")
    return 0 if asked else 1


def _elector(api: Api, settings: Settings) -> LeaderElector | None:
    if not settings.leader_elect:
        return None
    identity = f"{socket.gethostname()}_{uuid4()}"
    return LeaderElector(api, settings.leader_election_namespace, settings.leader_election_id, identity)


async def _serve_metrics(
    stack: AsyncExitStack, api: Api, settings: Settings, metrics: Metrics, base: Path
) -> None:
    allow = Reviewer(api).status if settings.metrics_require_rbac else None
    context = None
    if settings.metrics_secure and settings.metrics_address != "0":
        certificate = Certificate(settings.metrics_certificate, base)
        context = certificate.context
        await stack.enter_async_context(_background(certificate.keep_fresh()))
    app = metrics_app(metrics.render, allow)
    await stack.enter_async_context(serving(app, settings.metrics_address, context))


@asynccontextmanager
async def _background[T](work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """A task that lives as long as the block; what it dies of is logged."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(ended, Exception):
            log.error("%s failed", getattr(work, "__qualname__", "a task"), exc_info=ended)


async def _first(work: Coroutine[Any, Any, None], *others: asyncio.Task[Any]) -> bool:
    """Whether ``work`` ended well before any of the other tasks ended."""
    async with _background(work) as task:
        await asyncio.wait({task, *others}, return_when=asyncio.FIRST_COMPLETED)
        return task.done() and not task.exception() and not any(other.done() for other in others)


def _label(result: Result) -> str:
    if result.interrupted:
        return "interrupted"
    if result.failure:
        return "error"
    return "requeue_after" if result.requeue_after is not None else "success"


def _whole(obj: Object) -> Object:
    return obj
