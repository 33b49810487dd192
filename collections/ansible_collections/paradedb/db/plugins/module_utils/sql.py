"""The SQL program that brings a database to what the spec says, and reports what it found.

It runs with psql in the primary's container, over the local socket. Every name and value comes in as one
JSON text and is quoted by PostgreSQL itself (``format`` with %I and %L), never spliced into a statement.
Logging and statistics are off for its session, so that no verifier is written anywhere.
"""

from __future__ import annotations

import json
import secrets
from typing import Any

# The session of the program, whatever the user set: nothing it does is written anywhere, nothing cuts it
# short, it waits for no standby, and no function that a user made is called in place of PostgreSQL's own.
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
        "debug_print_parse=off",
        "debug_print_rewritten=off",
        "debug_print_plan=off",
        "track_activities=off",
        "pg_stat_statements.track=none",
        "pg_stat_statements.track_utility=off",
        "auto_explain.log_min_duration=-1",
        "pgaudit.log=none",
        "statement_timeout=0",
        "lock_timeout=0",
        "idle_session_timeout=0",
        "default_transaction_read_only=off",
        "standard_conforming_strings=on",
        "row_security=off",
        "synchronous_commit=local",
    )
)

_PLAN = r"""
SELECT jsonb_build_object('planned', coalesce(jsonb_agg(change), '[]')) FROM (
  SELECT format('set the password of role %s', rolname) AS change
  FROM pg_catalog.pg_authid
  JOIN jsonb_each_text(:'params'::jsonb->'verifiers') AS wanted ON wanted.key = rolname
  WHERE rolpassword IS DISTINCT FROM wanted.value
  UNION ALL
  SELECT format('create database %s', p->>'database') FROM (SELECT :'params'::jsonb AS p) AS params
  WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = p->>'database')
) AS plan;
"""

_ROLES = r"""
SELECT format('ALTER ROLE %I PASSWORD %L', rolname, wanted.value)
FROM pg_catalog.pg_authid
JOIN jsonb_each_text(:'params'::jsonb->'verifiers') AS wanted ON wanted.key = rolname
WHERE rolpassword IS DISTINCT FROM wanted.value
\gexec
"""

_DATABASE = r"""
SELECT format('CREATE DATABASE %I', p->>'database') FROM (SELECT :'params'::jsonb AS p) AS params
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = p->>'database')
\gexec
"""

# The database as a connection URI, every byte of its name percent-encoded: no character is left to quote.
_TARGET = r"""
SELECT 'postgresql:///'
  || regexp_replace(encode(convert_to(p->>'database', 'UTF8'), 'hex'), '(..)', '%\1', 'g') AS target
FROM (SELECT :'params'::jsonb AS p) AS params \gset
"""

_CONNECT = r"""
\connect -reuse-previous=on :target
"""

# One extension that fails must not keep the others from being created: each in a block of its own.
_EXTENSIONS = r"""
SELECT set_config('paradedb_operator.params', :'params', false) AS ignored \gset
DO $program$
DECLARE
  wanted text;
  outcome jsonb := '[]';
BEGIN
  FOR wanted IN
    SELECT jsonb_array_elements_text(current_setting('paradedb_operator.params')::jsonb->'extensions')
  LOOP
    CONTINUE WHEN EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = wanted);
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = wanted) THEN
      outcome := outcome || jsonb_build_object('name', wanted, 'problem', 'the image does not have it');
      CONTINUE;
    END IF;
    BEGIN
      -- Where an extension goes that has no schema of its own.
      PERFORM set_config('search_path', 'public', true);
      EXECUTE pg_catalog.format('CREATE EXTENSION %I CASCADE', wanted);
      PERFORM pg_catalog.set_config('search_path', 'pg_catalog', true);
      outcome := outcome || jsonb_build_object('name', wanted, 'created', true);
    EXCEPTION WHEN OTHERS THEN  -- the search path is back too: it belonged to the failed block
      outcome := outcome || jsonb_build_object('name', wanted, 'problem', SQLERRM);
    END;
  END LOOP;
  PERFORM set_config('paradedb_operator.outcome', outcome::text, false);
END
$program$;
SELECT jsonb_build_object('outcome', current_setting('paradedb_operator.outcome')::jsonb);
"""

# What _EXTENSIONS would do, found out without doing it; the database may not be there yet.
_FORETELL = r"""
SELECT EXISTS (SELECT FROM pg_catalog.pg_database
               WHERE datname = :'params'::jsonb->>'database') AS exists \gset
\if :exists
\connect -reuse-previous=on :target
\endif
SELECT jsonb_build_object('outcome', coalesce(jsonb_agg(
  CASE WHEN available.name IS NULL
    THEN jsonb_build_object('name', wanted, 'problem', 'the image does not have it')
    ELSE jsonb_build_object('name', wanted, 'created', true)
  END), '[]'))
FROM jsonb_array_elements_text(:'params'::jsonb->'extensions') AS wanted
LEFT JOIN pg_catalog.pg_available_extensions AS available ON available.name = wanted
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = wanted);
"""

_REPORT = r"""
SELECT jsonb_build_object(
  'version', current_setting('server_version'),
  'extensions', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', extname, 'version', extversion)
                                        ORDER BY extname), '[]')
                 FROM pg_catalog.pg_extension),
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
  'hba_problem', (SELECT format('line %s: %s', line_number, coalesce(error, 'is not a rule'))
                  FROM pg_catalog.pg_hba_file_rules WHERE type IS NULL ORDER BY line_number LIMIT 1),
  'configuration', pg_catalog.pg_read_file('patroni.dynamic.json', 0, 10000000, true)
);
"""

