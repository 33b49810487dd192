"""Running Ansible for a resource: in a private directory, within a time limit, with a log line per task."""

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from paradedb_runner.control.inputdir import IDENT_LENGTH, ArtifactStore, InputDirectory, input_directory
from paradedb_runner.engine.interface import (
    Engine,
    EngineError,
    Failure,
    ModuleOutcome,
    ModuleRequest,
    RunOutcome,
    RunRequest,
    TaskEvent,
    judge,
)
from paradedb_runner.kube.objects import Key, Object
from paradedb_runner.logs import fields
from paradedb_runner.settings import Settings
from paradedb_runner.watches.model import Content, Refresh, Role, Watch

log = logging.getLogger(__name__)

_ENDING = 60.0  # seconds a run that is over its time limit may take to end


@dataclass
class Subject:
    """What a run is for; ``obj`` is the resource as last seen."""

    key: Key
    watch: Watch
    obj: Object


class Access(Protocol):
    """
    Gives a run its way to the API while the block lasts: the kubeconfig to use, None for the pod's account.
    """

    def __call__(
        self, subject: Subject, directory: InputDirectory
    ) -> AbstractContextManager[Path | None]: ...


class Runs:
    """Starts runs. ``access`` decides how they reach the API; by default as we do."""

    def __init__(self, engine: Engine, settings: Settings, base: Path, access: Access | None = None) -> None:
        self._engine, self._settings, self._base = engine, settings, base
        self._access = access or our_access(settings.kubeconfig)
        self._artifacts = ArtifactStore(settings.artifacts)
        self._started: dict[str, float] = {}

    async def content(
        self, subject: Subject, content: Content, variables: Mapping[str, Any], verbosity: int, artifacts: int
    ) -> tuple[RunOutcome, Failure | None]:
        """Run a role or playbook; ``artifacts`` of runs are kept, if any."""
        key, started = subject.key, time.monotonic()
        with (
            self._run(subject, content, variables) as (ident, directory),
            self._access(subject, directory) as kubeconfig,
        ):
            environment = run_environment(self._settings, content, directory.temporary, kubeconfig)
            request = self._request(ident, directory, environment, verbosity)
            try:
                async with asyncio.timeout(self._settings.run_timeout):
                    outcome = await self._engine.run(request, partial(self._log_task, key, ident))
                failure = judge(outcome)
            except TimeoutError:
                outcome, failure = RunOutcome(rc=-1, stats=None), Failure("Timeout", self._too_long())
            except EngineError as error:
                outcome, failure = RunOutcome(rc=-1, stats=None), Failure("RunCrashed", str(error))
            self._log_output(key, ident, directory)
            self._artifacts.keep(key, directory.root, ident, artifacts)
        counts = vars(outcome.stats) if outcome.stats else {}
        result = failure.reason if failure else "Successful"
        log.info("run ended", extra=fields(key, run=ident, result=result, duration=_since(started), **counts))
        return outcome, failure

    async def module(self, subject: Subject, refresh: Refresh) -> ModuleOutcome:
        """Run one module, with the resource's name and namespace among its arguments."""
        key, content, started = subject.key, subject.watch.content, time.monotonic()
        arguments = {**refresh.arguments, "name": key.name, "namespace": key.namespace}
        with (
            self._run(subject, content, {}) as (ident, directory),
            self._access(subject, directory) as kubeconfig,
        ):
            environment = run_environment(self._settings, content, directory.temporary, kubeconfig)
            request = ModuleRequest(ident, directory.root, refresh.module, arguments, environment)
            try:
                async with asyncio.timeout(self._settings.run_timeout):
                    outcome = await self._engine.run_module(request)
            except TimeoutError:
                outcome = ModuleOutcome(error=self._too_long())
            except EngineError as error:
                outcome = ModuleOutcome(error=str(error))
        about = {"module": refresh.module, "changed": outcome.changed, "duration": _since(started)}
        log.info("module ended", extra=fields(key, run=ident, **about))
        return outcome

    def forget(self, key: Key) -> None:
        """Remove what was kept of the runs of a resource that is gone."""
        self._artifacts.forget(key)

    def hanging(self) -> list[str]:
        """Runs that neither ended nor could be ended long after their time was up."""
        limit = time.monotonic() - self._settings.run_timeout - _ENDING
        return [ident for ident, started in self._started.items() if started < limit]

    @contextmanager
    def _run(
        self, subject: Subject, content: Content, variables: Mapping[str, Any]
    ) -> Iterator[tuple[str, InputDirectory]]:
        ident = uuid4().hex[:IDENT_LENGTH]
        with input_directory(self._base, ident, content, variables, self._settings.inventory) as directory:
            log.info("run started", extra=fields(subject.key, run=ident))
            self._started[ident] = time.monotonic()
            try:
                yield ident, directory
            finally:
                del self._started[ident]

    def _request(
        self, ident: str, directory: InputDirectory, environment: Mapping[str, str], verbosity: int
    ) -> RunRequest:
        return RunRequest(
            ident=ident,
            directory=directory.root,
            playbook=directory.playbook,
            inventory=directory.inventory,
            extra_vars=directory.extra_vars,
            environment=environment,
            arguments=self._settings.ansible_arguments,
            verbosity=verbosity,
            keep_output=self._settings.artifacts is not None or self._settings.log_output,
        )

    def _log_output(self, key: Key, ident: str, directory: InputDirectory) -> None:
        """All that Ansible printed, for who asks for it: tasks may print secrets."""
        output = directory.root / "artifacts" / ident / "stdout"
        if self._settings.log_output and output.is_file():
            log.info("output", extra=fields(key, run=ident, output=output.read_text(errors="replace")))

    def _too_long(self) -> str:
        return f"the run was ended after {self._settings.run_timeout:g} s"

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


def our_access(kubeconfig: Path | None) -> Access:
    """Runs use our own kubeconfig, or in a pod its account."""

    @contextmanager
    def access(subject: Subject, directory: InputDirectory) -> Iterator[Path | None]:
        yield kubeconfig

    return access


def run_environment(
    settings: Settings, content: Content, temporary: Path, kubeconfig: Path | None
) -> dict[str, str]:
    """
    What Ansible gets on top of our own environment. Whatever it writes goes below the run's directory.

    Without a kubeconfig none is named: in a pod modules find the service account by themselves, as we do.
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
    if settings.user_metrics_address != "0":
        environment["PARADEDB_RUNNER_METRICS_URL"] = f"http://{settings.user_metrics_address}/metrics"
    if kubeconfig:
        environment |= {"K8S_AUTH_KUBECONFIG": str(kubeconfig), "KUBECONFIG": str(kubeconfig)}
        # What listens on this machine is not reached by way of a company's HTTP proxy.
        others = settings.environ.get("NO_PROXY") or settings.environ.get("no_proxy", "")
        environment["NO_PROXY"] = environment["no_proxy"] = ",".join(filter(None, ["127.0.0.1", others]))
    return environment


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)
