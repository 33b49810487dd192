"""
The flags of all subcommands, named as operator-sdk names them and taken in every form that Go takes.

Flags that mean nothing here are accepted, so that a Deployment written for ansible-operator starts as it is.
"""

import argparse
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from paradedb_runner.observe.http_server import parse_address
from paradedb_runner.observe.user_metrics import loopback_address
from paradedb_runner.watches.durations import parse_duration

DEFAULT_LEASE = "paradedb-runner"
_SINGLE_DASH = re.compile(r"-[a-z][-a-z0-9]+")
_TRUE = {"1", "t", "true"}
_FALSE = {"0", "f", "false"}
_ZAP_LEVELS = {"debug": "debug", "info": "info", "error": "error", "panic": "error"}

_ENVIRONMENT = """\
environment:
  WATCH_NAMESPACE           namespaces to watch, separated by commas; empty for all
  KUBECONFIG, K8S_AUTH_KUBECONFIG
                            where the cluster is, when there is no --kubeconfig
  ANSIBLE_ROLES_PATH, ANSIBLE_COLLECTIONS_PATH
                            where roles and collections are; the flags win
  ANSIBLE_INVENTORY         file or directory of an inventory to use instead of localhost
  ANSIBLE_DEBUG_LOGS        true: log the whole output of each run
  ANSIBLE_VERBOSITY         above 0: the same
  MAX_CONCURRENT_RECONCILES_<KIND>_<GROUP>
                            passes over one kind at the same time (deprecated name: WORKER_<KIND>_<GROUP>)
  ANSIBLE_VERBOSITY_<KIND>_<GROUP>
                            number of -v for one kind, 0 to 7
  OPERATOR_NAME             deprecated: name of the Lease, when there is no --leader-election-id
<KIND> and <GROUP> are in capitals with _ for dots and dashes: MEMCACHED_CACHE_EXAMPLE_COM.
Every other variable is passed on to Ansible.
"""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of the epilog, and gives flags and their texts columns of their own."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=48, width=120)


class FlagParser:
    """Parses a command line of Go's style. ``run`` and ``check`` share the flags that say what to read."""

    def __init__(self) -> None:
        self._parser = argparse.ArgumentParser(
            prog="paradedb-runner", description="Run Ansible for Kubernetes resources, as watches.yaml says."
        )
        commands = self._parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        self._valued: dict[str, set[str]] = {}  # flags that take a value, by subcommand
        self._add_run(commands)
        self._add_check(commands)
        commands.add_parser("version", help="print the versions of the runner and of what it runs on")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """
        Parse. Exits with code 2 and a message when something is wrong; ``options.given`` are the flags as
        written.
        """
        plain = in_go_style(arguments, self._valued.get(arguments[0], set()) if arguments else set())
        options = self._parser.parse_args(plain)
        options.given = {argument.partition("=")[0] for argument in plain if argument.startswith("--")}
        if options.command == "run":
            _complete(self._parser, options)
        return options

    def _add_run(self, commands: Any) -> None:
        run = commands.add_parser(
            "run",
            usage="%(prog)s [FLAGS]",
            help="watch the kinds of watches.yaml and run Ansible for them",
            description="Watch the kinds of watches.yaml and run Ansible for every resource of them.",
            epilog=_ENVIRONMENT,
            formatter_class=_Formatter,
            allow_abbrev=False,
        )
        valued = self._valued["run"] = set()
        _add_common(run, valued)
        for title, add_group in _GROUPS.items():
            add_group(_Group(run.add_argument_group(title), valued))

    def _add_check(self, commands: Any) -> None:
        check = commands.add_parser(
            "check",
            usage="%(prog)s [FLAGS]",
            formatter_class=_Formatter,
            help="find what is wrong with watches.yaml, without a cluster",
            description="Find what is wrong with watches.yaml and the roles and playbooks that it names.",
            epilog="The exit code is 1 if there are errors.",
            allow_abbrev=False,
        )
        _add_common(check, self._valued.setdefault("check", set()))


