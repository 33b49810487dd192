"""Client authentication: where the user's pg_hba rules go, and whether they are rules at all.

A line that PostgreSQL cannot read does no harm on reload but stops the next start, so every line is
checked before it gets near the server. Rule: https://www.postgresql.org/docs/17/auth-pg-hba-conf.html
"""

from __future__ import annotations

import ipaddress
import re
import shlex

from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused

IDENT_MAP = "paradedb"
OS_USER = "postgres"

_TYPES = ("local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc")
_METHODS = (
    *("trust", "reject", "scram-sha-256", "md5", "password", "gss", "sspi"),
    *("ident", "peer", "ldap", "radius", "cert", "pam", "bsd"),
)
_HOST_NAME = re.compile(
    r"^\.?[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$"
)
_OPTION = re.compile(r"^[a-z_]+=.+$")


def quote(name: str) -> str:
    """A role or database name as a pg_hba token: quoted, so that no keyword or comma is read into it."""
    return '"' + name.replace('"', '""') + '"'


def rules(superuser: str, replication_user: str, rewind_user: str, user_rules: list[str]) -> list[str]:
    """All pg_hba lines in the order PostgreSQL tries them: first match wins.

    First what Patroni and the operator need (over the pod's own socket, and between the instances), then
    the user's, then the default: any role, from anywhere, with its SCRAM password.
    """
    return [
        f"local all {quote(superuser)} peer map={IDENT_MAP}",
        f"host replication {quote(replication_user)} all scram-sha-256",
        f"host all {quote(rewind_user)} all scram-sha-256",
        *[rule.strip() for rule in user_rules],
        "local all all scram-sha-256",
        "host all all all scram-sha-256",
    ]


def ident_map(superuser: str) -> list[str]:
    """pg_ident lines: the container's operating system user is the superuser on the pod's own socket."""
    return [f"{IDENT_MAP} {OS_USER} {quote(superuser)}"]


def check_rules(user_rules: list[str]) -> None:
    """Refuse the first line that PostgreSQL would not read. Raises Refused naming its position."""
    for position, rule in enumerate(user_rules):
        problem = _problem(rule)
        if problem:
            raise Refused("InvalidHBARule", f"spec.auth.pgHBA[{position}]", f"{problem}, in {rule!r}")


def _problem(rule: str) -> str | None:
    if "\n" in rule or "\r" in rule:
        return "a rule is one line"
    try:
        lexer = shlex.shlex(rule, posix=True, punctuation_chars=False)
        lexer.whitespace_split, lexer.quotes, lexer.escape = True, '"', ""
        fields = list(lexer)
    except ValueError:
        return "a quotation mark is not closed"
    if not fields or fields[0] not in _TYPES:
        return f"a rule starts with one of {', '.join(_TYPES)}"
    if any(field.startswith("@") for field in fields[1:3]):
        return "files (@name) cannot be included"
    if fields[0] == "local":
        return _method_problem(fields[3:])
    return _address_problem(fields[3:])


def _address_problem(fields: list[str]) -> str | None:
    """``fields``: all from the address on."""
    if not fields:
        return "the address is missing"
    address, rest = fields[0], fields[1:]
    if address in ("all", "samehost", "samenet"):
        return _method_problem(rest)
    try:
        if "/" in address:
            ipaddress.ip_network(address, strict=False)
            return _method_problem(rest)
        ipaddress.ip_address(address)
    except ValueError:
        if "/" not in address and _HOST_NAME.match(address):
            return _method_problem(rest)
        return f"{address!r} is not an address, a network (10.0.0.0/8) or a host name"
    try:
        ipaddress.ip_address(rest[0] if rest else "")
    except ValueError:
        return f"the address {address} needs a length ({address}/32) or a mask"
    return _method_problem(rest[1:])


def _method_problem(fields: list[str]) -> str | None:
    """``fields``: all from the method on."""
    if not fields:
        return "the authentication method is missing"
    if fields[0] not in _METHODS:
        return f"{fields[0]!r} is not an authentication method ({', '.join(_METHODS)})"
    bad = next((option for option in fields[1:] if not _OPTION.match(option)), None)
    return f"{bad!r} is not an option of the form name=value" if bad else None
