"""Client authentication: where the user's pg_hba rules go, and whether they are rules at all.

A line that PostgreSQL cannot read does no harm on reload but stops the next start, so every line is
checked before it gets near the server. Rule: https://www.postgresql.org/docs/17/auth-pg-hba-conf.html
"""

from __future__ import annotations

import ipaddress
import re

from ansible_collections.paradedb.db.plugins.module_utils.credentials import EXPORTER_USER, POOLER_USER
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused

IDENT_MAP = "paradedb"
OS_USER = "postgres"

_TYPES = ("local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc")
_METHODS = (
    *("trust", "reject", "scram-sha-256", "md5", "password"),
    *("gss", "ident", "peer", "ldap", "cert", "pam"),
)
# Where a method works. Left out: sspi, bsd (other systems), radius, oauth.
_ONLY_WITH = {
    "gss": tuple(kind for kind in _TYPES if kind != "local"),
    "peer": ("local",),
    "cert": ("hostssl",),
}

# The values of each option that PostgreSQL takes, and the methods or connection types that it goes with.
_OPTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "map": (".+", ("ident", "peer", "gss", "cert")),
    "clientcert": ("verify-ca|verify-full", ("hostssl",)),
    "clientname": ("CN|DN", ("hostssl",)),
    "include_realm": ("0|1", ("gss",)),
    "krb_realm": (".+", ("gss",)),
    "pamservice": (".+", ("pam",)),
    "pam_use_hostname": ("0|1", ("pam",)),
    "ldaptls": ("0|1", ("ldap",)),
    "ldapscheme": ("ldaps?", ("ldap",)),
    "ldapport": ("[1-9][0-9]{0,4}", ("ldap",)),
    "ldapserver": (".+", ("ldap",)),
    "ldapbinddn": (".+", ("ldap",)),
    "ldapbindpasswd": (".+", ("ldap",)),
    "ldapsearchattribute": (".+", ("ldap",)),
    "ldapsearchfilter": (".+", ("ldap",)),
    "ldapbasedn": (".+", ("ldap",)),
    "ldapprefix": (".+", ("ldap",)),
    "ldapsuffix": (".+", ("ldap",)),
}

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST_NAME = re.compile(rf"\.?{_LABEL}(\.{_LABEL})*")
# "10", "10.1" and "0x7f.1" are addresses to the system's resolver.
_NUMERIC = re.compile(r"(0[xX][0-9A-Fa-f]*|[0-9]+)(\.(0[xX][0-9A-Fa-f]*|[0-9]+))*")
_WORD = re.compile(r'[ \t,]*((?:[^ \t,"#]|"[^"]*")+)(,?)')


def quote(name: str) -> str:
    """A role or database name as a pg_hba token: quoted, so that no keyword or comma is read into it."""
    return '"' + name.replace('"', '""') + '"'


def rules(
    superuser: str,
    replication_user: str,
    rewind_user: str,
    user_rules: list[str],
    tls_enforced: bool = False,
    pooler: bool = False,
    exporter: bool = False,
) -> list[str]:
    """All pg_hba lines in the order PostgreSQL tries them: first match wins.

    First what Patroni and the operator need (over the pod's own socket, and between the instances), then
    the user's, then the default: any role, from anywhere, with its SCRAM password. ``tls_enforced``: all
    but the user's let in encrypted connections only; not before every instance has a certificate. The
    exporter, in the pod beside the server, needs none. ``pooler``, ``exporter``: whether there are any.
    """
    host = "hostssl" if tls_enforced else "host"
    return [
        f"local all {quote(superuser)} peer map={IDENT_MAP}",
        f"local replication {quote(replication_user)} peer map={IDENT_MAP}",
        f"{host} replication {quote(replication_user)} all scram-sha-256",
        f"{host} all {quote(rewind_user)} all scram-sha-256",
        *([f"{host} postgres {quote(POOLER_USER)} all scram-sha-256"] if pooler else []),
        *([f"host all {quote(EXPORTER_USER)} samehost scram-sha-256"] if exporter else []),
        *[rule.strip() for rule in user_rules],
        "local all all scram-sha-256",
        f"{host} all all all scram-sha-256",
    ]


def ident_map(superuser: str, replication_user: str) -> list[str]:
    """pg_ident lines: on the pod's own socket the container's operating system user needs no password.

    Not even for Patroni's role: a volume that outlived its Secret knows that role by another one.
    """
    return [f"{IDENT_MAP} {OS_USER} {quote(user)}" for user in (superuser, replication_user)]


def check_rules(user_rules: list[str]) -> None:
    """Refuse the first line that PostgreSQL would not read. Raises Refused naming its position."""
    for position, rule in enumerate(user_rules):
        problem = _problem(rule)
        if problem:
            raise Refused("InvalidHBARule", f"spec.auth.pgHBA[{position}]", f"{problem}, in {rule!r}")


