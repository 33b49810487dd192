"""The SQL programs that bring a database to what the spec says, and report what they found.

They run with psql in the primary's container, over the local socket. Every name and value comes in as one
JSON text and is quoted by PostgreSQL itself (``format`` with %I and %L), never spliced into a statement.
Logging and statistics are off for their sessions, so that no verifier is written anywhere. The parts about
extensions and about access are in modules of their own.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils import access_programs, extension_programs

# How sessions of these programs are known among those of the superuser.
APPLICATION = "paradedb-operator"

# The session of the program, whatever was set for the role, and by the owner of a database for that: what
# comes with the connection wins. Nothing it does is written anywhere, it waits for no standby and not long
# for anybody's lock, it acts as nobody else, and no function that a user made is called in place of
# PostgreSQL's own. A statement ends before psql is ended, so that no backend goes on without it.
SESSION_OPTIONS = " ".join(
    f"-c {setting}"
    for setting in (
        "search_path=pg_catalog",
        "client_encoding=UTF8",
        "client_min_messages=warning",
        "log_statement=none",
        "log_min_duration_statement=-1",
        "log_min_duration_sample=-1",
        "log_min_error_statement=panic",
        "log_duration=off",
        "log_transaction_sample_rate=0",
        "log_error_verbosity=terse",  # no context, which has the statement
        "debug_print_parse=off",
        "debug_print_rewritten=off",
        "debug_print_plan=off",
        "track_activities=off",
        "pg_stat_statements.track=none",
        "pg_stat_statements.track_utility=off",
        "auto_explain.log_min_duration=-1",
        "pgaudit.log=none",
        f"application_name={APPLICATION}",
        "statement_timeout=90s",
        "lock_timeout=3s",
        "idle_session_timeout=0",
        "idle_in_transaction_session_timeout=0",
        "default_transaction_read_only=off",
        "standard_conforming_strings=on",
        "row_security=off",
        "role=none",
        "local_preload_libraries=",
        "jit=off",  # the planner thinks much of small queries over JSON
        "max_parallel_workers_per_gather=0",
        "synchronous_commit=local",
    )
)

# At the start of each session: what cannot be in the options, because not every version of PostgreSQL has it.
# First, and in the shortest of transactions, what would end the others.
_SESSION = r"""
SELECT :SERVER_VERSION_NUM >= 170000 AS limits_transactions \gset
\if :limits_transactions
SET transaction_timeout = 0;
\endif
SELECT count(set_config(name, coalesce(boot_val, ''), false)) AS ignored FROM pg_catalog.pg_settings
WHERE context = 'user' AND source IN ('global', 'database', 'user', 'database user') \gset
"""

# What a pass before this one left running, as when the operator was ended, must not bring back its spec.
_ALONE = r"""
SELECT count(pg_terminate_backend(pid, 5000)) AS ignored FROM pg_catalog.pg_stat_activity
WHERE application_name = '@application@' AND usename = current_user AND pid <> pg_backend_pid() \gset
""".replace("@application@", APPLICATION)

# Roles that are there before the operator comes: the superuser, Patroni's.
_OUTDATED = r"""
SELECT jsonb_build_object('passwords', coalesce(jsonb_agg(rolname ORDER BY rolname), '[]'))
FROM pg_catalog.pg_authid
JOIN jsonb_each_text(:'params'::jsonb->'verifiers') AS wanted ON wanted.key = rolname
WHERE rolpassword IS DISTINCT FROM wanted.value;
"""

_PASSWORDS = r"""
SELECT format('ALTER ROLE %I PASSWORD %L', rolname, wanted.value)
FROM pg_catalog.pg_authid
JOIN jsonb_each_text(:'params'::jsonb->'verifiers') AS wanted ON wanted.key = rolname
WHERE rolpassword IS DISTINCT FROM wanted.value
\gexec
"""

# One of the databases with extensions, by its place in ``contents``. The target is a connection URI with
# every byte of the name percent-encoded: no character is left to quote.
_CONTENT = r"""
SELECT 'postgresql:///'
         || regexp_replace(encode(convert_to(content->>0, 'UTF8'), 'hex'), '(..)', '%\1', 'g') AS target,
       content->1 AS wanted
