"""
What it takes to run Ansible once, whichever way: the request, the events on the way, and the verdict after
it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

_MESSAGE_LIMIT = 1024
_HIDDEN = "output hidden by no_log"


@dataclass(frozen=True)
class RunRequest:
    """
    One run. Everything secret is in files of ``directory``, never in the environment or on a command line.
    """

    ident: str
    directory: Path
    playbook: Path
    inventory: Path
    extra_vars: Path
    environment: Mapping[str, str]
    arguments: tuple[str, ...] = ()
    verbosity: int = 0
    keep_output: bool = False


@dataclass(frozen=True)
class TaskEvent:
    """
    The end of one task on one host. ``message`` is what may be shown of a failure, ``duration`` is in
    seconds.
    """

    outcome: str  # ok, failed, unreachable or skipped
    task: str
    action: str = ""
    role: str = ""
    host: str = ""
    duration: float = 0.0
    changed: bool = False
    ignored: bool = False
    message: str = ""
    requeue_after: str | float | None = None


@dataclass(frozen=True)
class Stats:
    """The recap of a play, counted over all hosts."""

    ok: int = 0
    changed: int = 0
    skipped: int = 0
    failures: int = 0
    dark: int = 0
    rescued: int = 0
    ignored: int = 0
    hosts: int = 0


@dataclass
class RunOutcome:
    """
    How a run ended. ``stats`` is None when Ansible never got to its recap; ``error`` is what it said instead.
    """

    rc: int
    stats: Stats | None
    error: str = ""
    failed: list[TaskEvent] = field(default_factory=list)
    requeue_after: list[str | float] = field(default_factory=list)


@dataclass(frozen=True)
class ModuleRequest:
    """One module without a playbook around it. ``module`` is a collection's, by its full name."""

    ident: str
    directory: Path
    module: str
    arguments: Mapping[str, Any]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class ModuleOutcome:
    """What of a module's result matters: ``error`` is empty unless it failed."""

    changed: bool = False
    error: str = ""
    requeue_after: str | float | None = None


class Engine(Protocol):
    """A way to run Ansible."""

    async def warm_up(self) -> None:
        """Do what the first run would have to wait for. Raises EngineError if no run will be possible."""

    async def run(self, request: RunRequest, on_event: Callable[[TaskEvent], None]) -> RunOutcome:
        """
        Run to the end. When cancelled, end every process of the run before raising CancelledError.

        Raises EngineError if the run could not be started or its engine broke.
        """

    async def run_module(self, request: ModuleRequest) -> ModuleOutcome:
        """Run one module to its end, with the promises of ``run``."""

    async def close(self) -> None:
        """End what the engine keeps between runs."""


class EngineError(Exception):
    """The engine, not the playbook, failed."""


@dataclass(frozen=True)
class Failure:
    """Why a run failed: ``reason`` in one word for machines, ``message`` for people."""

    reason: str
    message: str


def judge(outcome: RunOutcome) -> Failure | None:
    """
    Decide whether a run succeeded, from its recap and exit code alone.

    A failed task that was rescued or ignored is no failure; hosts that were unreachable or matched nothing
    are.
    """
    stats = outcome.stats
    if stats is None:
        reason = "PlaybookParseError" if outcome.rc == 4 else "RunCrashed"
        return Failure(reason, outcome.error or f"Ansible ended with exit code {outcome.rc} and no recap")
    last = outcome.failed[-1].message if outcome.failed else ""
    if stats.dark:
        return Failure("Unreachable", last or "a host was unreachable")
    if stats.failures:
        return Failure("Failed", last or "a task failed")
    if not stats.hosts:
        return Failure("NoHosts", outcome.error or "the playbook matched no host")
    if outcome.rc:
        return Failure("RunCrashed", outcome.error or f"Ansible ended with exit code {outcome.rc}")
    return None


def note(outcome: RunOutcome, event: TaskEvent, on_event: Callable[[TaskEvent], None]) -> None:
    """Add the end of a task to the outcome and pass it on."""
    if event.outcome in {"failed", "unreachable"} and not event.ignored:
        outcome.failed.append(event)
    if event.requeue_after is not None:
        outcome.requeue_after.append(event.requeue_after)
    on_event(event)


def shorten(text: str, limit: int = _MESSAGE_LIMIT) -> str:
    """At most ``limit`` bytes of UTF-8, marked where cut."""
    data = text.encode()
    return text if len(data) <= limit else data[: limit - 3].decode(errors="ignore") + "..."


def shorten_front(text: str, limit: int = _MESSAGE_LIMIT) -> str:
    """As ``shorten``, but what is kept is the end, where programs say what they die of."""
    data = text.encode()
    return text if len(data) <= limit else "..." + data[3 - limit :].decode(errors="ignore")


def task_failure(result: Mapping[str, Any], task: str) -> str:
    """
    The message of a failed task as it may be shown: nothing of a result that ``no_log`` hides.

    A loop says only that items failed; the items say why.
    """
    if result.get("_ansible_no_log") or "censored" in result:
        return f"{task}: {_HIDDEN}"
    items = [item for item in result.get("results") or [] if isinstance(item, dict) and item.get("failed")]
    messages = [_HIDDEN if item.get("_ansible_no_log") else str(item.get("msg", "")) for item in items]
    text = "; ".join(filter(None, messages)) or str(result.get("msg") or "no message")
    return shorten(f"{task}: {text}")
