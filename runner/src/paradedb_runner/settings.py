"""What can be set, in one place, already parsed: durations in seconds, paths absolute."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from paradedb_runner.kube.objects import GroupVersionKind

_CONCURRENCY = ("MAX_CONCURRENT_RECONCILES", "WORKER")  # the second is an old name of the first
_VERBOSITY = ("ANSIBLE_VERBOSITY",)
_CONCURRENCIES = range(1, 10_000)
_VERBOSITIES = range(8)


@dataclass(frozen=True)
class Settings:
    """All settings of one process; flags.py says what each is for."""

    watches_file: Path
    kubeconfig: Path | None
    namespaces: tuple[str, ...]
    engine: str
    reconcile_period: float
    resync_period: float
    run_slots: int
    run_timeout: float
    graceful_shutdown_timeout: float
    ansible_verbosity: int
    ansible_arguments: tuple[str, ...]
    ansible_log_events: str
    log_output: bool
    inventory: Path | None
    inject_owner_ref: bool
    proxy_port: int
    artifacts: Path | None
    metrics_address: str
    metrics_secure: bool
    metrics_require_rbac: bool
    metrics_certificate: Path | None
    user_metrics_address: str
    health_address: str
    leader_elect: bool
    leader_election_id: str
    leader_election_namespace: str
    lease_duration: float
    lease_renew_deadline: float
    lease_retry_period: float
    environ: Mapping[str, str]

    def kind_limit(self, gvk: GroupVersionKind) -> int:
        """Passes of one kind at the same time: MAX_CONCURRENT_RECONCILES_<KIND>_<GROUP>, or all run slots."""
        return self._for_kind(_CONCURRENCY, gvk, _CONCURRENCIES, self.run_slots)

    def kind_verbosity(self, gvk: GroupVersionKind) -> int:
        """-v's of one kind: ANSIBLE_VERBOSITY_<KIND>_<GROUP>, or the flag."""
        return self._for_kind(_VERBOSITY, gvk, _VERBOSITIES, self.ansible_verbosity)

    def environment_problems(self, gvks: Iterable[GroupVersionKind]) -> Iterator[str]:
        """Variables of single kinds that count for nothing, or go by a name of old."""
        for gvk in gvks:
            for prefixes, allowed in ((_CONCURRENCY, _CONCURRENCIES), (_VERBOSITY, _VERBOSITIES)):
                name = self._variable(prefixes, gvk)
                if name and _number(self.environ[name], allowed) is None:
                    yield f"{name} is ignored: it must be a number from {allowed.start} to {allowed.stop - 1}"
                elif name and name.startswith("WORKER_"):
                    yield f"{name} is deprecated, use {name.replace('WORKER', _CONCURRENCY[0], 1)}"

    def _for_kind(
        self, prefixes: tuple[str, ...], gvk: GroupVersionKind, allowed: range, default: int
    ) -> int:
        name = self._variable(prefixes, gvk)
        number = _number(self.environ[name], allowed) if name else None
        return default if number is None else number

    def _variable(self, prefixes: tuple[str, ...], gvk: GroupVersionKind) -> str | None:
        names = (name for prefix in prefixes for name in kind_variables(prefix, gvk))
        return next((name for name in names if name in self.environ), None)


def kind_variables(prefix: str, gvk: GroupVersionKind) -> list[str]:
    """
    The names of a variable for one kind: operator-sdk's, which keeps the dashes of a group, and those without
    that a shell can set.
    """
    name = f"{prefix}_{gvk.kind}_{gvk.group}".upper().replace(".", "_")
    return list(dict.fromkeys((name, name.replace("-", "_"), name.rstrip("_"))))


def _number(text: str, allowed: range) -> int | None:
    try:
        number = int(text)
    except ValueError:
        return None
    return number if number in allowed else None
