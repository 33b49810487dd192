"""PgBouncer's configuration: what the spec's fields say, then the user's further settings on top.

Names, units and defaults: https://www.pgbouncer.org/config.html. Only settings that a running PgBouncer takes
over are known here ("changeable" in its SHOW CONFIG), so that a change of them needs no new pods, except for
those of `start_ini`. A value that PgBouncer cannot read would stop its next start, so every value is checked
before it gets near.
"""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.settings import conf_quote

PORT = 5432
# Looks up the verifiers of all other roles; may do nothing else.
LOOKUP_ROLE = "paradedb_pooler"
LOOKUP_DATABASE = "postgres"

# Where the pod mounts the files; run.sh has the same paths.
USERLIST = "/etc/pgbouncer/secret/userlist.txt"
CERTIFICATE = "/etc/pgbouncer/tls"
RUN = "/run/pgbouncer"

# Between the loss of a primary and the new one a connection may reach a server that is a standby by now. It
# would be kept, and refuse every write: so it ends itself.
_LEAVE_STANDBY = (
    "SELECT pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid()) WHERE pg_catalog.pg_is_in_recovery()"
)

_SWITCH = {"0": "0", "1": "1", "off": "0", "on": "1", "no": "0", "yes": "1", "false": "0", "true": "1"}
_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")
_NAMES = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*( *, *[A-Za-z_][A-Za-z0-9_.]*)*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_PROTOCOLS = ("secure", "all", "tlsv1.2", "tlsv1.3")

# What `parameters` of the spec may set, by kind of value. Left out on purpose: `verbose` and syslog (the log
# may hold statements then), ciphers and curves (a wrong one stops PgBouncer).
_KINDS = {
    "seconds": (
        "autodb_idle_timeout cancel_wait_timeout client_idle_timeout client_login_timeout dns_max_ttl "
        "dns_nxdomain_ttl idle_transaction_timeout query_timeout query_wait_timeout reserve_pool_timeout "
        "server_check_delay server_connect_timeout server_idle_timeout server_lifetime server_login_retry "
        "stats_period tcp_keepidle tcp_keepintvl"
    ),
    "number": (
        "max_db_client_connections max_db_connections max_packet_size max_prepared_statements "
        "max_user_client_connections max_user_connections sbuf_loopcnt tcp_keepcnt tcp_user_timeout"
    ),
    "switch": (
        "application_name_add_host log_connections log_disconnections log_pooler_errors log_stats "
        "server_fast_close server_reset_query_always server_round_robin tcp_keepalive"
    ),
    "names": "ignore_startup_parameters",
    "text": "server_check_query server_reset_query",
    "protocols": "client_tls_protocols server_tls_protocols",
}
_KIND = {name: kind for kind, names in _KINDS.items() for name in names.split()}
# PgBouncer refuses less, or means something else by 0 than nothing.
_LEAST = {"max_packet_size": 4096, "stats_period": 1, "client_login_timeout": 1, "server_connect_timeout": 1}
# With more, Linux refuses the option and PgBouncer closes the connection (include/net/tcp.h, MAX_TCP_KEEP*).
_MOST = {"tcp_keepcnt": 127, "tcp_keepidle": 32767, "tcp_keepintvl": 32767}

# Settings with a field of their own in spec.connectionPooling.
_FIELDS = {
    "pool_mode": "poolMode",
    "max_client_conn": "maxClientConnections",
    "default_pool_size": "defaultPoolSize",
    "min_pool_size": "minPoolSize",
    "reserve_pool_size": "reservePoolSize",
}


# What decides who keeps track of prepared statements. Clients and servers that have some would not find them
# again if PgBouncer began or ceased to do so: what is set here is so until the pod is replaced.
_START = ("pool_mode", "max_prepared_statements")


def check_parameters(spec: dict[str, Any]) -> None:
    """Raises Refused for the first of the user's settings with which PgBouncer could not run as it has to."""
    for name, value in _parameters(spec).items():
        problem = _problem(name, str(value))
        if problem:
            raise Refused("InvalidPoolerSetting", f"spec.connectionPooling.parameters.{name}", problem)


def _problem(name: str, value: str) -> str | None:
    if name in _FIELDS:
        return f"has a field of its own: set spec.connectionPooling.{_FIELDS[name]}"
    if name not in _KIND:
        return f"cannot be set here; what can: {', '.join(sorted(_KIND))}"
    if _CONTROL.search(value):
        return "the value must be one line, without control characters"
    kind = _KIND[name]
    if kind in ("seconds", "number"):
        if not _NUMBER.fullmatch(value):
            unit = " of seconds, without a unit" if kind == "seconds" else ""
            return f"{value!r} is not a whole number{unit}"
        return _out_of_range(name, int(value))
    if kind == "switch" and value.lower() not in _SWITCH:
        return f"{value!r} is neither 0 nor 1"
    if kind == "names" and value and not _NAMES.fullmatch(value):
        return f"{value!r} is not a list of names with commas between them"
    if kind == "protocols" and not set(re.split(r" *, *", value)) <= set(_PROTOCOLS):
        return f"{value!r} is not a list of {', '.join(_PROTOCOLS)}"
    return None


