"""
Defects that ansible-operator is known for, by number: each test fails where the defect is back.

README.md has the whole list; some are tested elsewhere.
"""

import stat
import urllib.parse
from pathlib import Path

import pytest
import yaml
from harness import PERIOD, free_port, installed, overlaps, until
from spy import spying


@pytest.fixture(scope="module", autouse=True)
def definitions(kinds):
    with installed(*kinds, "Case", "Nobody", "Tick"):
        yield


@pytest.fixture
def runner(start):
    return start("--watches-file=defects.yaml")


def access(runner, name):
    """The server and the token that a run in the case shows_access has."""
    (path,) = until(lambda: runner.passes(f"{name}-access"))
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    kubeconfig = yaml.safe_load(Path(path).read_text())
    return kubeconfig["clusters"][0]["cluster"]["server"], kubeconfig["users"][0]["user"].get("token")


def ended(runner, name):
    return len(runner.lines("run ended", name=name))


def test_d1_a_rescued_failure_is_none_also_in_a_finalizer(cluster, runner):
    case = cluster.of("Case")
    case.create("one", case="rescued")
    until(lambda: case.succeeded("one"))
    case.delete("one")
    until(lambda: case.get("one") is None)


def test_d2_an_unreachable_host_is_a_failure(cluster, runner):
    case = cluster.of("Case")
    case.create("one", case="unreachable")
    failure = until(lambda: case.condition("one", "Failure"))
    assert (failure["status"], failure["reason"]) == ("True", "Unreachable")
    assert "nobody answers" in failure["message"]


def test_d2_a_play_that_matches_no_host_is_a_failure(cluster, runner):
    nobody = cluster.of("Nobody")
    nobody.create("one")
    failure = until(lambda: nobody.condition("one", "Failure"))
    assert (failure["status"], failure["reason"]) == ("True", "NoHosts")


def test_d3_requeue_after_is_for_the_end_of_the_run(cluster, runner):
    case = cluster.of("Case")
    case.create("one", case="asks_again")
    until(lambda: runner.passes("one").count("end") >= 2)
    assert not overlaps(runner.passes("one"))
    assert case.condition("one", "Running")["reason"] == "Successful"
    case.delete("one")
    until(lambda: case.get("one") is None)
    assert runner.passes("one")[-1] == "end", "the finalizer asked for another pass and ended all the same"


def test_d4_a_run_that_is_killed_does_not_stay_running(cluster, runner):
    case = cluster.of("Case")
    case.create("one", case="killed")
    until(lambda: case.condition("one", "Failure").get("status") == "True")
    assert case.condition("one", "Running")["status"] == "False"
    until(lambda: not runner.busy())


def test_d5_the_duration_of_a_pass_includes_its_run(cluster, start):
    runner = start("--watches-file=defects.yaml", "--metrics-secure=false", "--metrics-require-rbac=false")
    cluster.create("one", takeSeconds=2)
    until(lambda: cluster.succeeded("one"))
    metric = f'ansible_operator_reconciles_sum{{GVK="{cluster.group}/v1, Kind=Demo"}} '

    def measured():
        assert runner.http(f"http://127.0.0.1:{runner.metrics}/metrics") == 200
        (line,) = (line for line in runner.answer.splitlines() if line.startswith(metric))
        return float(line.removeprefix(metric))

    assert until(measured) >= 2


def test_d6_the_proxy_listens_where_it_is_told_to(cluster, start):
    port = free_port()
    runner = start("--watches-file=defects.yaml", f"--proxy-port={port}")
    case = cluster.of("Case")
    case.create("one", case="shows_access", takeSeconds=300)
    server, _ = access(runner, "one")
    assert urllib.parse.urlsplit(server).port == port
    until(lambda: runner.busy() and runner.lines("task ended", task="Reach it", outcome="ok"))


def test_d7_discovery_is_not_repeated_for_every_resource(cluster, start, kinds, tmp_path):
    api, _ = kinds
    with spying(api) as spy:
        runner = start(
            "--watches-file=defects.yaml", f"--kubeconfig={spy.kubeconfig(tmp_path / 'kubeconfig')}"
        )
        case = cluster.of("Case")
        case.create("one", case="shows_access")
        until(lambda: case.succeeded("one"))
        before = spy.discoveries()
        assert before
        case.create("two", case="shows_access")
        until(lambda: case.succeeded("two"))
        assert spy.discoveries() == before
        runner.stop()


