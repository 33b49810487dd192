"""The process as a whole: watches fill the queue, the leader empties it, and everything ends in order."""

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from paradedb_runner.control.access import make_access
from paradedb_runner.control.controller import Controller
from paradedb_runner.control.inputdir import private_base
from paradedb_runner.engine.choice import make_engine
from paradedb_runner.engine.interface import Engine
from paradedb_runner.kube.api import Api
from paradedb_runner.kube.credentials import Credentials
from paradedb_runner.kube.lease import LeaderElector, LeaseTimes
from paradedb_runner.logs import fields
from paradedb_runner.observe.health import health_app
from paradedb_runner.observe.http_server import serving
from paradedb_runner.observe.metrics import Metrics
from paradedb_runner.observe.metrics_server import Certificate, Reviewer, metrics_app
from paradedb_runner.observe.user_metrics import serving_user_metrics
from paradedb_runner.settings import Settings
from paradedb_runner.watches.model import Watch

log = logging.getLogger(__name__)

_WRITING = 5.0  # seconds that what passes found may take to be written at the end


async def serve(settings: Settings, watches: list[Watch]) -> int:
    """Run until SIGTERM or until something essential is lost; the exit code."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        base = stack.enter_context(private_base())
        api = await stack.enter_async_context(Api(Credentials(settings.kubeconfig), metrics.request))
        engine = make_engine(settings, watches, base)
        stack.push_async_callback(engine.close)
        controller: Controller
        access = await make_access(
            stack, api, settings, watches, base, lambda owner, kind: controller.depend_on(owner, kind)
        )
        controller = Controller(api, engine, watches, settings, metrics, base, access)
        elector = _elector(api, settings)
        metrics.watch_leader(settings.leader_election_id, lambda: elector is None or elector.is_leader)
        probes = health_app(controller.watched.informers, lambda: _complaints(controller, elector))
        await stack.enter_async_context(serving(probes, settings.health_address))
        await _serve_metrics(stack, api, settings, metrics, base)
        essential = [await stack.enter_async_context(_background(controller.follow()))]
        stopped = await stack.enter_async_context(_background(stop.wait()))
        if not await _first(_prepare(controller, engine, elector), stopped, *essential):
            return await _finish(controller, elector, settings, stopped, essential)
        if elector:
            essential.append(await stack.enter_async_context(_background(elector.hold())))
        if not await _first(controller.recall(), stopped, *essential):
            return await _finish(controller, elector, settings, stopped, essential)
        log.info("starting passes", extra=fields(slots=settings.run_slots))
        async with (
            _background(controller.memory.keep_written()),
            _background(controller.dispatch()) as dispatching,
        ):
            await asyncio.wait({stopped, dispatching, *essential}, return_when=asyncio.FIRST_COMPLETED)
        return await _finish(controller, elector, settings, stopped, essential)


async def _prepare(controller: Controller, engine: Engine, elector: LeaderElector | None) -> None:
    """Sync and import first, so that a new leader starts at once."""
    await asyncio.gather(controller.synced(), engine.warm_up())
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
    """
    End in order: passes, what they found, then the lease. Losing something essential ends passes at once.
    """
    asked = stopped.done()
    drain = asyncio.ensure_future(controller.drain(settings.graceful_shutdown_timeout if asked else 0))
    await asyncio.wait({drain, *essential}, return_when=asyncio.FIRST_COMPLETED)
    if not drain.done():
        await controller.drain(0)
    await drain
    if asked:
        await _write_down(controller)
    if elector:
        await elector.release()
    for task in essential:
        if task.done() and (error := task.exception()):
            log.error("this should not have ended", exc_info=error)
    log.log(logging.INFO if asked else logging.ERROR, "stopped %s", "as asked" if asked else "after a loss")
    return 0 if asked else 1


async def _write_down(controller: Controller) -> None:
    """Twice at most: the first attempt may only find out that a write of before had arrived."""
    try:
        async with asyncio.timeout(_WRITING):
            await controller.memory.flush() or await controller.memory.flush()
    except TimeoutError:
        log.warning("what passes found was not written in time, the next start will repeat some")


def _complaints(controller: Controller, elector: LeaderElector | None) -> Iterator[str]:
    """What makes a restart the better choice."""
    if hanging := controller.runs.hanging():
        yield f"runs that cannot be ended: {', '.join(hanging)}"
    if elector and elector.overdue():
        yield f"the lease {elector.name} was not renewed in time"


def _elector(api: Api, settings: Settings) -> LeaderElector | None:
    if not settings.leader_elect:
        return None
    identity = f"{socket.gethostname()}_{uuid4()}"
    times = LeaseTimes(settings.lease_duration, settings.lease_renew_deadline, settings.lease_retry_period)
    return LeaderElector(
        api, settings.leader_election_namespace, settings.leader_election_id, identity, times
    )


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
    await stack.enter_async_context(serving_user_metrics(metrics.registry, settings.user_metrics_address))


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
