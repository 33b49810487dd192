"""One pass over one resource: look, make sure of the finalizer, run Ansible, say how it went."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from paradedb_runner import status
from paradedb_runner.api import Api, ApiError, Resource
from paradedb_runner.durations import parse_duration
from paradedb_runner.engine import (
    Engine,
    EngineError,
    Failure,
    RunOutcome,
    RunRequest,
    Stats,
    TaskEvent,
    judge,
)
from paradedb_runner.events import EventRecorder
from paradedb_runner.finalizers import add_finalizer, drop_finalizer, has_finalizer
from paradedb_runner.inputdir import IDENT_LENGTH, ArtifactStore, InputDirectory, input_directory
from paradedb_runner.logs import fields
from paradedb_runner.objects import GroupVersionKind, Key, Object, is_deleting, metadata
from paradedb_runner.parameters import extra_vars
from paradedb_runner.settings import Settings
from paradedb_runner.tasks import outlast
from paradedb_runner.watches import Content, Finalizer, Role, Watch

log = logging.getLogger(__name__)

_ANNOTATION = "ansible.sdk.operatorframework.io/"
_JITTER = (0.9, 1.1)
_SOONEST = 1.0  # seconds; a task that asks for less must not make a busy loop


@dataclass(frozen=True)
class Result:
    """
    How a pass ended: ``failure`` asks for a retry, else ``requeue_after`` seconds for the next pass (None:
    none).
    """

    requeue_after: float | None = None
    failure: Failure | None = None
    interrupted: bool = False


@dataclass(frozen=True)
class _Overrides:
    """What annotations of the resource change about its passes."""

    period: float
    verbosity: int
    artifacts: int


@dataclass
class _Subject:
    """What one pass is about; ``obj`` is the object as last seen."""

    key: Key
    watch: Watch
    resource: Resource
    obj: Object

    @property
    def path(self) -> str:
        return self.resource.path(self.key.namespace, self.key.name)


class Reconciler:
    """Does passes. The caller makes sure that a key has one at a time."""

    def __init__(
        self,
        api: Api,
        engine: Engine,
        watches: Mapping[GroupVersionKind, Watch],
        settings: Settings,
        events: EventRecorder,
        base: Path,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._api, self._engine, self._watches, self._settings = api, engine, watches, settings
        self._events, self._base, self._uniform = events, base, uniform
        self._artifacts = ArtifactStore(settings.artifacts)
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

    async def _pass(self, key: Key, watch: Watch) -> Result:
        resource = await self._api.resource(key.gvk)
        try:
            obj = await self._api.get(resource.path(key.namespace, key.name))
        except ApiError as error:
            if error.status != 404:
                raise
            self._artifacts.forget(key)
            return Result()
        subject = _Subject(key, watch, resource, obj)
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

    async def _run_main(self, subject: "_Subject") -> Result:
        watch = subject.watch
        try:
            overrides = self._overrides(watch, subject.obj)
        except ValueError as error:
            return await self._failed(subject, "ReconcileFailed", Failure("BadAnnotation", str(error)))
        await self._say_running(subject)
        ended = await _unless(
            self._going[subject.key], self._run(subject.key, watch.content, _variables(subject), overrides)
        )
        if ended is None:
            log.info("the run was ended, the resource is going away", extra=fields(subject.key))
            return Result(interrupted=True)
        outcome, failure = ended
        if failure:
            return await self._failed(subject, "ReconcileFailed", failure, outcome)
        await self._say_ended(subject, partial(status.succeeded, stats=outcome.stats or Stats()))
        return Result(requeue_after=self._next_pass(subject.key, outcome, overrides.period))

    async def _finalize(self, subject: "_Subject", finalizer: Finalizer) -> Result:
        watch = subject.watch
        try:
            overrides = self._overrides(watch, subject.obj)
        except ValueError:  # a bad annotation must not keep a resource from going away
            overrides = self._overrides(watch, {})
        await self._say_running(subject)
        variables = _variables(subject, finalizer.variables)
        outcome, failure = await self._run(
            subject.key, finalizer.content or watch.content, variables, overrides
        )
        if failure:
            return await self._failed(subject, "FinalizerFailed", failure, outcome)
        await drop_finalizer(self._api, subject.path, subject.obj, finalizer.name)
        log.info("finalized", extra=fields(subject.key))
        return Result()

    async def _failed(
        self, subject: "_Subject", event: str, failure: Failure, outcome: RunOutcome | None = None
    ) -> Result:
        log.error("%s: %s", failure.reason, failure.message, extra=fields(subject.key))
        message = failure.message if failure.reason == "Failed" else f"{failure.reason}: {failure.message}"
        await self._events.warn(subject.key, subject.obj, event, message)
        stats = outcome.stats if outcome else None
        await self._say_ended(subject, partial(status.failed, failure=failure, stats=stats))
        return Result(failure=failure)

    async def _say_running(self, subject: "_Subject") -> None:
        if subject.watch.manage_status:
            subject.obj = await status.write_status(
                self._api, subject.resource, subject.key, subject.obj, status.running
            )

    async def _say_ended(self, subject: "_Subject", change: status.Change) -> None:
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

    async def _run(
        self, key: Key, content: Content, variables: Mapping[str, Any], overrides: _Overrides
    ) -> tuple[RunOutcome, Failure | None]:
        """One run of Ansible within its time limit, in a directory of its own."""
        ident = uuid4().hex[:IDENT_LENGTH]
        started = time.monotonic()
        with input_directory(self._base, ident, content, variables, self._settings.inventory) as directory:
            request = self._request(ident, content, directory, overrides)
            log.info("run started", extra=fields(key, run=ident))
            try:
                async with asyncio.timeout(self._settings.run_timeout):
                    outcome = await self._engine.run(request, partial(self._log_task, key, ident))
                failure = judge(outcome)
            except TimeoutError:
                outcome = RunOutcome(rc=-1, stats=None)
                failure = Failure("Timeout", f"the run was ended after {self._settings.run_timeout:g} s")
            except EngineError as error:
                outcome, failure = RunOutcome(rc=-1, stats=None), Failure("RunCrashed", str(error))
            self._artifacts.keep(key, directory.root, ident, overrides.artifacts)
        seconds = round(time.monotonic() - started, 3)
        result = failure.reason if failure else "Successful"
        counts = vars(outcome.stats) if outcome.stats else {}
        log.info("run ended", extra=fields(key, run=ident, result=result, duration=seconds, **counts))
        return outcome, failure

    def _request(
        self, ident: str, content: Content, directory: InputDirectory, overrides: _Overrides
    ) -> RunRequest:
        return RunRequest(
            ident=ident,
            directory=directory.root,
            playbook=directory.playbook,
            inventory=directory.inventory,
            extra_vars=directory.extra_vars,
            environment=run_environment(self._settings, content, directory.temporary),
            arguments=self._settings.ansible_arguments,
            verbosity=overrides.verbosity,
            keep_output=self._settings.artifacts is not None,
        )

    def _overrides(self, watch: Watch, obj: Object) -> _Overrides:
        annotations = metadata(obj).get("annotations") or {}
        period = self._settings.reconcile_period if watch.reconcile_period is None else watch.reconcile_period
        text = annotations.get(f"{_ANNOTATION}reconcile-period")
        return _Overrides(
            period=period if text is None else parse_duration(text),
            verbosity=_number(annotations, "verbosity", self._settings.kind_verbosity(watch.gvk)),
            artifacts=_number(annotations, "max-runner-artifacts", watch.max_runner_artifacts),
        )

    def _next_pass(self, key: Key, outcome: RunOutcome, period: float) -> float | None:
        """
        Seconds to the next pass: the period, spread so that passes do not bunch, or sooner if a task asked.
        """
        delays = [period * self._uniform(*_JITTER)] if period else []
        for asked in outcome.requeue_after:
            try:
                seconds = parse_duration(asked) if isinstance(asked, str) else float(asked)
                delays.append(max(_SOONEST, seconds))
            except ValueError as error:
                log.warning("a task's requeue_after is ignored: %s", error, extra=fields(key))
        return min(delays, default=None)

    def _log_task(self, key: Key, ident: str, event: TaskEvent) -> None:
        if self._settings.ansible_log_events == "nothing":
            return
        failed = event.outcome in {"failed", "unreachable"}
        about = {
            "run": ident,
            "task": event.task,
            "role": event.role,
            "outcome": event.outcome,
            "duration": event.duration,
            "changed": event.changed,
        }
        if failed:
            about |= {"error": event.message, "ignored": event.ignored}
        log.log(logging.WARNING if failed else logging.INFO, "task ended", extra=fields(key, **about))


def run_environment(settings: Settings, content: Content, temporary: Path) -> dict[str, str]:
    """
    What Ansible gets on top of our own environment. Whatever it writes goes below the run's directory.

    In a pod no kubeconfig is named: modules find the service account by themselves, as we do.
    """
    environment = {
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_RETRY_FILES_ENABLED": "0",
        "ANSIBLE_STDOUT_CALLBACK": "minimal",
        "ANSIBLE_LOCAL_TEMP": str(temporary),
        "ANSIBLE_REMOTE_TEMP": str(temporary),
        "TMPDIR": str(temporary),
    }
    if isinstance(content, Role) and content.roles_path:
        others = settings.environ.get("ANSIBLE_ROLES_PATH", "")
        environment["ANSIBLE_ROLES_PATH"] = ":".join(filter(None, [str(content.roles_path), others]))
    if settings.kubeconfig:
        kubeconfig = str(settings.kubeconfig)
        environment |= {"K8S_AUTH_KUBECONFIG": kubeconfig, "KUBECONFIG": kubeconfig}
    return environment


def _variables(subject: "_Subject", more: Mapping[str, Any] | None = None) -> dict[str, Any]:
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


def _number(annotations: Mapping[str, str], name: str, default: int) -> int:
    text = annotations.get(_ANNOTATION + name)
    if text is None:
        return default
    if not text.isdigit():
        raise ValueError(f"annotation {_ANNOTATION}{name} must be a number, not {text!r}")
    return int(text)