# Databases to update, by name: all but those that nobody can connect to.
_DATABASES = r"""
SELECT jsonb_build_object('databases', jsonb_agg(datname ORDER BY datname))
FROM pg_catalog.pg_database WHERE datallowconn AND datconnlimit <> -2;
"""

# Of the database that the session is connected to. vector comes first and what a new version requires is
# created, as pg_search since 0.25 needs it: https://docs.paradedb.com/deploy/upgrading
_UPDATE = r"""
SELECT set_config('paradedb_operator.params', :'params', false) AS ignored \gset
SET lock_timeout = '3s';
DO $program$
DECLARE
  stale record;
  needed text;
  outcome jsonb := '[]';
  said jsonb;
BEGIN
  FOR stale IN
    SELECT installed.extname AS name, installed.extversion AS installed,
           available.default_version AS available
    FROM pg_catalog.pg_extension AS installed
    LEFT JOIN pg_catalog.pg_available_extensions AS available ON available.name = installed.extname
    WHERE available.default_version IS DISTINCT FROM installed.extversion
    ORDER BY installed.extname <> 'vector', installed.extname
  LOOP
    said := jsonb_build_object(
      'name', stale.name, 'installed', stale.installed, 'available', stale.available);
    BEGIN
      IF stale.available IS NULL THEN
        RAISE EXCEPTION 'the image does not have it';
      END IF;
      IF (current_setting('paradedb_operator.params')::jsonb->>'apply')::boolean THEN
        FOR needed IN
          SELECT unnest(requires) FROM pg_catalog.pg_available_extension_versions
          WHERE name = stale.name AND version = stale.available
        LOOP
          CONTINUE WHEN EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = needed);
          PERFORM set_config('search_path', 'public', true);
          EXECUTE pg_catalog.format('CREATE EXTENSION %I CASCADE', needed);
          PERFORM pg_catalog.set_config('search_path', 'pg_catalog', true);
        END LOOP;
        EXECUTE format('ALTER EXTENSION %I UPDATE TO %L', stale.name, stale.available);
      END IF;
    EXCEPTION WHEN OTHERS THEN
      said := said || jsonb_build_object('problem', SQLERRM);
    END;
    outcome := outcome || said;
  END LOOP;
  PERFORM set_config('paradedb_operator.outcome', outcome::text, false);
END
$program$;
SELECT jsonb_build_object(current_database(), current_setting('paradedb_operator.outcome')::jsonb);
"""

_REMEMBER = r"""
SELECT format('ALTER DATABASE postgres SET paradedb_operator.extensions = %L', :'params'::jsonb->>'digest')
\gexec
"""

_END = "\n\\q\n"  # the exec protocol cannot close stdin


def program(parameters: dict[str, Any]) -> str:
    """The whole program: apply, then report."""
    return (
        _header(parameters) + _PLAN + _ROLES + _DATABASE + _TARGET + _CONNECT + _EXTENSIONS + _REPORT + _END
    )


def dry_program(parameters: dict[str, Any]) -> str:
    """What a check mode run executes: it reads what there is and tells what the program would do."""
    return _header(parameters) + _PLAN + _TARGET + _FORETELL + _REPORT + _END


def databases_program() -> str:
    """Tells the databases whose extensions can be updated."""
    return _header({}) + _DATABASES + _END


def update_program(databases: list[str], apply: bool) -> str:
    """Updates the extensions of these databases one after the other, or only says which it would.

    Ends at the first that cannot be reached.
    """
    parts = [f"\n\\connect -reuse-previous=on '{_target(name)}'\n{_UPDATE}" for name in databases]
    return _header({"apply": apply}) + "".join(parts) + _END


def _target(database: str) -> str:
    """What _TARGET makes in SQL: a URI with every byte percent-encoded."""
    return "postgresql:///" + "".join(f"%{byte:02x}" for byte in database.encode())


def remember_program(digest: str) -> str:
    """Keeps in the database itself to which extensions all of its databases were brought."""
    return _header({"digest": digest}) + _REMEMBER + _END


def documented_program(parameters: dict[str, Any]) -> str:
    """The program without secrets, as the ConfigMap shows it: a person can run it with psql -f."""
    tag = "params"
    while f"${tag}$" in json.dumps(parameters):
        tag += "_"
    return (
        _header(parameters, tag)
        + "SET search_path = pg_catalog;\n"
        + _DATABASE
        + _TARGET
        + _CONNECT
        + "SET search_path = pg_catalog;\n"
        + _EXTENSIONS
    )


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


def wanted_extensions(extensions: dict[str, Any]) -> list[str]:
    """Extensions in the order of creation; what one requires comes with it, as vector with pg_search.

    https://docs.paradedb.com/deploy/self-hosted/extension
    """
    wanted = ["vector"] if extensions.get("pgVector") else []
    wanted += ["pg_search"] if extensions.get("pgSearch", True) else []
    wanted += ["pg_analytics"] if extensions.get("pgAnalytics") else []
    wanted += ["pg_stat_statements", "uuid-ossp", *(extensions.get("additional") or [])]
    return list(dict.fromkeys(wanted))
