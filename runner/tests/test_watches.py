"""watches.yaml, selectors, durations."""

from pathlib import Path

import pytest
from paradedb_runner.durations import parse_duration
from paradedb_runner.selector import parse_selector
from paradedb_runner.watches import Playbook, Role, WatchesError, load_watches, unknown_keys


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "roles" / "demo").mkdir(parents=True)
    (tmp_path / "play.yml").write_text("[]")
    return tmp_path


def load(home, text, **environ):
    path = home / "watches.yaml"
    path.write_text(text)
    return load_watches(path, environ)


def one(home, more="", **environ):
    return load(home, f"- {{version: v1, group: example.com, kind: Demo, role: demo{more}}}", **environ)[0]


def test_defaults(home):
    watch = one(home)
    assert watch.content == Role("demo", home / "roles")
    assert watch.reconcile_period is None
    assert watch.max_runner_artifacts == 20
    assert watch.manage_status
    assert watch.watch_dependent_resources
    assert not watch.watch_cluster_scoped_resources
    assert not watch.watch_annotations_changes
    assert watch.snake_case_parameters
    assert not watch.mark_unsafe
    assert watch.finalizer is None
    assert watch.dependents == ()


def test_everything(home):
    (watch,) = load(
        home,
        """
- version: v1alpha1
  group: example.com
  kind: Demo
  playbook: play.yml
  vars: {meta: '{{ ansible_operator_meta }}'}
  reconcilePeriod: 1m30s
  maxRunnerArtifacts: 3
  manageStatus: false
  watchDependentResources: false
  watchClusterScopedResources: true
  watchAnnotationsChanges: true
  snakeCaseParameters: false
  markUnsafe: true
  selector: {matchLabels: {a: b}}
  blacklist: [{group: "", version: v1, kind: Pod}]
  finalizer: {name: example.com/f, role: demo, vars: {state: absent}}
  dependents: [{group: apps, version: v1, kind: StatefulSet}, {version: v1, kind: Secret}]
""",
    )
    assert watch.content == Playbook(home / "play.yml")
    assert watch.variables == {"meta": "{{ ansible_operator_meta }}"}
    assert watch.reconcile_period == 90
    assert watch.finalizer.content == Role("demo", home / "roles")
    assert watch.finalizer.variables == {"state": "absent"}
    assert [gvk.api_version for gvk in watch.dependents] == ["apps/v1", "v1"]
    assert watch.blacklist[0].kind == "Pod"
    assert not watch.selector.matches({})


def test_a_playbook_wins_over_a_role(home):
    assert one(home, ", playbook: play.yml").content == Playbook(home / "play.yml")


def test_a_period_of_zero_means_no_periodic_pass(home):
    assert one(home, ", reconcilePeriod: 0s").reconcile_period == 0


def test_core_kinds_have_no_group(home):
    (watch,) = load(home, "- {version: v1, kind: Secret, role: demo}")
    assert watch.gvk.api_version == "v1"


def test_variables_of_the_environment(home):
    watch = one(home, ", vars: {a: '${SET}', b: '$SET-x', c: '${UNSET}', d: '$5'}", SET="value")
    assert watch.variables == {"a": "value", "b": "value-x", "c": "${UNSET}", "d": "$5"}


def test_roles_are_searched_as_operator_sdk_does(home):
    collection = home / "c" / "ansible_collections" / "ns" / "col" / "roles" / "demo"
    for path in (collection, home / "r1" / "roles" / "demo", home / "r2" / "demo", home / "abs"):
        path.mkdir(parents=True)
    text = "- {version: v1, group: e.com, kind: D, role: %s}"
    environ = {"ANSIBLE_ROLES_PATH": f"{home}/r1:{home}/r2", "ANSIBLE_COLLECTIONS_PATH": f"{home}/c"}

    def found(role):
        return load(home, text % role, **environ)[0].content

    assert found("demo") == Role("demo", home / "r1" / "roles")
    assert found(home / "abs") == Role("abs", home)
    assert found("ns.col.demo") == Role("ns.col.demo", None)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("- {group: e.com, kind: D, role: demo}", "version is required"),
        ("- {version: v1, role: demo}", "kind is required"),
        ("- {version: v1, kind: D}", "one of role and playbook"),
        ("- {version: v1, kind: D, role: nowhere}", "nowhere was not found"),
        ("- {version: v1, kind: D, playbook: nowhere.yml}", "does not exist"),
        ("- {version: v1, kind: D, role: demo, reconcilePeriod: soon}", "not a duration"),
        ("- {version: v1, kind: D, role: demo, reconcilePeriod: 5}", "must be of type str"),
        ("- {version: v1, kind: D, role: demo, manageStatus: 'no'}", "must be of type bool"),
        ("- {version: v1, kind: D, role: demo, maxRunnerArtifacts: -1}", "must be of type int"),
        ("- {version: v1, kind: D, role: demo, finalizer: {role: demo}}", "name is required"),
        ("- {version: v1, kind: D, role: demo, finalizer: {name: a/b}}", "role, playbook and vars"),
        ("- {version: v1, kind: D, role: demo, selector: {matchLabel: {}}}", "unknown keys"),
        ("- {version: v1, kind: D, role: demo}\n- {version: v1, kind: D, role: demo}", "watched twice"),
        ("{}", "a list of watches"),
        ("- [", "cannot read"),
    ],
)
def test_mistakes_are_named(home, text, complaint):
    with pytest.raises(WatchesError, match=complaint):
        load(home, text)


def test_unknown_keys_are_found(home):
    one(home, ", maxWorkers: 5")
    assert unknown_keys(home / "watches.yaml") == ["maxWorkers"]


def test_a_missing_file_is_a_watches_error():
    with pytest.raises(WatchesError):
        load_watches(Path("/nonexistent/watches.yaml"))


@pytest.mark.parametrize(
    ("selector", "labels", "expected"),
    [
        ({}, {}, True),
        ({"matchLabels": {"a": "b"}}, {"a": "b", "c": "d"}, True),
        ({"matchLabels": {"a": "b"}}, {"a": "x"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {"a": ""}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, None, False),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {"a": ""}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["x", "y"]}]}, {"a": "y"}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["x"]}]}, {}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["x"]}]}, {"a": "x"}, False),
    ],
)
def test_selectors(selector, labels, expected):
    assert parse_selector(selector).matches(labels) is expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("0s", 0), ("30s", 30), ("1h30m", 5400), ("500ms", 0.5), ("1.5m", 90), ("1h0m5s", 3605)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "-5s", "5 s", "5x", "1h-5m"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)