def _out_of_range(name: str, number: int) -> str | None:
    if number < _LEAST.get(name, 0):
        return f"must be at least {_LEAST[name]}"
    if number > _MOST.get(name, number):
        return f"must be at most {_MOST[name]}"
    return None


def ini(spec: dict[str, Any], name: str, namespace: str) -> str:
    """pgbouncer.ini for the pooler of the ParadeDB ``name``; run.sh writes the files that it includes."""
    target = " ".join(
        (
            f"host={name}.{namespace}.svc",
            f"port={PORT}",
            f"connect_query={conf_quote(_LEAVE_STANDBY)}",
        )
    )
    sections = {
        "databases": {"*": target},
        "users": {LOOKUP_ROLE: "max_user_connections=2"},
        "pgbouncer": {name: value for name, value in _settings(spec).items() if name not in _START},
    }
    parts = ["\n".join([f"[{title}]", *_lines(section)]) for title, section in sections.items()]
    return "\n\n".join(parts) + f"\n%include {RUN}/start.ini\n%include {RUN}/tls.ini\n"


def start_ini(spec: dict[str, Any]) -> str:
    """What pgbouncer.ini includes of settings that hold for the life of a pod."""
    settings = _settings(spec)
    return "\n".join(_lines({name: settings[name] for name in _START if name in settings})) + "\n"


def _settings(spec: dict[str, Any]) -> dict[str, str]:
    given = spec.get("connectionPooling") or {}
    settings = {
        "listen_addr": "*",
        "listen_port": str(PORT),
        "listen_backlog": "1024",
        "unix_socket_dir": RUN,
        "unix_socket_mode": "0700",
        "auth_type": "scram-sha-256",
        "auth_file": USERLIST,
        "auth_user": LOOKUP_ROLE,
        "auth_dbname": LOOKUP_DATABASE,
        "auth_query": "SELECT * FROM paradedb_pooler.lookup($1)",
        # Drivers set it when they connect; since PostgreSQL 12 the server's default loses nothing.
        "ignore_startup_parameters": "extra_float_digits",
        "max_prepared_statements": "200",
        # A lost server is noticed within seconds, and the next one tried every second.
        "server_login_retry": "1",
        "server_connect_timeout": "5",
        "dns_nxdomain_ttl": "2",
        "tcp_keepidle": "5",
        "tcp_keepintvl": "3",
        "tcp_keepcnt": "3",
        "tcp_user_timeout": "15000",
        # Probes and short connections would fill the log; what a client is refused is told.
        "log_connections": "0",
        "log_disconnections": "0",
    }
    settings |= {setting: str(given[field]) for setting, field in _FIELDS.items() if field in given}
    return settings | {name: _written(name, str(value)) for name, value in _parameters(spec).items()}


def tls_ini(enforced: bool, verified: bool, named: bool) -> str:
    """The encryption of both sides, for a pod that has a certificate.

    ``enforced``: every instance serves encrypted connections, and no others are made; until then either side
    takes what it gets. ``verified``: the authority is known by which the server's certificate can be checked.
    ``named``: the certificate is sure to have the name of the primary's Service, as a user's own is not.
    """
    settings = {
        "client_tls_sslmode": "require" if enforced else "prefer",
        "client_tls_cert_file": f"{CERTIFICATE}/tls.crt",
        "client_tls_key_file": f"{CERTIFICATE}/tls.key",
        # No client needs a certificate, but without a file to check one by PgBouncer does not start.
        "client_tls_ca_file": f"{CERTIFICATE}/{'ca.crt' if verified else 'tls.crt'}",
        "server_tls_sslmode": "prefer",
    }
    if enforced:
        checked = "verify-full" if named else "verify-ca"
        settings["server_tls_sslmode"] = checked if verified else "require"
    if verified:
        settings["server_tls_ca_file"] = f"{CERTIFICATE}/ca.crt"
    return "\n".join(_lines(settings)) + "\n"


def _parameters(spec: dict[str, Any]) -> dict[str, Any]:
    return (spec.get("connectionPooling") or {}).get("parameters") or {}


def _written(name: str, value: str) -> str:
    return _SWITCH[value.lower()] if _KIND.get(name) == "switch" else value


def _lines(settings: dict[str, str]) -> list[str]:
    return [f"{name} = {value}".rstrip() for name, value in settings.items()]
