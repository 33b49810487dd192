"""
One pass over one resource: look, make sure of the finalizer, run Ansible, say how it went.

A failure becomes a Warning event, with one exception: a task that failed in a watch with manageStatus false.
Such a role tells by its own means what it does, and an event of ours would repeat the one it wrote. Nobody
coming from ansible-operator misses ours, since that writes none. What a role cannot tell by itself (it was
never parsed, ran too long, crashed, or its finalizer fails and holds up a deletion) always becomes an event.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from paradedb_runner.control.parameters import extra_vars
from paradedb_runner.control.runs import Runs, Subject
from paradedb_runner.engine.interface import Failure, RunOutcome, Stats
from paradedb_runner.kube import status
from paradedb_runner.kube.api import Api, ApiError, Resource
from paradedb_runner.kube.events import EventRecorder
from paradedb_runner.kube.finalizers import add_finalizer, drop_finalizer, has_finalizer
from paradedb_runner.kube.objects import GroupVersionKind, Key, Object, is_deleting, metadata
from paradedb_runner.logs import fields
from paradedb_runner.settings import Settings
from paradedb_runner.tasks import outlast
from paradedb_runner.watches.durations import parse_duration
from paradedb_runner.watches.model import Finalizer, Watch

log = logging.getLogger(__name__)

_ANNOTATION = "ansible.sdk.operatorframework.io/"
_JITTER = (0.9, 1.1)
_MOST_VERBOSE = 7  # -v's that Ansible tells apart
_MOST_ARTIFACTS = 10_000
_SOONEST = 1.0  # seconds; a task that asks for less must not make a busy loop


@dataclass(frozen=True)
class Result:
    """
    How a pass ended: ``failure`` asks for a retry, else ``requeue_after`` seconds for the next pass (None:
    none), which is the period unless a task ``asked``. ``changed`` is how many tasks changed something, None
    if nothing ran or not to its end.
    """

    requeue_after: float | None = None
    failure: Failure | None = None
    interrupted: bool = False
    changed: int | None = None
    asked: bool = False


@dataclass(frozen=True)
class _Overrides:
    """What annotations of the resource change about its passes."""

    period: float
    verbosity: int
    artifacts: int


@dataclass
class _Subject(Subject):
    resource: Resource

    @property
    def path(self) -> str:
        return self.resource.path(self.key.namespace, self.key.name)


class Reconciler:
    """Does passes. The caller makes sure that a key has one at a time."""

    def __init__(
        self,
        api: Api,
        runs: Runs,
        watches: Mapping[GroupVersionKind, Watch],
        settings: Settings,
        events: EventRecorder,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._api, self._runs, self._watches, self._settings = api, runs, watches, settings
        self._events, self._uniform = events, uniform
        self._going: dict[Key, asyncio.Event] = {}

    def going_away(self, key: Key) -> None:
        """The resource is being deleted or gone: a normal run over it has lost its purpose and is ended."""
        if key in self._going:
            self._going[key].set()

    async def reconcile(self, key: Key) -> Result:
        """Do one pass. Raises what the API client raises; the caller treats that as a failure."""
        self._going[key] = asyncio.Event()
        try:
            return await self._pass(key, self._watches[key.gvk])
        finally:
            del self._going[key]

    async def refresh(self, key: Key, obj: Object) -> Result:
        """Renew the status of a settled resource by the module of its watch, instead of a pass."""
        watch = self._watches[key.gvk]
        assert watch.refresh
        going = self._going[key] = asyncio.Event()
        try:
            outcome = await _unless(going, self._runs.module(Subject(key, watch, obj), watch.refresh))
        finally:
            del self._going[key]
        if outcome is None:
            return Result(interrupted=True)
        if outcome.error:
            log.error("the refresh failed: %s", outcome.error, extra=fields(key))
            return Result(failure=Failure("RefreshFailed", outcome.error))
        if outcome.requeue_after is not None:
            seconds = _seconds(key, outcome.requeue_after)
            return Result(requeue_after=seconds or 0.0, asked=True)
        return Result(requeue_after=self.next_period(key, obj), changed=int(outcome.changed))

    def next_period(self, key: Key, obj: Object) -> float | None:
        """Seconds to the next periodic pass over a resource that needs none before; None: never."""
        try:
            period = self._overrides(key, obj).period
        except ValueError:
            return 0.0  # the pass will say what is wrong
        return period * self._uniform(*_JITTER) if period else None

    async def _pass(self, key: Key, watch: Watch) -> Result:
        resource = await self._api.resource(key.gvk)
        try:
            obj = await self._api.get(resource.path(key.namespace, key.name))
        except ApiError as error:
            if error.status != 404:
                raise
            self._runs.forget(key)
            return Result()
        subject = _Subject(key, watch, obj, resource)
        finalizer = watch.finalizer
        if is_deleting(obj):
            if finalizer and has_finalizer(obj, finalizer.name):
                return await self._finalize(subject, finalizer)
            return Result()
        if not watch.selector.matches(metadata(obj).get("labels")):
            return Result()
        if finalizer:
            subject.obj = await add_finalizer(self._api, subject.path, obj, finalizer.name)
            if is_deleting(subject.obj):
                return Result(requeue_after=0)
        return await self._run_main(subject)

    async def _run_main(self, subject: _Subject) -> Result:
        watch = subject.watch
        try:
            overrides = self._overrides(subject.key, subject.obj)
        except ValueError as error:
            return await self._failed(subject, "ReconcileFailed", Failure("BadAnnotation", str(error)))
        await self._say_running(subject)
        run = self._runs.content(
            subject, watch.content, _variables(subject), overrides.verbosity, overrides.artifacts
        )
        ended = await _unless(self._going[subject.key], run)
        if ended is None:
            log.info("the run was ended, the resource is going away", extra=fields(subject.key))
            return Result(interrupted=True)
        outcome, failure = ended
        if failure:
            return await self._failed(subject, "ReconcileFailed", failure, outcome)
        stats = outcome.stats or Stats()
        await self._say_ended(subject, partial(status.succeeded, stats=stats))
        return self._succeeded(subject.key, outcome, stats, overrides.period)

    async def _finalize(self, subject: _Subject, finalizer: Finalizer) -> Result:
        watch = subject.watch
        try:
            overrides = self._overrides(subject.key, subject.obj)
        except ValueError:  # a bad annotation must not keep a resource from going away
            overrides = self._overrides(subject.key, {})
        await self._say_running(subject)
        variables = _variables(subject, finalizer.variables)
        outcome, failure = await self._runs.content(
            subject,
            finalizer.content or watch.content,
            variables,
            overrides.verbosity,
            overrides.artifacts,
        )
        if failure:
            return await self._failed(subject, "FinalizerFailed", failure, outcome)
        await drop_finalizer(self._api, subject.path, subject.obj, finalizer.name)
        log.info("finalized", extra=fields(subject.key))
        return Result()

    async def _failed(
        self, subject: _Subject, event: str, failure: Failure, outcome: RunOutcome | None = None
    ) -> Result:
        log.error("%s: %s", failure.reason, failure.message, extra=fields(subject.key))
        message = failure.message if failure.reason == "Failed" else f"{failure.reason}: {failure.message}"
        told_by_role = failure.reason == "Failed" and not subject.watch.manage_status
        if event != "ReconcileFailed" or not told_by_role:
            await self._events.warn(subject.key, subject.obj, event, message)
        stats = outcome.stats if outcome else None
        await self._say_ended(subject, partial(status.failed, failure=failure, stats=stats))
        return Result(failure=failure)

    async def _say_running(self, subject: _Subject) -> None:
        if subject.watch.manage_status:
            subject.obj = await status.write_status(
                self._api, subject.resource, subject.key, subject.obj, status.running
            )

    async def _say_ended(self, subject: _Subject, change: status.Change) -> None:
        """Write on top of what the run itself put into the status. A resource that is gone needs none."""
        if not subject.watch.manage_status:
            return
        try:
            fresh = await self._api.get(subject.path)
            if metadata(fresh)["uid"] == metadata(subject.obj)["uid"]:
                change = _as_of(metadata(subject.obj), change)
                await status.write_status(self._api, subject.resource, subject.key, fresh, change)
        except ApiError as error:
            if error.status != 404:
                raise

    def _overrides(self, key: Key, obj: Object) -> _Overrides:
        watch = self._watches[key.gvk]
        verbosity = self._settings.kind_verbosity(key.gvk)
        annotations = metadata(obj).get("annotations") or {}
        period = self._settings.reconcile_period if watch.reconcile_period is None else watch.reconcile_period
        text = annotations.get(f"{_ANNOTATION}reconcile-period")
        return _Overrides(
            period=period if text is None else parse_duration(text),
            verbosity=_number(key, annotations, "verbosity", verbosity, _MOST_VERBOSE),
            artifacts=_number(
                key, annotations, "max-runner-artifacts", watch.max_runner_artifacts, _MOST_ARTIFACTS
            ),
        )

    def _succeeded(self, key: Key, outcome: RunOutcome, stats: Stats, period: float) -> Result:
        """The next pass comes after the period, spread so that passes do not bunch, or when a task asked."""
        asked = [_seconds(key, each) for each in outcome.requeue_after]
        delays = [max(_SOONEST, seconds) for seconds in asked if seconds is not None]
        after = [period * self._uniform(*_JITTER)] if period else []
        return Result(min([*delays, *after], default=None), changed=stats.changed, asked=bool(delays))


def _variables(subject: _Subject, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    key, watch = subject.key, subject.watch
    return extra_vars(
        key,
        {"apiVersion": key.gvk.api_version, "kind": key.gvk.kind, **subject.obj},
        snake_case=watch.snake_case_parameters,
        mark_unsafe=watch.mark_unsafe,
        variables=watch.variables,
        finalizer_variables=more,
    )


async def _unless[T](event: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of ``work``, or None if ``event`` came first; then the work was cancelled and has ended."""
    task, bell = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({task, bell}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for each in (task, bell):
            each.cancel()
        await outlast(asyncio.gather(task, bell, return_exceptions=True))


def _as_of(meta: Object, change: status.Change) -> status.Change:
    """Record the generation the run saw, not one that came while it ran."""
    generation = meta.get("generation")
    if generation is None:
        return change
    return lambda fresh: change({**fresh, "metadata": {**fresh["metadata"], "generation": generation}})


def _seconds(key: Key, asked: str | float) -> float | None:
    """A task's requeue_after; None if it cannot be read."""
    try:
        return parse_duration(asked) if isinstance(asked, str) else float(asked)
    except ValueError as error:
        log.warning("a task's requeue_after is ignored: %s", error, extra=fields(key))
        return None


def _number(key: Key, annotations: Mapping[str, str], name: str, default: int, most: int) -> int:
    """A number that an annotation gives, within reason; what is none is ignored, as by ansible-operator."""
    text = annotations.get(_ANNOTATION + name)
    if text is None:
        return default
    try:
        return max(0, min(most, int(text)))
    except ValueError:
        log.warning("annotation %s%s is ignored: %r is no number", _ANNOTATION, name, text, extra=fields(key))
        return default
