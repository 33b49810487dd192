"""The command line."""

from typing import Any

import pytest
from paradedb_runner import cli


def parse(*arguments: str) -> Any:
    return cli.settings_from(cli._parser().parse_args(["run", *arguments]))


def test_flags_as_operator_sdk_names_them(monkeypatch, tmp_path):
    monkeypatch.delenv("K8S_AUTH_KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "k"))
    monkeypatch.setenv("WATCH_NAMESPACE", " one, two,")
    settings = parse(
        "--leader-elect",
        "--leader-election-id=x",
        "--max-concurrent-reconciles=7",
        "--reconcile-period=1h",
        "--ansible-args='--vault-password-file /p --diff'",
        "--metrics-bind-address=127.0.0.1:1",
        "--metrics-secure=false",
        "--graceful-shutdown-timeout=5s",
    )
    assert (settings.leader_elect, settings.leader_election_id, settings.run_slots) == (True, "x", 7)
    assert (settings.reconcile_period, settings.graceful_shutdown_timeout) == (3600, 5)
    assert settings.ansible_arguments == ("--vault-password-file", "/p", "--diff")
    assert settings.namespaces == ("one", "two")
    assert settings.kubeconfig == tmp_path / "k"
    assert not settings.metrics_secure


def test_defaults_of_flags():
    settings = parse()
    assert (settings.metrics_address, settings.health_address) == (":8443", ":8081")
    assert (settings.reconcile_period, settings.run_timeout, settings.graceful_shutdown_timeout) == (
        60,
        1800,
        30,
    )
    assert settings.metrics_secure
    assert settings.metrics_require_rbac
    assert not settings.leader_elect
    assert settings.run_slots >= 2


@pytest.mark.parametrize(
    "flag",
    ["--reconcile-period=5", "--metrics-bind-address=x", "--leader-elect=maybe", "--ansible-verbosity=9"],
)
def test_bad_flags_are_refused(flag, capsys):
    with pytest.raises(SystemExit):
        parse(flag)
    assert flag.split("=")[0] in capsys.readouterr().err


def test_what_cannot_start_says_why(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run"]) == 1
    assert "cannot read watches.yaml" in capsys.readouterr().err
    assert cli.main(["version"]) == 0
