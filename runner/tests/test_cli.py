"""The command line: flags in all their forms, the environment, and what is said before anything starts."""

import json
from pathlib import Path
from typing import Any

import pytest
from paradedb_runner import cli
from paradedb_runner.flags import FlagParser
from paradedb_runner.settings import Settings


def settings(*arguments: str, **environ: str) -> Settings:
    return cli.settings_from(FlagParser().parse(["run", *arguments]), environ)


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A working directory with nothing in it, and an environment that does not matter."""
    monkeypatch.chdir(tmp_path)
    for name in ("ANSIBLE_ROLES_PATH", "ANSIBLE_COLLECTIONS_PATH", "OPERATOR_NAME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_flags_as_operator_sdk_names_them():
    found = settings(
        "--watches-file=w.yaml",
        "--leader-elect",
        "--leader-election-id=x",
        "--leader-election-namespace=y",
        "--leader-elect-lease-duration=30s",
        "--leader-elect-renew-deadline=20s",
        "--max-concurrent-reconciles=7",
        "--reconcile-period=1h",
        "--ansible-verbosity=3",
        "--ansible-args='--vault-password-file /p --diff'",
        "--ansible-log-events=Nothing",
        "--inject-owner-ref=false",
        "--proxy-port=8888",
        "--metrics-bind-address=127.0.0.1:1",
        "--metrics-secure=false",
        "--health-probe-bind-address=:2",
        "--graceful-shutdown-timeout=5s",
    )
    assert found.watches_file == Path("w.yaml")
    assert (found.leader_elect, found.leader_election_id, found.leader_election_namespace) == (True, "x", "y")
    assert (found.lease_duration, found.lease_renew_deadline) == (30, 20)
    assert (found.run_slots, found.ansible_verbosity) == (7, 3)
    assert (found.reconcile_period, found.graceful_shutdown_timeout) == (3600, 5)
    assert found.ansible_arguments == ("--vault-password-file", "/p", "--diff")
    assert found.ansible_log_events == "nothing"
    assert (found.inject_owner_ref, found.proxy_port) == (False, 8888)
    assert (found.metrics_address, found.health_address) == ("127.0.0.1:1", ":2")
    assert not found.metrics_secure


def test_defaults_are_operator_sdk_s_but_where_ours_are_safer():
    found = settings()
    assert found.watches_file == Path("watches.yaml")
    assert (found.metrics_address, found.health_address) == (":8443", ":6789")
    assert found.user_metrics_address == "127.0.0.1:5050"
    assert (found.reconcile_period, found.resync_period) == (36000, 36000)
    assert (found.run_timeout, found.graceful_shutdown_timeout) == (1800, 30)
    assert (found.lease_duration, found.lease_renew_deadline, found.lease_retry_period) == (15, 10, 2)
    assert (found.ansible_log_events, found.log_output) == ("tasks", False)
    assert found.inject_owner_ref
    assert not found.leader_elect
    assert found.metrics_secure, "operator-sdk serves metrics in clear"
    assert found.metrics_require_rbac, "operator-sdk serves metrics to everybody"
    assert found.proxy_port == 0, "operator-sdk's 8888 can be taken"
    assert found.ansible_verbosity == 0, "operator-sdk's 2 is output that nobody sees"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--reconcile-period=1m", "--leader-elect=true"],
        ["--reconcile-period", "1m", "--leader-elect", "true"],
        ["-reconcile-period=1m", "-leader-elect"],
        ["-reconcile-period", "1m", "--leader-elect=T"],
        ["--leader-elect", "--reconcile-period", "1m"],
        ["--reconcile-period=1h", "--reconcile-period=1m", "--leader-elect=1"],
    ],
)
def test_all_forms_that_go_takes(arguments):
    found = settings(*arguments)
    assert (found.reconcile_period, found.leader_elect) == (60, True)


@pytest.mark.parametrize("form", ["--leader-elect=false", "-leader-elect=False", "--leader-elect=0"])
def test_a_switch_can_be_turned_off(form):
    assert not settings(form).leader_elect


def test_a_value_may_begin_with_a_dash():
    assert settings("--ansible-args", "-vvv").ansible_arguments == ("-vvv",)


def test_names_of_old_still_count():
    found = settings("--metrics-addr=:1", "--enable-leader-election")
    assert (found.metrics_address, found.leader_elect) == (":1", True)


@pytest.mark.parametrize(
    ("level", "expected"),
    [("debug", "debug"), ("info", "info"), ("error", "error"), ("panic", "error"), ("3", "debug")],
)
def test_zap_levels_are_levels_of_the_log(level, expected):
    assert FlagParser().parse(["run", f"--zap-log-level={level}"]).log_level == expected


@pytest.mark.parametrize(
    ("flag", "complaint"),
    [
        ("--reconcile-period=5", '"5" is not a duration'),
        ("--metrics-bind-address=x", '"x" is not an address'),
        ("--user-metrics-bind-address=:5050", "not a loopback address"),
        ("--leader-elect=maybe", '"maybe" is not true or false'),
        ("--ansible-verbosity=9", "not a number from 0 to 7"),
        ("--max-concurrent-reconciles=-1", '"-1" is not a whole number'),
        ("--proxy-port=any", '"any" is not a whole number'),
        ("--ansible-log-events=some", "invalid choice"),
        ("--ansible-args='--tags", "No closing quotation"),
        ("--zap-log-level=loud", '"loud" is not a level'),
        ("--leader-elect-renew-deadline=20s", "shorter than"),
        ("--leader-elect-retry-period=0s", "shorter than"),
        ("--leader-elec", "unrecognized arguments"),
        ("--metrics-require-rbac --metrics-secure=false", "tokens must not travel in clear"),
    ],
)
def test_bad_flags_are_refused(flag, complaint, capsys):
    with pytest.raises(SystemExit) as stopped:
        settings(*flag.split())
    assert stopped.value.code == 2
    assert complaint.replace('"', "'") in capsys.readouterr().err.replace('"', "'")


def test_metrics_in_clear_ask_nobody_for_a_token():
    assert not settings("--metrics-secure=false").metrics_require_rbac


def test_the_environment(tmp_path):
    found = settings(
        WATCH_NAMESPACE=" one, two,",
        KUBECONFIG=str(tmp_path / "k"),
        ANSIBLE_INVENTORY=str(tmp_path / "i"),
        OPERATOR_NAME="old",
    )
    assert found.namespaces == ("one", "two")
    assert (found.kubeconfig, found.inventory) == (tmp_path / "k", tmp_path / "i")
    assert found.leader_election_id == "old"
    assert settings("--leader-election-id=new", OPERATOR_NAME="old").leader_election_id == "new"
    assert settings().namespaces == ()


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        (["--ansible-log-events=everything"], {}, True),
        ([], {"ANSIBLE_DEBUG_LOGS": "true"}, True),
        ([], {"ANSIBLE_DEBUG_LOGS": "TRUE"}, True),
        ([], {"ANSIBLE_VERBOSITY": "2"}, True),
        ([], {"ANSIBLE_DEBUG_LOGS": "false", "ANSIBLE_VERBOSITY": "0"}, False),
        ([], {"ANSIBLE_DEBUG_LOGS": "perhaps"}, False),
        ([], {"ANSIBLE_DEBUG_LOGS": "", "ANSIBLE_VERBOSITY": ""}, False),
    ],
)
def test_who_wants_all_output_of_ansible_in_the_log(arguments, environ, expected):
    assert settings(*arguments, **environ).log_output is expected


def test_what_cannot_start_says_all_that_is_wrong(home, capsys):
    (home / "watches.yaml").write_text("- version: v1\n  kind: Demo\n  role: none\n  manageStatus: maybe\n")
    assert cli.main(["run"]) == 1
    messages = [line["msg"] for line in logged(capsys) if line["level"] == "error"]
    assert len(messages) == 3
    assert messages[0].startswith("watches.yaml:3: role: ")
    assert messages[1].startswith("watches.yaml:4: manageStatus: ")
    assert messages[2] == "cannot start: watches.yaml has errors"


def test_what_is_accepted_and_ignored_is_said_in_one_line(home, capsys):
    ignored = [
        "--zap-devel",
        "-zap-encoder=console",
        "--enable-http2=false",
        "--leader-elect-resource-lock",
        "x",
    ]
    more = ["--zap-stacktrace-level=error", "--zap-time-encoding=iso8601", "--metrics-addr=:1"]
    assert cli.main(["run", *ignored, *more]) == 1
    warnings = [line["msg"] for line in logged(capsys) if line["level"] == "warning"]
    assert warnings[0] == "--metrics-addr is deprecated, use --metrics-bind-address"
    assert warnings[1].startswith("ignored flags: --enable-http2 (")
    assert warnings[1].count("--") == 6
    assert len(warnings) == 2


def test_warnings_stop_only_a_strict_run(home, capsys, monkeypatch):
    (home / "roles" / "demo").mkdir(parents=True)
    (home / "watches.yaml").write_text("- {version: v1, kind: Demo, role: demo, maxWorkers: 5}")
    monkeypatch.setenv("KUBECONFIG", str(home / "missing"))
    assert cli.main(["run"]) == 1
    told = [(line["level"], line["msg"]) for line in logged(capsys)]
    assert told[0] == ("warning", "watches.yaml:1: maxWorkers: unknown key")
    assert told[1][1] != "cannot start: watches.yaml has errors"
    assert cli.main(["run", "--strict"]) == 1
    told = [(line["level"], line["msg"]) for line in logged(capsys)]
    assert told == [
        ("error", "watches.yaml:1: maxWorkers: unknown key"),
        ("error", "cannot start: watches.yaml has errors"),
    ]


def test_paths_of_flags_are_where_roles_are_looked_for(home, monkeypatch, capsys):
    monkeypatch.setenv("ANSIBLE_ROLES_PATH", "/nowhere")
    (home / "elsewhere" / "demo" / "tasks").mkdir(parents=True)
    (home / "elsewhere" / "demo" / "tasks" / "main.yml").write_text("[]")
    (home / "watches.yaml").write_text("- {version: v1, kind: Demo, role: demo}")
    assert cli.main(["check", f"--ansible-roles-path={home}/elsewhere"]) == 0


def test_versions(capsys):
    assert cli.main(["version"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ["paradedb-runner", "ansible-core", "ansible-runner", "kubernetes", "python"]


def test_help_shows_groups_defaults_and_the_environment(capsys):
    with pytest.raises(SystemExit):
        FlagParser().parse(["run", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "leader election: --leader-elect" in text
    assert "--reconcile-period DURATION" in text
    assert "(default 10h)" in text
    assert "MAX_CONCURRENT_RECONCILES_<KIND>_<GROUP>" in text
