"""The command line: ``paradedb-runner run``, ``check`` and ``version``."""

import argparse
import asyncio
import logging
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from kubernetes.config import ConfigException

from paradedb_runner.cgroup import default_run_slots
from paradedb_runner.flags import DEFAULT_LEASE, DEPRECATED, IGNORED, FlagParser, boolean
from paradedb_runner.kube.credentials import find_kubeconfig
from paradedb_runner.logs import setup_logging
from paradedb_runner.settings import Settings
from paradedb_runner.version import VERSION
from paradedb_runner.watches.check import check
from paradedb_runner.watches.file import read_watches
from paradedb_runner.watches.problems import Problem, Severity, has_errors, made_strict

log = logging.getLogger(__name__)

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_SHOWN = ("ansible-core", "ansible-runner", "kubernetes")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; the exit code."""
    options = FlagParser().parse(sys.argv[1:] if arguments is None else arguments)
    match options.command:
        case "version":
            return _version()
        case "check":
            _export_paths(options)
            return check(options.watches_file, os.environ, strict=options.strict)
        case _:
            setup_logging(options.log_level)
            _export_paths(options)
            return _run(options)


def settings_from(options: argparse.Namespace, environ: Mapping[str, str]) -> Settings:
    """Settings out of the flags of ``run`` and the environment."""
    return Settings(
        watches_file=options.watches_file,
        kubeconfig=find_kubeconfig(options.kubeconfig, environ),
        namespaces=tuple(
            filter(None, (name.strip() for name in environ.get("WATCH_NAMESPACE", "").split(",")))
        ),
        engine=options.engine,
        reconcile_period=options.reconcile_period,
        resync_period=options.resync_period,
        run_slots=options.max_concurrent_reconciles or default_run_slots(),
        run_timeout=options.run_timeout,
        graceful_shutdown_timeout=options.graceful_shutdown_timeout,
        ansible_verbosity=options.ansible_verbosity,
        ansible_arguments=options.ansible_args,
        ansible_log_events=options.ansible_log_events,
        log_output=options.ansible_log_events == "everything" or _wants_output(environ),
        inventory=_path(environ.get("ANSIBLE_INVENTORY", "")),
        inject_owner_ref=options.inject_owner_ref,
        proxy_port=options.proxy_port,
        artifacts=_path(options.artifacts_dir),
        metrics_address=options.metrics_bind_address,
        metrics_secure=options.metrics_secure,
        metrics_require_rbac=options.metrics_require_rbac,
        metrics_certificate=_path(options.metrics_cert_path),
        user_metrics_address=options.user_metrics_bind_address,
        health_address=options.health_probe_bind_address,
        leader_elect=options.leader_elect,
        leader_election_id=options.leader_election_id or environ.get("OPERATOR_NAME") or DEFAULT_LEASE,
        leader_election_namespace=options.leader_election_namespace or _own_namespace(),
        lease_duration=options.leader_elect_lease_duration,
        lease_renew_deadline=options.leader_elect_renew_deadline,
        lease_retry_period=options.leader_elect_retry_period,
        environ=dict(environ),
    )


def _run(options: argparse.Namespace) -> int:
    for text in _notices(options, os.environ):
        log.warning(text)
    watches, problems = read_watches(options.watches_file)
    if options.strict:
        problems = made_strict(problems)
    _tell(problems)
    if has_errors(problems):
        log.error("cannot start: %s has errors", options.watches_file)
        return 1
    settings = settings_from(options, os.environ)
    for text in settings.environment_problems(watch.gvk for watch in watches):
        log.warning(text)
    from paradedb_runner.manager import serve  # here, since the other subcommands need none of it

    try:
        return asyncio.run(serve(settings, watches))
    except (ConfigException, OSError) as error:
        log.error("cannot start: %s", error)  # noqa: TRY400  (the text says it all)
        return 1


def _tell(problems: Sequence[Problem]) -> None:
    levels = {Severity.ERROR: logging.ERROR, Severity.WARNING: logging.WARNING, Severity.NOTE: logging.INFO}
    for problem in problems:
        log.log(levels[problem.severity], problem.told)


def _notices(options: argparse.Namespace, environ: Mapping[str, str]) -> Iterator[str]:
    """What is accepted without doing what somebody may expect of it."""
    for old in sorted(options.given & DEPRECATED.keys()):
        yield f"{old} is deprecated, use {DEPRECATED[old]}"
    if ignored := sorted(options.given & IGNORED.keys()):
        yield "ignored flags: " + ", ".join(f"{name} ({IGNORED[name]})" for name in ignored)
    if environ.get("OPERATOR_NAME"):
        yield "OPERATOR_NAME is deprecated, use --leader-election-id"


def _version() -> int:
    print(f"paradedb-runner {VERSION}")
    for name in _SHOWN:
        print(f"{name} {metadata.version(name)}")
    print(f"python {platform.python_version()}")
    return 0


def _wants_output(environ: Mapping[str, str]) -> bool:
    """Whether the environment asks for all that Ansible prints; what cannot be read asks for nothing."""
    verbosity = environ.get("ANSIBLE_VERBOSITY", "")
    try:
        return boolean(environ.get("ANSIBLE_DEBUG_LOGS") or "false") or int(verbosity or 0) > 0
    except ValueError:
        return False


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