FROM (SELECT :'params'::jsonb->'contents'->@place@ AS content) AS contents \gset
"""

# Nothing is to be done where nobody can connect, or would wait for it as long as a lock on the catalog lasts,
# which no timeout ends.
_LOOK = r"""
SELECT coalesce(obstacle, CASE WHEN oid IS NULL THEN 'there is no such database' ELSE '' END) AS obstacle,
       oid IS NOT NULL AND obstacle IS NULL AS reachable,
       obstacle IS NOT NULL AS obstructed
FROM (SELECT :'params'::jsonb->'contents'->@place@->>0 AS name) AS named
LEFT JOIN (SELECT oid, datname, @obstacle@ AS obstacle FROM pg_catalog.pg_database) AS d
  ON datname = name \gset
""".replace("@obstacle@", extension_programs.OBSTACLE)

_CONNECT = r"""
\connect -reuse-previous=on :target
"""

_REPORT = r"""
SELECT jsonb_build_object(
  'version', current_setting('server_version'),
  'databases', (SELECT coalesce(jsonb_object_agg(datname, oid::bigint), '{}') FROM pg_catalog.pg_database
                WHERE datallowconn AND datconnlimit <> -2 AND :'params'::jsonb->'named' ? datname::text),
  'invalid', (SELECT coalesce(jsonb_agg(datname ORDER BY datname), '[]') FROM pg_catalog.pg_database
              WHERE datconnlimit = -2 AND :'params'::jsonb->'create' ? datname::text),
  'pending_restart',
    EXISTS (SELECT FROM pg_catalog.pg_settings WHERE pending_restart)
    OR EXISTS (SELECT FROM pg_catalog.pg_settings AS s
               JOIN jsonb_each_text(:'params'::jsonb->'command_line') AS wanted ON wanted.key = s.name
               WHERE s.setting <> wanted.value),
  'search_version', coalesce((SELECT default_version FROM pg_catalog.pg_available_extensions
                              WHERE name = 'pg_search'), ''),
  'oldest_wal', (SELECT ('x' || substr(first, 1, 8))::bit(32)::bigint * 4294967296
                        + ('x' || substr(first, 9, 8))::bit(32)::bigint
                          * pg_size_bytes(current_setting('wal_segment_size'))
                 FROM (SELECT min(substr(name, 9)) AS first FROM pg_catalog.pg_ls_waldir()
                       WHERE name ~ '^[0-9A-F]{24}$') AS segments),
  'available_digest', (SELECT encode(sha256(convert_to(
                         coalesce(string_agg(name || '=' || default_version, ' ' ORDER BY name), ''),
                         'UTF8')), 'hex')
                       FROM pg_catalog.pg_available_extensions),
  'updated_digest', (SELECT split_part(setting, '=', 2)
                     FROM pg_catalog.pg_db_role_setting, unnest(setconfig) AS setting
                     WHERE setrole = 0 AND starts_with(setting, 'paradedb_operator.extensions=')
                       AND setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = 'postgres')),
  'created_digest', (SELECT split_part(setting, '=', 2)
                     FROM pg_catalog.pg_db_role_setting, unnest(setconfig) AS setting
                     WHERE setrole = 0 AND starts_with(setting, 'paradedb_operator.databases=')
                       AND setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = 'postgres')),
  'hba_problem', (SELECT format('line %s: %s', line_number, coalesce(error, 'is not a rule'))
                  FROM pg_catalog.pg_hba_file_rules WHERE type IS NULL ORDER BY line_number LIMIT 1),
  'configuration', pg_catalog.pg_read_file('patroni.dynamic.json', 0, 10000000, true)
);
"""

_END = "\n\\q\n"  # the exec protocol cannot close stdin


def program(parameters: dict[str, Any], application: bool = True) -> str:
    """The whole program: apply, or with ``apply`` false tell what that would do; then report.

    ``application``: with the application's database, which is the first of ``contents``; without, all that
    needs no connection to that.
    """
    parts = [_SESSION, access_programs.MISSING_DATABASES, _OUTDATED]
    if parameters["apply"]:
        parts.insert(1, _ALONE)
        parts += [_PASSWORDS, access_programs.create_databases(len(parameters["create"]))]
    else:
        parts.append(access_programs.FORETELL_DATABASES)
    parts += [access_programs.CONCERNED, "\\if :concerned\n", access_programs.BRING_ABOUT]
    if parameters["apply"]:
        parts.append(access_programs.END_SESSIONS)
    parts.append("\\endif\n")
    parts.append(_REPORT)
    if application:
        parts += _contents(0, parameters["apply"], "outcome", extension_programs.INSTALLED)
    return _header(parameters) + "".join(parts) + _END


def contents_program(parameters: dict[str, Any], places: Sequence[int]) -> str:
    """Creates the extensions of some of ``contents``, or tells which it would; ends at one out of reach."""
    parts = [
        part
        for place in places
        for part in _contents(
            place, parameters["apply"], str(place), extension_programs.PLACED.replace("@place@", str(place))
        )
    ]
    return _header(parameters) + "".join(parts) + _END


def _contents(place: int, apply: bool, key: str, tell: str) -> list[str]:
    """The extensions of a database, or what keeps the session out, told under ``key``.

    What is not there yet is foretold from wherever the session is.
    """
    look = (_CONTENT + _LOOK).replace("@place@", str(place))
    go = ["\\if :reachable\n", _CONNECT, _SESSION]
    closed = extension_programs.CLOSED.replace("@key@", key)
    if apply:
        return [look, *go, extension_programs.CREATE, tell, "\\else\n", closed, "\\endif\n"]
    foretell = [*go, "\\endif\n", extension_programs.FORETELL, tell]
    return [look, "\\if :obstructed\n", closed, "\\else\n", *foretell, "\\endif\n"]


def databases_program() -> str:
    """Tells the databases whose extensions can be updated."""
    return _header({}) + extension_programs.DATABASES + _END


def update_program(databases: Sequence[str], apply: bool) -> str:
    """Updates the extensions of these databases one after the other, or only says which it would.

    Ends at the first that cannot be reached.
    """
    parts = [_connect(name) + extension_programs.UPDATE for name in databases]
    return _header({"apply": apply}) + "".join(parts) + _END


def _connect(database: str) -> str:
    """Go on in a database: in a URI with every byte percent-encoded, as _CONTENT makes it."""
    target = "postgresql:///" + "".join(f"%{byte:02x}" for byte in database.encode())
    return f"\n\\connect -reuse-previous=on '{target}'\n{_SESSION}"


def remember_program(key: str, digest: str) -> str:
    """Keeps in the database itself what all of its databases were brought to."""
    return _header({"key": key, "digest": digest}) + extension_programs.REMEMBER + _END


def documented_program(parameters: dict[str, Any]) -> str:
    """What the databases are made of, without roles and secrets, as the ConfigMap shows it.

    A person can run it with psql -f.
    """
    tag = "params"
    while f"${tag}$" in json.dumps(parameters):
        tag += "_"
    own_functions = "SET search_path = pg_catalog;\n"
    parts = [own_functions, access_programs.MISSING_DATABASES, access_programs.CREATE_DATABASES]
    for place in range(len(parameters["contents"])):
        parts += [_CONTENT.replace("@place@", str(place)), _CONNECT, own_functions, extension_programs.CREATE]
    return _header(parameters, tag) + "".join(parts)


def _header(parameters: dict[str, Any], tag: str = "") -> str:
    """Hand over the parameters; a random tag ends the quotation, so that no value can end it."""
    quote = f"${tag or 'p' + secrets.token_hex(8)}$"
    text = json.dumps(parameters, sort_keys=True)
    settings = "\\set ON_ERROR_STOP on\n\\set QUIET on\n\\set VERBOSITY terse\n"
    return f"{settings}SELECT {quote}{text}{quote} AS params \\gset\n"


def report(output: str) -> dict[str, Any]:
    """The JSON objects which the program printed, merged. Raises ValueError for anything else."""
    merged: dict[str, Any] = {}
    for line in output.splitlines():
        if line.strip():
            merged.update(json.loads(line))
    return merged
