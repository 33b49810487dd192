"""The SQL program, run as the module runs it: psql on a real server, input over a pipe that stays open."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import database, extension_programs, patroni, sql
from ansible_collections.paradedb.db.plugins.module_utils.kube import ExecFailed, KubeError
from ansible_collections.paradedb.db.plugins.module_utils.scram import verifier

from .fake_kube import FakeKube, pod
from .private_postgres import PrivatePostgres

HOSTILE_NAMES = [
    "with \"double\" and 'single' quotes",
    "back\\slash\\",
    "x' host=/nowhere user='evil",
    "dbname=template1",
    "postgresql://nowhere/x",
    "semi;colon--",
    "$params$ AS x; \\q",
    "$$ $program$ $params0$",
    ":'params' :params",
    "%I%L%s%% {{ 7*7 }}",
    "\n\\! touch /tmp/paradedb-unit-escaped\n",
    "UPPER select \u00fc\U0001f418",
]


def secret(name: str, **values: str) -> dict[str, Any]:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


def spec(name: str = "app", *extensions: str, **more: Any) -> dict[str, Any]:
    return {
        "auth": {"database": name},
        "extensions": {"pgSearch": False, "additional": list(extensions)},
        "storage": {"size": "1Gi"},
        **more,
    }


@pytest.fixture
def kube(postgres: PrivatePostgres) -> Iterator[FakeKube]:
    """A cluster whose one pod is the private server, which is as new again afterwards."""
    cluster = FakeKube(
        pod("orders-0", role="primary"),
        secret("orders-credentials", username="postgres", password="pa'ss\\word"),
        secret("orders-patroni", **{"replication-password": "r-secret", "rewind-password": "w-secret"}),
    )

    def run(command: list[str], stdin: str) -> str:
        code, output, errors = postgres.execute(command, stdin)
        if code != 0:
            raise ExecFailed(code, errors)
        return output

    cluster.run = run
    yield cluster
    clean = (
        "ALTER ROLE postgres PASSWORD NULL;\nALTER DATABASE postgres RESET ALL;\n"
        "SELECT format('DROP DATABASE %I (FORCE)', datname) FROM pg_database"
        " WHERE NOT datistemplate AND datname <> 'postgres'\n\\gexec\n\\q\n"
    )
    assert postgres.execute(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-"], clean)[0] == 0


def reconcile(kube: FakeKube, wanted: dict[str, Any], check_mode: bool = False) -> dict[str, Any]:
    return database.reconcile(kube, "prod", "orders", wanted, "uid-1", check_mode)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
def test_any_name_is_created_once(kube: FakeKube, postgres: PrivatePostgres, name: str) -> None:
    wanted = spec(name, "hstore")
    first, second = reconcile(kube, wanted), reconcile(kube, wanted)
    assert first["changed"]
    assert f"create database {name}" in first["changes"]
    assert "create extension hstore" in first["changes"]
    assert second["changed"] is False
    assert second["changes"] == []
    found = postgres.query("SELECT json_agg(datname) FROM pg_database WHERE NOT datistemplate")
    assert sorted(json.loads(found)) == sorted({"postgres", name})
    assert not (postgres.directory.parent / "paradedb-unit-escaped").exists()


def test_extensions_are_in_the_application_database_only(kube: FakeKube, postgres: PrivatePostgres) -> None:
    found = reconcile(kube, spec("app", "earthdistance"))
    assert {"earthdistance", "cube", "uuid-ossp", "pg_stat_statements", "plpgsql"} == {
        item["name"] for item in found["extensions"]
    }
    assert all(item["version"] for item in found["extensions"])
    assert found["missing_extensions"] == []
    assert postgres.query("SELECT string_agg(extname, ',') FROM pg_extension") == "plpgsql"


def test_an_extension_that_the_image_lacks_is_reported_and_the_rest_created(kube: FakeKube) -> None:
    wanted = spec("app", "hstore", "no_such", 'qu"ote', "x'; DROP TABLE t; --")
    first, second = reconcile(kube, wanted), reconcile(kube, wanted)
    expected = [
        {"name": name, "problem": "the image does not have it"}
        for name in ("no_such", 'qu"ote', "x'; DROP TABLE t; --")
    ]
    assert first["missing_extensions"] == second["missing_extensions"] == expected
    assert "hstore" in [item["name"] for item in first["extensions"]]
    assert second["changed"] is False


def test_an_extension_that_fails_is_reported_with_postgresqls_word(
    kube: FakeKube, postgres: PrivatePostgres
) -> None:
    reconcile(kube, spec("app"))
    postgres.query("CREATE TYPE public.hstore AS (a int)", "app")
    found = reconcile(kube, spec("app", "hstore", "citext"))
    assert found["missing_extensions"] == [{"name": "hstore", "problem": 'type "hstore" already exists'}]
    assert "citext" in [item["name"] for item in found["extensions"]]


def test_extension_objects_are_where_everybody_finds_them(kube: FakeKube, postgres: PrivatePostgres) -> None:
    reconcile(kube, spec("app", "hstore"))
    schema = "SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'hstore'"
    assert postgres.query(schema, "app") == "public"
    assert postgres.query("SELECT 'a=>1'::hstore -> 'a'", "app") == "1"


def test_order_of_creation_puts_vector_before_pg_search() -> None:
    everything = {
        "pgSearch": True,
        "pgVector": True,
        "pgAnalytics": True,
        "additional": ["hstore", "uuid-ossp"],
    }
    assert extension_programs.wanted_extensions(everything) == [
        *("vector", "pg_search", "pg_analytics", "pg_stat_statements", "uuid-ossp", "hstore")
    ]
    assert extension_programs.wanted_extensions({}) == ["pg_search", "pg_stat_statements", "uuid-ossp"]
    assert extension_programs.wanted_extensions({"pgSearch": False, "additional": None}) == [
        "pg_stat_statements",
        "uuid-ossp",
    ]


def test_all_passwords_are_set_as_verifiers(kube: FakeKube, postgres: PrivatePostgres) -> None:
    postgres.query("CREATE ROLE paradedb_replication LOGIN REPLICATION PASSWORD 'old'")
    try:
        first, second = reconcile(kube, spec()), reconcile(kube, spec())
        stored = json.loads(
            postgres.query("SELECT json_object_agg(rolname, rolpassword) FROM pg_authid WHERE rolcanlogin")
        )
    finally:
        postgres.query("DROP ROLE paradedb_replication")
    assert stored["postgres"] == verifier("pa'ss\\word", "uid-1/postgres")
    assert stored["paradedb_replication"] == verifier("r-secret", "uid-1/paradedb_replication")
    assert "set the password of role postgres" in first["changes"]
    assert "set the password of role paradedb_replication" in first["changes"]
    assert second["changes"] == []


def test_no_secret_is_written_anywhere(kube: FakeKube, postgres: PrivatePostgres) -> None:
    """The server logs all it can log, with auto_explain and pg_stat_statements loaded."""
    reconcile(kube, spec("app", "pg_stat_statements"))
    reconcile(kube, spec("app", "no_such", "hstore"))
    postgres.query("SELECT 'this statement is logged'")
    log = postgres.log.read_text(errors="replace")
    assert "this statement is logged" in log
    made = verifier("pa'ss\\word", "uid-1/postgres")
    for part in (made, made.split("$")[2].split(":")[0], made.split(":")[-1], "pa'ss"):
        assert part not in log
    kept = "SELECT count(*), count(*) FILTER (WHERE query LIKE '%SCRAM-SHA-256%') FROM pg_stat_statements"
    every, ours = postgres.query(kept, "app").split("|")
    assert int(every) > 0
    assert ours == "0"


def test_no_secret_is_in_a_command_line(kube: FakeKube) -> None:
    reconcile(kube, spec())
    made = verifier("pa'ss\\word", "uid-1/postgres")
    assert made in kube.commands[0][2]
    for _pod, command, stdin in kube.commands:
        assert not any("SCRAM" in part or "pa'ss" in part for part in command)
        assert "pa'ss" not in stdin


def test_an_error_tells_no_secret(kube: FakeKube) -> None:
    with pytest.raises(ExecFailed) as caught:
        reconcile(kube, spec("nul\0byte"))
    assert "SCRAM" not in caught.value.stderr
    assert verifier("pa'ss\\word", "uid-1/postgres")[-20:] not in caught.value.stderr


@pytest.mark.parametrize(
    "settings",
    [
        ["statement_timeout = '1ms'", "lock_timeout = '1ms'", "transaction_timeout = '20ms'"],
        ["default_transaction_read_only = on", "default_transaction_isolation = 'serializable'"],
        ["standard_conforming_strings = off", "quote_all_identifiers = on", "escape_string_warning = on"],
        ["client_encoding = 'latin1'", "client_min_messages = debug5", "plpgsql.extra_errors = 'all'"],
        ["search_path = ''"],
        ["search_path = public, pg_catalog"],
    ],
)
def test_no_setting_of_the_user_breaks_the_program(
    kube: FakeKube, postgres: PrivatePostgres, settings: list[str]
) -> None:
    name = "\u00fc\\'b"
    known = json.loads(postgres.query("SELECT json_agg(name) FROM pg_settings"))
    usable = [setting for setting in settings if "." in setting or setting.split()[0] in known]
    postgres.query("; ".join(f"ALTER ROLE postgres SET {setting}" for setting in usable))
    try:
        first, second = reconcile(kube, spec(name, "hstore")), reconcile(kube, spec(name, "hstore"))
    finally:
        options = (
            "-c default_transaction_read_only=off -c statement_timeout=0 -c standard_conforming_strings=on"
        )
        reset = ["psql", "-X", "-q", "-c", "ALTER ROLE postgres RESET ALL"]
        assert postgres.execute(["env", f"PGOPTIONS={options}", *reset])[0] == 0
    assert f"create database {name}" in first["changes"]
    assert "create extension hstore" in first["changes"]
    assert second["changed"] is False


def test_functions_of_others_are_never_called(kube: FakeKube, postgres: PrivatePostgres) -> None:
    """The owner of the database, no superuser, puts namesakes of all functions we call into its schemas."""
    reconcile(kube, spec("app"))
    postgres.query("CREATE ROLE mallory LOGIN")
    try:
        postgres.query("ALTER DATABASE app OWNER TO mallory")
        postgres.query("ALTER SCHEMA public OWNER TO mallory", "app")
        for declared in (
            *("format(text)", "format(text, text)", "format(text, text, text)", "format(text, name)"),
            *("format(text, int, text)", "jsonb_build_object(text, text)", "jsonb_build_object(text, jsonb)"),
            *("jsonb_build_object(text, text, text, text)", "jsonb_build_object(text, text, text, bool)"),
            *("jsonb_build_object(text, name, text, text)", "jsonb_build_object(text, text, text, jsonb)"),
            *("jsonb_array_elements_text(json)", "set_config(text, text, text)", "current_setting(name)"),
            *(
                "replace(name, text, text)",
                "jsonb_build_object(text,text,text,jsonb,text,bool,text,text,text,text)",
            ),
        ):
            postgres.query(
                f"CREATE FUNCTION public.{declared} RETURNS text LANGUAGE plpgsql AS $$"
                " BEGIN RAISE EXCEPTION 'captured as %', current_user; END $$",
                "app",
                "mallory",
            )
        for path in ("DEFAULT", "public, pg_catalog"):
            postgres.query(f"ALTER DATABASE app SET search_path TO {path}", "app", "mallory")
            found = reconcile(kube, spec("app", "hstore", "no_such"))
            assert [item["problem"] for item in found["missing_extensions"]] == ["the image does not have it"]
    finally:
        postgres.query("ALTER DATABASE app OWNER TO postgres; ALTER DATABASE app RESET ALL")
        postgres.query("REASSIGN OWNED BY mallory TO postgres; DROP OWNED BY mallory", "app")
        postgres.query("DROP ROLE mallory")


def test_check_mode_foretells_and_changes_nothing(kube: FakeKube, postgres: PrivatePostgres) -> None:
    found = reconcile(kube, spec("app", "hstore"), check_mode=True)
    assert found["changed"]
    assert found["changes"][:2] == ["set the password of role postgres", "create database app"]
    assert "create extension hstore" in found["changes"]
    assert postgres.query("SELECT count(*) FROM pg_database WHERE datname = 'app'") == "0"
    assert postgres.query("SELECT rolpassword IS NULL FROM pg_authid WHERE rolname = 'postgres'") == "t"


def test_report_tells_what_runs(kube: FakeKube, postgres: PrivatePostgres) -> None:
    wanted = spec(postgresConfig={"work_mem": "5MB", "max_connections": "30"})
    file = postgres.data / "patroni.dynamic.json"
    before = reconcile(kube, wanted)
    file.write_text(patroni.dump(patroni.dynamic_configuration(wanted, "postgres")))
    file.chmod(0o644)
    after = reconcile(kube, wanted)
    other = reconcile(kube, spec(postgresConfig={"max_connections": "31"}))
    file.unlink()
    assert before["version"].split(".")[0] == str(postgres.version)
    assert (before["settings_applied"], after["settings_applied"], other["settings_applied"]) == (
        False,
        True,
        False,
    )
    assert (before["pending_restart"], other["pending_restart"]) == (False, True)
    assert before["hba_problem"] is None
    assert before["connected"] is True


@pytest.mark.parametrize("name", ["Max_Connections", "MAX_CONNECTIONS"])
def test_case_of_a_setting_does_not_matter(kube: FakeKube, name: str) -> None:
    assert reconcile(kube, spec(postgresConfig={name: "31"}))["pending_restart"] is True


def test_a_setting_that_waits_for_a_restart_is_seen(kube: FakeKube, postgres: PrivatePostgres) -> None:
    postgres.query("ALTER SYSTEM SET max_prepared_transactions = 7")
    postgres.query("SELECT pg_reload_conf(), pg_sleep(0.3)")
    try:
        assert reconcile(kube, spec())["pending_restart"] is True
    finally:
        postgres.query("ALTER SYSTEM RESET ALL")
        postgres.query("SELECT pg_reload_conf(), pg_sleep(0.3)")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("local all all nonsense", 'line 2: invalid authentication method "nonsense"'),
        ("hostssl all all all md5 clientcert=1", "line 2"),
        ("hostssl all all all md5", None),
    ],
)
def test_a_rule_that_was_not_understood_is_seen(
    kube: FakeKube, postgres: PrivatePostgres, line: str, problem: str | None
) -> None:
    postgres.write_hba(["local all all trust", line])
    try:
        found = reconcile(kube, spec())["hba_problem"]
    finally:
        postgres.write_hba(["local all all trust"])
    if problem is None:
        assert found is None
    else:
        assert found.startswith(problem)


@pytest.mark.parametrize("pods", [[], [pod("orders-0")], [pod("orders-0", ready=False, role="primary")]])
def test_without_a_ready_primary_nothing_is_tried(pods: list[dict[str, Any]]) -> None:
    cluster = FakeKube(*pods)
    assert reconcile(cluster, spec()) == {"changed": False, "connected": False}
    assert cluster.commands == []


@pytest.mark.parametrize(
    "error",
    [
        ExecFailed(2, "psql: error: FATAL:  the database system is starting up"),
        ExecFailed(2, "psql: error: connection to server on socket failed: No such file or directory"),
        ExecFailed(3, "ERROR:  cannot execute ALTER ROLE in a read-only transaction"),
        KubeError(0, "exec in pod orders-0: Handshake status 404 Not Found"),
    ],
    ids=str,
)
def test_a_primary_that_is_away_for_a_moment_is_none(kube: FakeKube, error: Exception) -> None:
    kube.run = Mock(side_effect=error)
    assert reconcile(kube, spec()) == {"changed": False, "connected": False}


@pytest.mark.parametrize(
    "error",
    [
        ExecFailed(2, 'psql: error: FATAL:  Peer authentication failed for user "postgres"'),
        ExecFailed(3, "ERROR:  permission denied"),
        KubeError(0, "exec in pod orders-0: Handshake status 403 Forbidden"),
        KubeError(0, "exec in pod orders-0: the command took longer than 120 s"),
    ],
    ids=str,
)
def test_what_does_not_pass_is_told(kube: FakeKube, error: Exception) -> None:
    kube.run = Mock(side_effect=error)
    with pytest.raises(type(error)):
        reconcile(kube, spec())


def test_a_secret_without_a_password_sets_none(postgres: PrivatePostgres, kube: FakeKube) -> None:
    del kube.objects["Secret", "prod", "orders-credentials"]
    reconcile(kube, spec())
    assert postgres.query("SELECT rolpassword IS NULL FROM pg_authid WHERE rolname = 'postgres'") == "t"


# The program as the ConfigMap shows it


@pytest.mark.parametrize("name", ["plain", *HOSTILE_NAMES[:3], *HOSTILE_NAMES[6:8]], ids=ascii)
def test_documented_program_runs_with_psql(kube: FakeKube, postgres: PrivatePostgres, name: str) -> None:
    text = sql.documented_program(database.program_parameters(spec(name, "hstore")))
    assert "SCRAM" not in text
    assert text == sql.documented_program(database.program_parameters(spec(name, "hstore")))
    file = postgres.directory / "init.sql"
    file.write_text(text)
    file.chmod(0o644)
    for _time in range(2):
        code, _output, errors = postgres.execute(["psql", "-X", "-f", str(file)])
        assert (code, errors) == (0, "")
    assert postgres.query("SELECT count(*) FROM pg_database WHERE NOT datistemplate") == "2"
    assert not (postgres.directory.parent / "paradedb-unit-escaped").exists()


def test_documented_program_makes_the_other_databases_too(kube: FakeKube, postgres: PrivatePostgres) -> None:
    wanted = spec("app", databases=[{"name": HOSTILE_NAMES[0], "extensions": ["hstore"]}, {"name": "plain"}])
    file = postgres.directory / "init.sql"
    file.write_text(sql.documented_program(database.program_parameters(wanted)))
    file.chmod(0o644)
    assert postgres.execute(["psql", "-X", "-f", str(file)]) == (0, "", "")
    found = postgres.query("SELECT json_agg(datname) FROM pg_database WHERE NOT datistemplate")
    assert sorted(json.loads(found)) == sorted(["postgres", "app", HOSTILE_NAMES[0], "plain"])
    target = "postgresql:///" + "".join(f"%{byte:02x}" for byte in HOSTILE_NAMES[0].encode())
    assert postgres.query("SELECT count(*) FROM pg_extension WHERE extname = 'hstore'", target) == "1"


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
@pytest.mark.parametrize("make", [sql.program, sql.documented_program])
def test_no_parameter_ends_its_quotation(make: Any, name: str) -> None:
    parameters = {
        "apply": True,
        "create": [name],
        "contents": [[name, [f"${name}$"]]],
        "command_line": {name: name},
    }
    text = make(parameters)
    opening = re.search(r"^SELECT (\$\w+\$)", text, re.MULTILINE)
    assert opening
    quoted, _rest = text[opening.end() :].split(opening[1], 1)
    assert json.loads(quoted) == parameters


def test_report_merges_lines_and_refuses_anything_else() -> None:
    assert sql.report('{"a": 1}\n\n{"b": null}\n') == {"a": 1, "b": None}
    assert sql.report("") == {}
    with pytest.raises(ValueError, match="Expecting"):
        sql.report("NOTICE: something\n")
