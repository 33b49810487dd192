"""The command line: ``paradedb-runner run`` and ``version``. Flags are named as operator-sdk names them."""

import argparse
import asyncio
import logging
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kubernetes.config import ConfigException

from paradedb_runner.cgroup import default_run_slots
from paradedb_runner.credentials import find_kubeconfig
from paradedb_runner.durations import parse_duration
from paradedb_runner.http_server import parse_address
from paradedb_runner.logs import setup_logging
from paradedb_runner.manager import serve
from paradedb_runner.settings import Settings
from paradedb_runner.version import VERSION
from paradedb_runner.watches import WatchesError, load_watches, unknown_keys

log = logging.getLogger(__name__)

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; the exit code."""
    options = _parser().parse_args(arguments)
    if options.command == "version":
        print(f"paradedb-runner {VERSION}")
        return 0
    setup_logging(options.log_level)
    _export_paths(options)
    try:
        settings = settings_from(options)
        watches = load_watches(settings.watches_file)
        if unknown := unknown_keys(settings.watches_file):
            log.warning("keys of %s that nothing reads: %s", settings.watches_file, ", ".join(unknown))
        return asyncio.run(serve(settings, watches))
    except (WatchesError, ConfigException, OSError) as error:
        log.error("cannot start: %s", error)  # noqa: TRY400  (the text says it all)
        return 1


def settings_from(options: argparse.Namespace) -> Settings:
    """Settings out of parsed flags and the environment."""
    return Settings(
        watches_file=options.watches_file,
        kubeconfig=find_kubeconfig(options.kubeconfig, os.environ),
        namespaces=tuple(
            filter(None, (name.strip() for name in os.environ.get("WATCH_NAMESPACE", "").split(",")))
        ),
        reconcile_period=options.reconcile_period,
        run_slots=options.max_concurrent_reconciles or default_run_slots(),
        run_timeout=options.run_timeout,
        graceful_shutdown_timeout=options.graceful_shutdown_timeout,
        ansible_verbosity=options.ansible_verbosity,
        ansible_arguments=tuple(shlex.split(_unquoted(options.ansible_args))),
        ansible_log_events=options.ansible_log_events,
        inventory=_path(os.environ.get("ANSIBLE_INVENTORY", "")),
        artifacts=_path(options.artifacts_dir),
        metrics_address=options.metrics_bind_address,
        metrics_secure=options.metrics_secure,
        metrics_require_rbac=options.metrics_require_rbac,
        metrics_certificate=_path(options.metrics_cert_path),
        health_address=options.health_probe_bind_address,
        leader_elect=options.leader_elect,
        leader_election_id=options.leader_election_id,
        leader_election_namespace=options.leader_election_namespace or _own_namespace(),
        environ=dict(os.environ),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="paradedb-runner", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("version", help="print the version")
    run = commands.add_parser("run", help="watch the kinds of watches.yaml and run Ansible for them")
    add = run.add_argument
    add(
        "--watches-file",
        type=Path,
        default=Path("watches.yaml"),
        help="what to watch (default ./watches.yaml)",
    )
    add(
        "--kubeconfig",
        default="",
        help="kubeconfig file; default: $KUBECONFIG, the pod's account, ~/.kube/config",
    )
    add("--reconcile-period", **_duration("60s"), help="time between passes over a resource that succeeded")
    add(
        "--max-concurrent-reconciles",
        type=int,
        default=0,
        help="runs at the same time (default: CPU limit, min. 2)",
    )
    add("--run-timeout", **_duration("30m"), help="a run that takes longer is ended and counts as failed")
    add("--graceful-shutdown-timeout", **_duration("30s"), help="time that running passes get after SIGTERM")
    add("--ansible-verbosity", type=int, choices=range(8), default=0, help="number of -v")
    add("--ansible-roles-path", default="", help="sets ANSIBLE_ROLES_PATH")
    add("--ansible-collections-path", default="", help="sets ANSIBLE_COLLECTIONS_PATH")
    add("--ansible-args", default="", help="more arguments for ansible-playbook, in one string")
    add("--ansible-log-events", choices=["tasks", "nothing"], default="tasks", help="log every task, or none")
    add(
        "--artifacts-dir",
        default="",
        help="keep artifacts of runs here; they hold task output (default: keep none)",
    )
    add("--metrics-bind-address", type=_address, default=":8443", help="address of /metrics, 0 for none")
    add("--metrics-secure", **_switch(default=True), help="serve /metrics over TLS")
    add("--metrics-require-rbac", **_switch(default=True), help="let those read who may GET /metrics in RBAC")
    add("--metrics-cert-path", default="", help="directory of tls.crt and tls.key (default: self-signed)")
    add("--health-probe-bind-address", type=_address, default=":8081", help="address of /healthz and /readyz")
    add("--leader-elect", **_switch(default=False), help="let one of several replicas work, by a Lease")
    add("--leader-election-id", default="paradedb-runner", help="name of the Lease")
    add("--leader-election-namespace", default="", help="its namespace (default: the pod's)")
    add(
        "--log-level",
        choices=["debug", "info", "warning", "error"],
        default="info",
        help="least level to log",
    )
    return parser


def _duration(default: str) -> dict[str, Any]:
    return {"type": parse_duration, "default": default, "metavar": "DURATION"}


def _switch(*, default: bool) -> dict[str, Any]:
    """``--flag``, ``--flag=true`` and ``--flag=false``, as Go programs take them."""
    return {"type": _boolean, "nargs": "?", "const": True, "default": default, "metavar": "true|false"}


def _boolean(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError(f"{text!r} is not true or false")
    return text.lower() == "true"


def _address(text: str) -> str:
    parse_address(text)
    return text


def _unquoted(text: str) -> str:
    """Without one pair of single quotes around it, which manifests tend to carry."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == "'" else text


def _path(text: str) -> Path | None:
    return Path(text).expanduser().absolute() if text else None


def _export_paths(options: argparse.Namespace) -> None:
    """Ansible reads these from the environment, and so does the search for roles."""
    for name in ("roles", "collections"):
        if path := getattr(options, f"ansible_{name}_path"):
            os.environ[f"ANSIBLE_{name.upper()}_PATH"] = path


def _own_namespace() -> str:
    return _NAMESPACE_FILE.read_text().strip() if _NAMESPACE_FILE.is_file() else "default"


if __name__ == "__main__":
    sys.exit(main())
