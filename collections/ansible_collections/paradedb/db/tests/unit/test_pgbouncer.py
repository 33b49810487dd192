"""PgBouncer's settings: what the user may set, and what comes of the spec."""

from __future__ import annotations

import configparser
from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import pgbouncer
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused

POOLING = {
    "enabled": True,
    "replicas": 2,
    "poolMode": "transaction",
    "maxClientConnections": 100,
    "defaultPoolSize": 20,
    "minPoolSize": 0,
    "reservePoolSize": 5,
}


def spec(**parameters: str) -> dict[str, Any]:
    return {"connectionPooling": {**POOLING, "parameters": parameters}}


def parsed(given: dict[str, Any]) -> configparser.RawConfigParser:
    """What PgBouncer reads: names of any case, everything behind the first "=" as it stands."""
    read = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=(";", "#"), strict=True)
    text = pgbouncer.ini(given, "orders", "prod")
    included = "%include /run/pgbouncer/start.ini\n%include /run/pgbouncer/tls.ini\n"
    assert text.endswith(included)
    read.read_string(text.removesuffix(included) + pgbouncer.start_ini(given))
    return read


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("query_wait_timeout", "0"),
        ("server_lifetime", "600"),
        ("max_db_connections", "50"),
        ("max_packet_size", "4096"),
        ("tcp_keepintvl", "32767"),
        ("server_round_robin", "1"),
        ("log_connections", "ON"),
        ("ignore_startup_parameters", "extra_float_digits, options,search_path"),
        ("ignore_startup_parameters", ""),
        ("server_reset_query", "DISCARD ALL; SET ROLE 'a=b'  # all"),
        ("server_check_query", ""),
        ("server_tls_protocols", "tlsv1.2, tlsv1.3"),
    ],
)
def test_what_may_be_set(name: str, value: str) -> None:
    pgbouncer.check_parameters(spec(**{name: value}))


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("query_wait_timeout", "10s", "not a whole number of seconds"),
        ("query_wait_timeout", "-1", "not a whole number"),
        ("query_wait_timeout", "1e3", "not a whole number"),
        ("query_wait_timeout", "٣", "not a whole number"),
        ("max_db_connections", "", "not a whole number"),
        ("max_db_connections", "9999999999", "not a whole number"),
        ("max_packet_size", "100", "at least 4096"),
        ("stats_period", "0", "at least 1"),
        ("tcp_keepcnt", "128", "at most 127"),
        ("tcp_keepidle", "32768", "at most 32767"),
        ("server_round_robin", "2", "neither 0 nor 1"),
        ("ignore_startup_parameters", "a b", "list of names"),
        ("ignore_startup_parameters", "a,", "list of names"),
        ("server_tls_protocols", "sslv3", "list of"),
        ("client_tls_protocols", "", "list of"),
        ("server_reset_query", "x\nadmin_users = app", "one line"),
        ("server_check_query", "x\x85y", "one line"),
        ("pool_mode", "session", "spec.connectionPooling.poolMode"),
        ("auth_query", "SELECT 1", "cannot be set here"),
        ("admin_users", "app", "cannot be set here"),
        ("verbose", "2", "cannot be set here"),
        ("%include", "/etc/passwd", "cannot be set here"),
        ("Query_Wait_Timeout", "1", "cannot be set here"),
    ],
)
def test_what_may_not(name: str, value: str, problem: str) -> None:
    with pytest.raises(Refused, match=problem) as refusal:
        pgbouncer.check_parameters(spec(**{name: value}))
    assert refusal.value.reason == "InvalidPoolerSetting"
    assert refusal.value.field == f"spec.connectionPooling.parameters.{name}"


def test_there_may_be_none() -> None:
    for none in ({}, {"connectionPooling": None}, {"connectionPooling": {"parameters": None}}):
        pgbouncer.check_parameters(none)


def test_every_field_arrives() -> None:
    fields = {
        "poolMode": "session",
        "maxClientConnections": 7,
        "defaultPoolSize": 8,
        "minPoolSize": 1,
        "reservePoolSize": 2,
    }
    made = parsed({"connectionPooling": fields})["pgbouncer"]
    assert made["pool_mode"] == "session"
    assert (made["max_client_conn"], made["default_pool_size"]) == ("7", "8")
    assert (made["min_pool_size"], made["reserve_pool_size"]) == ("1", "2")


def test_the_users_settings_come_last_and_once() -> None:
    made = parsed(spec(server_login_retry="3", log_connections="true", server_check_query=""))["pgbouncer"]
    assert made["server_login_retry"] == "3"
    assert made["log_connections"] == "1"
    assert made["server_check_query"] == ""


def test_what_a_pod_begins_with_stays_in_it() -> None:
    given = spec(max_prepared_statements="0", stats_period="7")
    assert pgbouncer.start_ini(given) == "pool_mode = transaction\nmax_prepared_statements = 0\n"
    assert not {"pool_mode", "max_prepared_statements"} & set(pgbouncer.ini(given, "orders", "prod").split())


def test_nobody_has_the_console_and_every_login_is_looked_up() -> None:
    made = parsed(spec())
    assert not {"admin_users", "stats_users"} & set(made["pgbouncer"])
    assert made["pgbouncer"]["auth_type"] == "scram-sha-256"
    assert made["pgbouncer"]["auth_query"] == "SELECT * FROM paradedb_pooler.lookup($1)"
    assert made["pgbouncer"]["auth_dbname"] == "postgres"
    assert list(made["users"]) == ["paradedb_pooler"]


def test_connections_go_to_the_primary_and_leave_a_standby() -> None:
    target = parsed(spec())["databases"]["*"]
    assert target.startswith("host=orders.prod.svc port=5432 connect_query='SELECT ")
    assert target.endswith("WHERE pg_catalog.pg_is_in_recovery()'")


@pytest.mark.parametrize(
    ("enforced", "verified", "named", "client", "server"),
    [
        (False, False, True, "prefer", "prefer"),
        (False, True, True, "prefer", "prefer"),
        (True, False, True, "require", "require"),
        (True, True, True, "require", "verify-full"),
        (True, False, False, "require", "require"),
        (True, True, False, "require", "verify-ca"),
    ],
)
def test_encryption(enforced: bool, verified: bool, named: bool, client: str, server: str) -> None:
    lines = dict(line.split(" = ") for line in pgbouncer.tls_ini(enforced, verified, named).splitlines())
    assert (lines["client_tls_sslmode"], lines["server_tls_sslmode"]) == (client, server)
    assert ("server_tls_ca_file" in lines) == verified
    assert lines["client_tls_ca_file"]  # PgBouncer does not start without one
