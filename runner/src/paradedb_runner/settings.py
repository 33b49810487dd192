"""What can be set, in one place, already parsed: durations in seconds, paths absolute."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from paradedb_runner.objects import GroupVersionKind


@dataclass(frozen=True)
class Settings:
    """All settings of one process; cli.py says what each is for."""

    watches_file: Path
    kubeconfig: Path | None
    namespaces: tuple[str, ...]
    reconcile_period: float
    run_slots: int
    run_timeout: float
    graceful_shutdown_timeout: float
    ansible_verbosity: int
    ansible_arguments: tuple[str, ...]
    ansible_log_events: str
    inventory: Path | None
    artifacts: Path | None
    metrics_address: str
    metrics_secure: bool
    metrics_require_rbac: bool
    metrics_certificate: Path | None
    health_address: str
    leader_elect: bool
    leader_election_id: str
    leader_election_namespace: str
    environ: Mapping[str, str]

    def kind_limit(self, gvk: GroupVersionKind) -> int:
        """Passes of one kind at the same time: MAX_CONCURRENT_RECONCILES_<KIND>_<GROUP>, or all run slots."""
        return max(1, self._for_kind("MAX_CONCURRENT_RECONCILES", gvk, self.run_slots))

    def kind_verbosity(self, gvk: GroupVersionKind) -> int:
        """-v's of one kind: ANSIBLE_VERBOSITY_<KIND>_<GROUP>, or the flag."""
        return self._for_kind("ANSIBLE_VERBOSITY", gvk, self.ansible_verbosity)

    def _for_kind(self, name: str, gvk: GroupVersionKind, default: int) -> int:
        text = self.environ.get(f"{name}_{gvk.kind}_{gvk.group}".upper().replace(".", "_"), "")
        return int(text) if text.isdigit() else default