class _Group:
    """One group of flags in the help."""

    def __init__(self, group: Any, valued: set[str]) -> None:
        self._group, self._valued = group, valued

    def value(
        self, name: str, default: Any, text: str, parse: Callable[[str], Any] = str, **more: Any
    ) -> None:
        """A flag with a value; its default is shown unless it is empty."""
        self._valued.add(name)
        shown = text if default in ("", (), argparse.SUPPRESS) else f"{text} (default {default})"
        if "choices" not in more:
            more = {"metavar": _METAVARS.get(parse, "TEXT")} | more
        self._group.add_argument(name, type=_telling(parse), default=default, help=shown, **more)

    def switch(self, name: str, default: Any, text: str, **more: Any) -> None:
        """``--flag``, ``--flag=true`` and ``--flag=false``."""
        shown = f"{text} (default {str(default).lower()})" if isinstance(default, bool) else text
        form: dict[str, Any] = {
            "type": _telling(boolean),
            "nargs": "?",
            "const": True,
            "metavar": "true|false",
        }
        self._group.add_argument(name, default=default, help=shown, **form, **more)


def in_go_style(arguments: Sequence[str], valued: set[str]) -> list[str]:
    """
    Rewrite what Go takes and argparse does not: ``-flag`` for ``--flag``, and values that begin with a dash.
    """
    plain: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, _ = argument.partition("=")
        if _SINGLE_DASH.fullmatch(name):
            name, argument = f"-{name}", f"-{argument}"
        if name in valued and not equals and (value := next(rest, None)) is not None:
            argument = f"{name}={value}"
        plain.append(argument)
    return plain


def boolean(text: str) -> bool:
    """A boolean as Go reads it. Raises ValueError."""
    if text.lower() not in _TRUE | _FALSE:
        raise ValueError(f'"{text}" is not true or false')
    return text.lower() in _TRUE


def _add_common(parser: Any, valued: set[str]) -> None:
    group = _Group(parser.add_argument_group("what to read"), valued)
    group.value("--watches-file", Path("watches.yaml"), "what to watch", Path)
    group.value("--ansible-roles-path", "", "sets ANSIBLE_ROLES_PATH", metavar="PATH")
    group.value("--ansible-collections-path", "", "sets ANSIBLE_COLLECTIONS_PATH", metavar="PATH")
    group.switch("--strict", False, "treat warnings about watches.yaml as errors")


def _cluster(group: _Group) -> None:
    text = "kubeconfig file; else $KUBECONFIG, the pod's account, ~/.kube/config"
    group.value("--kubeconfig", "", text, metavar="FILE")


def _passes(group: _Group) -> None:
    group.value(
        "--reconcile-period",
        "10h",
        "time between passes where the watch has none, 0s for none",
        parse_duration,
    )
    group.value(
        "--resync-period",
        "10h",
        "longest time between passes over a watch with skipUnchanged",
        parse_duration,
    )
    group.value(
        "--run-timeout", "30m", "a run that takes longer is ended and counts as failed", parse_duration
    )
    group.value(
        "--graceful-shutdown-timeout", "30s", "time that running passes get after SIGTERM", parse_duration
    )
    slots = "runs at the same time over all kinds; 0: from the CPU and memory limits of the container"
    group.value("--max-concurrent-reconciles", 0, slots, _whole)


def _ansible(group: _Group) -> None:
    group.value("--engine", "fork", "how Ansible is started", choices=["fork", "ansible-runner"])
    group.value("--ansible-verbosity", 0, "number of -v, 0 to 7", _verbosity)
    group.value("--ansible-args", (), "more arguments for ansible-playbook, in one string", _arguments)
    events = "what to log of a run: its tasks, everything that it prints too, or nothing"
    levels = ["tasks", "everything", "nothing"]
    group.value("--ansible-log-events", "tasks", events, str.lower, choices=levels)
    group.value(
        "--artifacts-dir", "", "keep artifacts of runs here; they hold the output of tasks", metavar="DIR"
    )
    group.switch("--inject-owner-ref", True, "make the resource the owner of what its run creates")
    group.value(
        "--proxy-port", 0, "port of the proxy that does so on localhost; 0 for any", _whole, metavar="PORT"
    )


def _endpoints(group: _Group) -> None:
    group.value("--metrics-bind-address", ":8443", "address of /metrics, 0 for none", _address)
    group.switch("--metrics-secure", True, "serve /metrics over TLS")
    group.switch(
        "--metrics-require-rbac", None, "ask who reads /metrics for a token (default: as --metrics-secure)"
    )
    group.value(
        "--metrics-cert-path", "", "directory of tls.crt and tls.key; else self-signed", metavar="DIR"
    )
    text = "address for metrics that playbooks publish, on this machine only, 0 for none"
    group.value("--user-metrics-bind-address", "127.0.0.1:5050", text, loopback_address)
    group.value(
        "--health-probe-bind-address", ":6789", "address of /healthz and /readyz, 0 for none", _address
    )