def test_d8_a_run_reads_what_it_wrote(cluster, runner):
    case = cluster.of("Case")
    case.create("one", case="reads_back")
    until(lambda: case.succeeded("one") or case.condition("one", "Failure").get("status") == "True")
    assert case.succeeded("one"), case.condition("one", "Failure")


def test_d9_artifacts_are_bounded_and_go_with_their_resource(cluster, start, tmp_path):
    runner = start("--watches-file=defects.yaml", f"--artifacts-dir={tmp_path / 'artifacts'}")
    tick = cluster.of("Tick")
    keep = "ansible.sdk.operatorframework.io/max-runner-artifacts"
    tick.create("one", annotations={PERIOD: "1s", keep: "2"})
    until(lambda: ended(runner, "one") >= 4)
    (directory,) = (tmp_path / "artifacts").glob("*/*/Tick/*/one")
    assert len(list(directory.iterdir())) == 2
    tick.delete("one")
    until(lambda: not directory.exists())


def test_d10_the_limit_of_runs_is_one_over_all_kinds(cluster, start):
    runner = start("--watches-file=defects.yaml", "--max-concurrent-reconciles=1")
    case = cluster.of("Case")
    for each in (cluster, case):
        each.create("one", takeSeconds=2, case="shows_access")
    until(lambda: cluster.succeeded("one") and case.succeeded("one"))
    assert not overlaps(runner.passes("one")), "both kinds write into one journal"


def test_d12_a_run_that_takes_too_long_is_ended_and_fails(cluster, start):
    runner = start("--watches-file=defects.yaml", "--run-timeout=3s")
    cluster.create("one", takeSeconds=300)
    failure = until(lambda: cluster.condition("one", "Failure"))
    assert (failure["status"], failure["reason"]) == ("True", "Timeout")
    assert not runner.busy()


def test_d13_a_pass_that_changes_nothing_writes_nothing(cluster, runner):
    tick = cluster.of("Tick")
    tick.create("one", annotations={PERIOD: "1s"})
    until(lambda: tick.succeeded("one"))
    before, passes = tick.get("one"), ended(runner, "one")
    until(lambda: ended(runner, "one") >= passes + 3)
    assert tick.get("one") == before


def test_d17_the_proxy_answers_only_a_run_with_its_token(cluster, runner):
    case = cluster.of("Case")
    case.create("one", case="shows_access", takeSeconds=300)
    server, token = access(runner, "one")
    assert runner.http(f"{server}/version", "") in (401, 403)
    assert runner.http(f"{server}/version", "nonsense") in (401, 403)
    assert runner.http(f"{server}/version", token) == 200
    case.delete("one")
    until(lambda: runner.http(f"{server}/version", token) != 200)


def test_d18_what_is_applied_or_replaced_gets_its_owner(cluster, runner):
    for name in ("one-applied", "one-replaced"):
        cluster.core.create_namespaced_config_map(cluster.namespace, {"metadata": {"name": name}})
    case = cluster.of("Case")
    case.create("one", case="applies")
    until(lambda: case.succeeded("one"))
    uid = case.get("one")["metadata"]["uid"]
    for what in ("applied", "replaced"):
        config_map = cluster.config_map(f"one-{what}")
        assert config_map.data == {"text": what}
        assert [owner.uid for owner in config_map.metadata.owner_references or []] == [uid]


def test_d20_files_of_a_run_are_for_nobody_else(cluster, runner):
    cluster.create("one", takeSeconds=300, password="hunter2")
    until(lambda: runner.passes("one"))
    paths = [path for path in runner.temporary.rglob("*") if path.is_file() or path.is_dir()]
    held = [path for path in paths if path.is_file() and "hunter2" in path.read_text(errors="replace")]
    assert held, "the variables of the run are somewhere"
    top = runner.temporary
    for path in held:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for path in paths:
        parents = [each for each in path.parents if top in each.parents]
        modes = [stat.S_IMODE(each.stat().st_mode) for each in (path, *parents)]
        assert any(not mode & 0o077 for mode in modes), path
    assert all("hunter2" not in str(line) for line in runner.lines())