def _problem(rule: str) -> str | None:
    """What PostgreSQL could not read in the rule, or what is not let through."""
    if _CONTROL.search(rule):
        return "a rule is one line without control characters"
    if rule.rstrip().endswith("\\"):
        return "a backslash at the end would join the next line to the rule"
    try:
        fields = _fields(rule)
    except ValueError as error:
        return str(error)
    if not fields or len(fields[0]) > 1 or fields[0][0] not in _TYPES:
        return f"a rule starts with one of {', '.join(_TYPES)}"
    if len(fields) < 3:
        return "the database or the user is missing"
    if any(word.startswith("/") for field in fields[1:3] for word in field):
        return "regular expressions (/name) are not supported"
    several = next((field for field in fields[3:] if len(field) > 1), None)
    if several:
        return f"only databases and users may be lists: {','.join(several)!r}"
    rest = [field[0] for field in fields[3:]]
    if fields[0][0] == "local":
        return _method_problem("local", rest)
    return _address_problem(fields[0][0], rest)


def _fields(rule: str) -> list[list[str]]:
    """The fields of a line, each a list of words, taken apart as PostgreSQL does.

    A quotation mark may stand anywhere in a word; a comma right after a word has the next one belong to
    the same field. Raises ValueError for comments, included files and an open quotation.
    """
    fields: list[list[str]] = []
    position, continues = 0, False
    while match := _WORD.match(rule, position):
        text = re.sub(r'"([^"]*)"', r"\1", match[1].replace('""', ""))
        if match[1].startswith("@"):
            raise ValueError("files (@name) cannot be included")
        if continues:
            fields[-1].append(text)
        else:
            fields.append([text])
        position, continues = match.end(), bool(match[2])
    rest = rule[position:].strip(" \t,")
    if rest:
        raise ValueError(
            "a comment is no part of a rule" if rest[0] == "#" else "a quotation mark is not closed"
        )
    return fields


def _address_problem(kind: str, fields: list[str]) -> str | None:
    """``fields``: all from the address on."""
    if not fields:
        return "the address is missing"
    address, rest = fields[0], fields[1:]
    if address in ("all", "samehost", "samenet"):
        return _method_problem(kind, rest)
    host, slash, length = address.partition("/")
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        if not slash and _HOST_NAME.fullmatch(address) and not _NUMERIC.fullmatch(address):
            return _method_problem(kind, rest)
        return f"{address!r} is not an address, a network (10.0.0.0/8) or a host name"
    if getattr(parsed, "scope_id", None):
        return f"{address!r}: addresses with an interface are not supported"
    if slash:
        if not re.fullmatch("[0-9]{1,3}", length) or int(length) > parsed.max_prefixlen:
            return f"{address!r} is not a network; its length is a number up to {parsed.max_prefixlen}"
        return _method_problem(kind, rest)
    try:
        masked = ipaddress.ip_address(rest[0] if rest else "").version == parsed.version
    except ValueError:
        masked = False
    if not masked:
        return f"the address {address} needs a length ({address}/{parsed.max_prefixlen}) or a mask"
    return _method_problem(kind, rest[1:])


def _method_problem(kind: str, fields: list[str]) -> str | None:
    """``fields``: all from the method on."""
    if not fields:
        return "the authentication method is missing"
    method = fields[0]
    if method not in _METHODS:
        return f"{method!r} is not one of the authentication methods {', '.join(_METHODS)}"
    if kind not in _ONLY_WITH.get(method, _TYPES):
        return f"{method} works with {', '.join(_ONLY_WITH[method])} only"
    options: dict[str, str] = {}
    for field in fields[1:]:
        name, equals, value = field.partition("=")
        if not equals:
            return f"{field!r} is not an option of the form name=value"
        if name not in _OPTIONS or not {method, kind} & set(_OPTIONS[name][1]):
            return f"{method} has no option {name!r}"
        if not re.fullmatch(_OPTIONS[name][0], value):
            return f"the option {name} cannot be {value!r}"
        options[name] = value
    return _combination_problem(method, options)


def _combination_problem(method: str, options: dict[str, str]) -> str | None:
    if method == "cert" and options.get("clientcert") == "verify-ca":
        return "cert always verifies the name too; remove clientcert"
    if method != "ldap":
        return None
    simple = {"ldapprefix", "ldapsuffix"} & set(options)
    search = {"ldapbasedn", "ldapbinddn", "ldapbindpasswd", "ldapsearchattribute", "ldapsearchfilter"} & set(
        options
    )
    if "ldapserver" not in options:
        return "ldap needs the option ldapserver"
    if simple and search:
        return f"{min(simple)} and {min(search)} exclude each other"
    if not simple and "ldapbasedn" not in options:
        return "ldap needs ldapprefix, ldapsuffix or ldapbasedn"
    if {"ldapsearchattribute", "ldapsearchfilter"} <= set(options):
        return "ldapsearchattribute and ldapsearchfilter exclude each other"
    return None