def _leader_election(group: _Group) -> None:
    group.switch("--leader-elect", False, "let one of several replicas work, by a Lease")
    group.value("--leader-election-id", "", f"name of the Lease; else $OPERATOR_NAME, else {DEFAULT_LEASE}")
    group.value("--leader-election-namespace", "", "its namespace; else the pod's")
    group.value(
        "--leader-elect-lease-duration", "15s", "a Lease not renewed for so long may be taken", parse_duration
    )
    group.value(
        "--leader-elect-renew-deadline", "10s", "a leader that cannot renew for so long stops", parse_duration
    )
    group.value(
        "--leader-elect-retry-period", "2s", "time between attempts to take or renew it", parse_duration
    )


def _logs(group: _Group) -> None:
    levels = ["debug", "info", "warning", "error"]
    group.value("--log-level", "info", "least level to log", choices=levels)
    zap = "the same as operator-sdk names it: debug, info, error, panic or a number"
    group.value("--zap-log-level", argparse.SUPPRESS, zap, _zap_level, dest="log_level")


def _old_and_ignored(group: _Group) -> None:
    nothing = argparse.SUPPRESS
    group.value(
        "--metrics-addr", nothing, "old name of --metrics-bind-address", _address, dest="metrics_bind_address"
    )
    group.switch("--enable-leader-election", nothing, "old name of --leader-elect", dest="leader_elect")
    for name, why in IGNORED.items():
        add = group.switch if name in {"--enable-http2", "--zap-devel"} else group.value
        add(name, nothing, f"ignored: {why}")


_GROUPS: dict[str, Callable[[_Group], None]] = {
    "the cluster": _cluster,
    "passes": _passes,
    "Ansible": _ansible,
    "endpoints": _endpoints,
    "leader election": _leader_election,
    "log": _logs,
    "accepted for the sake of existing Deployments": _old_and_ignored,
}
DEPRECATED = {
    "--metrics-addr": "--metrics-bind-address",
    "--enable-leader-election": "--leader-elect",
}
IGNORED = {
    "--leader-elect-resource-lock": "it is always a Lease",
    "--enable-http2": "HTTP/1.1 is what is served",
    "--zap-devel": "the log is JSON",
    "--zap-encoder": "the log is JSON",
    "--zap-stacktrace-level": "unexpected errors have one",
    "--zap-time-encoding": "times are ISO 8601",
}


def _complete(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """What depends on several flags."""
    if options.metrics_require_rbac is None:
        options.metrics_require_rbac = options.metrics_secure
    elif options.metrics_require_rbac and not options.metrics_secure:
        parser.error("--metrics-require-rbac needs --metrics-secure: tokens must not travel in clear")
    retry, renew, lease = (
        options.leader_elect_retry_period,
        options.leader_elect_renew_deadline,
        options.leader_elect_lease_duration,
    )
    if not 0 < retry < renew < lease:
        parser.error(
            "--leader-elect-retry-period must be shorter than --leader-elect-renew-deadline, and that shorter"
            " than --leader-elect-lease-duration"
        )
    if lease < 1:
        parser.error("--leader-elect-lease-duration must be a second or more")


def _telling[T](parse: Callable[[str], T]) -> Callable[[str], T]:
    """``parse``, with the text of its ValueError as message: argparse itself would only name the function."""

    def parsed(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parsed


def _address(text: str) -> str:
    parse_address(text)
    return text


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f'"{text}" is not a whole number')
    return int(text)


def _arguments(text: str) -> tuple[str, ...]:
    """Words as a shell splits them, without the pair of single quotes that manifests tend to carry around."""
    quoted = len(text) > 1 and text[0] == text[-1] == "'"
    return tuple(shlex.split(text[1:-1] if quoted else text))


def _verbosity(text: str) -> int:
    if text not in set("01234567"):
        raise ValueError(f'"{text}" is not a number from 0 to 7')
    return int(text)


def _zap_level(text: str) -> str:
    """zap counts debug levels upwards from 1."""
    if text.isdigit() and int(text) > 0:
        return "debug"
    if text.lower() not in _ZAP_LEVELS:
        raise ValueError(f'"{text}" is not a level')
    return _ZAP_LEVELS[text.lower()]


_METAVARS: dict[Callable[[str], Any], str] = {
    parse_duration: "DURATION",
    _address: "ADDRESS",
    loopback_address: "ADDRESS",
    _zap_level: "LEVEL",
    _verbosity: "N",
    _whole: "N",
    Path: "FILE",
}
