"""watches.yaml: what each key means, and how mistakes are told."""

from pathlib import Path

import pytest
from paradedb_runner.kube.objects import GroupVersionKind
from paradedb_runner.watches.file import read_watches
from paradedb_runner.watches.model import (
    DependentKind,
    FieldMetric,
    Playbook,
    Reading,
    Reference,
    Refresh,
    Role,
    Surrounding,
)
from paradedb_runner.watches.problems import Severity, has_errors, made_strict


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "roles" / "demo").mkdir(parents=True)
    (tmp_path / "play.yml").write_text("[]")
    return tmp_path


def read(text, **environ):
    path = Path("watches.yaml")
    path.write_text(text)
    return read_watches(path, environ)


def load(text, **environ):
    watches, problems = read(text, **environ)
    assert not has_errors(problems), problems
    return watches


def entry(more="", role="role: demo"):
    return f"- {{version: v1, group: example.com, kind: Demo, {role}{more}}}"


def one(more="", role="role: demo", **environ):
    return load(entry(more, role), **environ)[0]


def metric(**changed):
    """An entry with one metric, or two of the same when ``again`` is true."""
    again = changed.pop("again", False)
    given = {"name": "demo_size", "help": "words", "field": "spec.size", "as": "number"} | changed
    text = "{" + ", ".join(f"{name}: {value}" for name, value in given.items() if value is not None) + "}"
    return entry(f", metrics: [{', '.join([text] * (2 if again else 1))}]")


def complaints(text, **environ):
    return [str(problem) for problem in read(text, **environ)[1]]


def test_defaults(home):
    watch = one()
    assert watch.content == Role("demo", home / "roles")
    assert watch.reconcile_period is None
    assert watch.max_runner_artifacts == 20
    assert watch.manage_status
    assert watch.watch_dependent_resources
    assert not watch.watch_cluster_scoped_resources
    assert not watch.watch_annotations_changes
    assert watch.snake_case_parameters
    assert not watch.mark_unsafe
    assert watch.selector.matches({})
    assert watch.blacklist == ()
    assert watch.finalizer is None
    assert watch.dependents == ()
    assert watch.references == ()
    assert watch.surroundings == ()
    assert not watch.skip_unchanged
    assert watch.refresh is None
    assert watch.metrics == ()
    assert watch.inject_owner_ref


def test_everything(home):
    (watch,) = load(
        """
- version: v1alpha1
  group: example.com
  kind: Demo
  playbook: play.yml
  vars: {meta: '{{ ansible_operator_meta }}', since: 2026-01-01}
  reconcilePeriod: 1m30s
  maxRunnerArtifacts: 3
  manageStatus: false
  watchDependentResources: false
  watchClusterScopedResources: true
  watchAnnotationsChanges: true
  snakeCaseParameters: false
  markUnsafe: true
  selector:
    matchLabels: {a: true}
    matchExpressions: [{key: b, operator: In, values: [x, 1]}]
  blacklist: [{group: "", version: v1, kind: Pod}]
  finalizer: {name: example.com/f, role: demo, vars: {state: absent}}
  dependents:
    - {group: apps, version: v1, kind: StatefulSet}
    - {version: v1, kind: Secret, selector: "!x", report: true}
  references: [{version: v1, kind: Secret, field: 'spec.users[].secretRef.name'}]
  surroundings: [{group: "", version: v1, kind: Node, fields: [spec.unschedulable, 'spec.taints[].key']}]
  skipUnchanged: true
  refresh: {module: example.demo.status, args: {deep: 1}, period: 1m30s}
  metrics:
    - {name: demo_size, help: How large it is., field: spec.size, as: number}
    - {name: demo_power, help: "Is it on?", field: status.power, as: state, states: [on, off]}
  injectOwnerRef: false
"""
    )
    assert watch.content == Playbook(home / "play.yml")
    assert watch.variables == {"meta": "{{ ansible_operator_meta }}", "since": "2026-01-01"}
    assert watch.reconcile_period == 90
    assert watch.max_runner_artifacts == 3
    assert not watch.manage_status
    assert not watch.watch_dependent_resources
    assert watch.watch_cluster_scoped_resources
    assert watch.watch_annotations_changes
    assert not watch.snake_case_parameters
    assert watch.mark_unsafe
    assert watch.selector.matches({"a": "true", "b": "1"})
    assert not watch.selector.matches({"a": "true"})
    assert watch.blacklist == (GroupVersionKind("", "v1", "Pod"),)
    assert (watch.finalizer.name, watch.finalizer.content) == ("example.com/f", Role("demo", home / "roles"))
    assert watch.finalizer.variables == {"state": "absent"}
    assert watch.dependents == (
        DependentKind(GroupVersionKind("apps", "v1", "StatefulSet")),
        DependentKind(GroupVersionKind("", "v1", "Secret"), "!x", report=True),
    )
    assert watch.references == (
        Reference(GroupVersionKind("", "v1", "Secret"), "spec.users[].secretRef.name"),
    )
    assert watch.surroundings == (
        Surrounding(GroupVersionKind("", "v1", "Node"), ("spec.unschedulable", "spec.taints[].key")),
    )
    assert watch.skip_unchanged
    assert watch.refresh == Refresh("example.demo.status", {"deep": 1}, 90.0)
    assert watch.metrics == (
        FieldMetric("demo_size", "How large it is.", "spec.size", Reading.NUMBER),
        FieldMetric("demo_power", "Is it on?", "status.power", Reading.STATE, ("on", "off")),
    )
    assert not watch.inject_owner_ref


def test_a_playbook_wins_over_a_role(home):
    assert one(", playbook: play.yml").content == Playbook(home / "play.yml")


def test_a_finalizer_s_playbook_wins_over_its_role(home):
    finalizer = one(", finalizer: {name: a/b, playbook: play.yml, role: demo, vars: {x: 1}}").finalizer
    assert finalizer.content == Playbook(home / "play.yml")


def test_a_finalizer_with_nothing_but_variables_has_no_content(home):
    finalizer = one(", finalizer: {name: a/b, vars: {x: 1}}").finalizer
    assert (finalizer.content, finalizer.variables) == (None, {"x": 1})


def test_d14_a_period_of_zero_means_no_periodic_pass(home):
    """D14: operator-sdk takes 0s for unset. It is said, so that nobody who moves over is surprised."""
    assert one(", reconcilePeriod: 0s").reconcile_period == 0
    (problem,) = read(entry(", reconcilePeriod: 0s"))[1]
    assert problem.severity is Severity.NOTE


def test_a_limit_of_zero_artifacts_is_the_default(home):
    assert one(", maxRunnerArtifacts: 0").max_runner_artifacts == 20


@pytest.mark.parametrize("group", ["", "group: '', "])
def test_core_kinds_have_no_group(home, group):
    (watch,) = load(f"- {{{group}version: v1, kind: Secret, role: demo}}")
    assert watch.gvk == GroupVersionKind("", "v1", "Secret")


def test_names_that_look_like_numbers_are_taken_as_written(home):
    (watch,) = load("- {version: v1, group: 1.20, kind: Demo, role: demo}")
    assert watch.gvk.group == "1.20"


def test_labels_that_look_like_numbers_are_text(home):
    assert one(", selector: {matchLabels: {1: 2.10}}").selector.matches({"1": "2.10"})


def test_variables_of_the_environment_are_replaced_everywhere(home):
    watch = one(
        ", vars: {a: '${SET}', b: '$SET-x', e: '$EMPTY'}, maxRunnerArtifacts: $N",
        SET="value",
        N="7",
        EMPTY="",
    )
    assert watch.variables == {"a": "value", "b": "value-x", "e": ""}
    assert watch.max_runner_artifacts == 7


def test_what_is_not_set_stays_as_it_is(home):
    """operator-sdk turns $x into ${x} and $5 into ${5}, which mangles regular expressions and passwords."""
    watch = one(", vars: {a: '${UNSET}', b: '$UNSET', c: '$5', d: 'a$', e: '$$', f: '${{ x }}'}")
    assert watch.variables == {
        **{"a": "${UNSET}", "b": "$UNSET", "c": "$5"},
        **{"d": "a$", "e": "$$", "f": "${{ x }}"},
    }


def test_references_to_variables_that_are_not_set_are_pointed_out(home):
    text = entry(", vars: {a: '${GROUP}', b: '$SET'}") + "  # $COMMENT\n"
    assert complaints(text, SET="$5") == [
        "watches.yaml:1: warning: ${GROUP} is not set in the environment, so it is taken literally"
    ]


def test_lines_are_those_of_the_file_though_a_variable_has_several(home):
    text = "- version: v1\n  kind: Demo\n  role: demo\n  vars: $VARS\n  manageStatus: no way\n"
    (problem,) = read(text, VARS="\n    a: 1\n    b: 2")[1]
    assert problem.line == 5


def test_roles_are_searched_as_operator_sdk_does(home):
    collection = home / "c" / "ansible_collections" / "ns" / "col" / "roles" / "demo"
    for path in (collection, home / "r1" / "roles" / "demo", home / "r2" / "demo", home / "abs"):
        path.mkdir(parents=True)
    environ = {"ANSIBLE_ROLES_PATH": f"{home}/r1:{home}/r2", "ANSIBLE_COLLECTIONS_PATH": f"{home}/c"}

    def found(role):
        return one(role=f"role: {role}", **environ).content

    assert found("demo") == Role("demo", home / "r1" / "roles")
    assert found(home / "abs") == Role("abs", home)
    assert found("ns.col.demo") == Role("ns.col.demo", None)


def test_a_role_with_two_dots_may_be_no_collection_s(home):
    (home / "roles" / "a.b.c").mkdir()
    assert one(role="role: a.b.c").content == Role("a.b.c", home / "roles")


def test_case_does_not_count_in_keys_as_in_operator_sdk_but_is_pointed_out(home):
    text = "- Version: v1\n  kind: Demo\n  Role: demo\n  Selector: {matchlabels: {a: 1}}\n"
    watches, problems = read(text)
    assert watches[0].selector.matches({"a": "1"})
    assert [(problem.line, problem.severity) for problem in problems] == [
        (1, Severity.WARNING),
        (3, Severity.WARNING),
        (4, Severity.WARNING),
        (4, Severity.WARNING),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("- {group: e.com, kind: D, role: demo}", "version is required"),
        ("- {version: v1, role: demo}", "kind is required"),
        ("- {version: v1, kind: '', role: demo}", "kind is required"),
        ("- {version: v1, kind: D}", "one of role and playbook is required"),
        ("- {version: v1, kind: D, role: nowhere}", 'role: there is no role "nowhere", looked for '),
        ("- {version: v1, kind: D, role: a.b.c}", "ansible_collections/a/b/roles/c"),
        ("- {version: v1, kind: D, playbook: nowhere.yml}", "nowhere.yml does not exist"),
        ("- {version: v1, group: e.com/v1, kind: D, role: demo}", 'group: "e.com/v1" cannot be the group'),
        ("- {version: V1, kind: D, role: demo}", '"V1" cannot be the version'),
        ("- {version: v1, kind: d.e.com, role: demo}", '"d.e.com" cannot be the kind'),
        (entry(", reconcilePeriod: 5 minutes"), '"5 minutes" is not a duration such as 30s or 1h30m'),
        (entry(", reconcilePeriod: 5"), 'reconcilePeriod: "5" is not a duration'),
        (entry(", reconcilePeriod: [5s]"), "reconcilePeriod: must be a string"),
        (entry(", manageStatus: 'no'"), 'manageStatus: must be true or false, not "no"'),
        (entry(", maxRunnerArtifacts: -1"), "maxRunnerArtifacts: must be a whole number, not -1"),
        (entry(", maxRunnerArtifacts: true"), "must be a whole number, not true"),
        (entry(", maxRunnerArtifacts: {a: 1}"), "must be a whole number, not a mapping"),
        (entry(", vars: [a]"), "vars: must be a mapping"),
        (entry(", vars: {a: !!binary aGk=}"), "vars: holds something that JSON cannot express"),
        (entry(", blacklist: {kind: Pod}"), "blacklist: must be a list"),
        (entry(", blacklist: [Pod]"), "blacklist[0]: must be a mapping"),
        (entry(", blacklist: [{kind: Pod}]"), "blacklist[0]: version is required"),
        (entry(", finalizer: {role: demo}"), "finalizer: name is required"),
        (entry(", finalizer: {name: a/b}"), "finalizer: one of role, playbook and vars is required"),
        (entry(", finalizer: {name: a/b, role: nowhere}"), 'finalizer.role: there is no role "nowhere"'),
        (entry(", finalizer: {name: 'a b', role: demo}"), 'finalizer.name: "a b" is not allowed'),
        (entry(", selector: {matchLabel: {a: b}}"), 'unknown key, did you mean "matchLabels"?'),
        (entry(", selector: {matchExpressions: [{key: a, operator: Is}]}"), 'operator "Is" is none of'),
        (entry(", selector: {matchExpressions: [{key: a, operator: In}]}"), "operator In needs values"),
        (entry(", selector: {matchLabels: {a: b c}}"), "selector.matchLabels.a: "),
        (entry(", dependents: [{kind: Pod}]"), "dependents[0]: version is required"),
        (entry(", dependents: [{version: v1, kind: Pod, selector: a=b=c}]"), "dependents[0].selector: "),
        (entry(", references: [{version: v1, kind: Secret}]"), "references[0]: field is required"),
        (
            entry(", references: [{version: v1, kind: Secret, field: metadata.name}]"),
            'references[0].field: "metadata.name" is not a path such as spec.auth.secretRef.name',
        ),
        (entry(", references: [{version: v1, kind: Secret, field: spec..a}]"), "is not a path"),
        (entry(", references: [{version: v1, kind: Secret, field: 'spec.a[0].b'}]"), "is not a path"),
        (entry(", surroundings: [{version: v1, fields: [spec.a]}]"), "surroundings[0]: kind is required"),
        (entry(", surroundings: [{version: v1, kind: Node}]"), "surroundings[0]: fields is required"),
        (entry(", surroundings: [{version: v1, kind: Node, fields: []}]"), "fields is required, since not"),
        (entry(", surroundings: [{version: v1, kind: Node, fields: spec.a}]"), "fields: must be a list"),
        (
            entry(", surroundings: [{version: v1, kind: Node, fields: [spec.a, 'spec.b[0]']}]"),
            'surroundings[0].fields[1]: "spec.b[0]" is not a path such as spec.unschedulable',
        ),
        (
            entry(", surroundings: [{version: v1, kind: Node, fields: [{a: b}]}]"),
            "is not a path such as spec.unschedulable",
        ),
        (
            entry(", surroundings: [{version: v1, kind: Node, fields: [metadata]}]"),
            'surroundings[0].fields[0]: "metadata" changes whenever the status does',
        ),
        (
            entry(", surroundings: [{version: v1, kind: Node, fields: ['metadata.managedFields[].time']}]"),
            "changes whenever the status does",
        ),
        (entry(", refresh: {args: {}}"), "refresh: module is required"),
        (entry(", refresh: {module: status}"), 'refresh.module: "status" is not the full name of a module'),
        (
            entry(", skipUnchanged: true, refresh: {module: a.b.c, period: often}"),
            'refresh.period: "often" is',
        ),
        (entry(", metrics: {name: a}"), "metrics: must be a list"),
        (metric(name=None), "metrics[0]: name is required"),
        (metric(name="demo-size"), 'metrics[0].name: "demo-size" is not a name of letters, digits and'),
        (metric(name="'demo:size'"), '"demo:size" is not a name'),
        (metric(name="9lives"), "not beginning with a digit"),
        (metric(name="workqueue_age"), '"workqueue_age" begins like a metric of the runner itself'),
        (metric(again=True), 'metrics[1].name: "demo_size" is the name of another metric'),
        (
            metric() + "\n" + metric().replace("Demo", "Other"),
            'metrics[0].name: "demo_size" is the name of another metric',
        ),
        (metric(help=None), "metrics[0]: help is required"),
        (metric(field=None), "metrics[0]: field is required"),
        (metric(field="'spec.a[].b'"), 'metrics[0].field: "spec.a[].b" is not a path such as status.ready'),
        (metric(field="kind"), '"kind" is not a path'),
        (metric(**{"as": None}), "metrics[0]: as is required"),
        (metric(**{"as": "size"}), 'metrics[0].as: "size" is none of number, timestamp, state, conditions'),
        (metric(**{"as": "state"}), "metrics[0]: states is required"),
        (metric(**{"as": "state"}, states="on"), "metrics[0].states: must be a list"),
        (metric(**{"as": "state"}, states="[on, off, on]"), 'metrics[0].states: "on" is there twice'),
        (entry() + "\n" + entry(), "example.com/v1, Kind=Demo is watched twice"),
        ("{}", "must hold a list of watches"),
        ("", "must hold a list of watches"),
        ("- text", "must be a mapping"),
        ("- [", "expected the node content"),
        ("- \x01", "a character that YAML does not allow"),
        ("- !vault x", "could not determine a constructor"),
    ],
)
def test_mistakes_are_named(home, text, complaint):
    problems = [problem for problem in read(text)[1] if problem.severity is Severity.ERROR]
    assert complaint in str(problems[0])
    assert len(problems) == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (entry(", maxWorkers: 5"), "maxWorkers: unknown key"),
        (entry(", reconcilePeriods: 5s"), 'reconcilePeriods: unknown key, did you mean "reconcilePeriod"?'),
        (entry(", finalizer: {name: a/b, roles: demo, role: demo}"), 'did you mean "role"?'),
        (entry(", dependents: [{version: v1, kind: Pod, selecter: a}]"), 'did you mean "selector"?'),
        (
            entry(", surroundings: [{version: v1, kind: Node, field: a, fields: [a]}]"),
            'surroundings[0].field: unknown key, did you mean "fields"?',
        ),
        (entry(", markUnsafe: true, markUnsafe: false"), '"markUnsafe" is there twice, the last one counts'),
        (entry(", playbook: play.yml"), "role: is ignored, since there is a playbook too"),
        (entry(", refresh: {module: a.b.c}"), "refresh: is never run without skipUnchanged"),
        (metric(state="[on]"), 'metrics[0].state: unknown key, did you mean "states"?'),
        (metric(states="[on]"), "metrics[0].states: is ignored with as: number"),
        (entry(", finalizer: {name: plain, role: demo}"), '"plain" should be domain/name'),
        (entry() + "\n" + entry().replace("v1,", "v2,"), "Demo is watched in two versions"),
    ],
)
def test_what_is_suspicious_is_a_warning_and_no_obstacle_unless_it_shall_be(home, text, complaint):
    watches, (problem,) = read(text)
    assert watches
    assert problem.severity is Severity.WARNING
    assert complaint in problem.text
    assert has_errors(made_strict([problem]))


def test_all_problems_are_told_at_once_each_with_its_line(home):
    text = """---
- version: v1
  group: example.com
  kind: Demo
  role: demo
  finalizer:
    name: example.com/f
    role:
      nowhere
  manageStatus: maybe

- version: v1
  kind: Other
  role: demo
  selector:
    matchExpressions:
      - key: a
        operator: In
        values: [b]
      - key: a
        operator: Like
  reconcilePeriod: "5 minutes"
"""
    assert [problem.told.partition(" there")[0] for problem in read(text)[1]] == [
        "watches.yaml:8: finalizer.role:",
        'watches.yaml:10: manageStatus: must be true or false, not "maybe"',
        'watches.yaml:20: selector.matchExpressions[1]: operator "Like" is none of In,'
        " NotIn, Exists, DoesNotExist",
        'watches.yaml:22: reconcilePeriod: "5 minutes" is not a duration such as 30s or 1h30m',
    ]


def test_a_field_of_the_surroundings_is_told_with_its_own_line(home):
    text = """- version: v1
  kind: Demo
  role: demo
  surroundings:
    - version: v1
      kind: Node
      fields:
        - spec.unschedulable
        - spec.taints[0]
    - version: v1
      kind: Node
"""
    assert complaints(text) == [
        'watches.yaml:9: error: surroundings[0].fields[1]: "spec.taints[0]" is not a path such as'
        " spec.unschedulable",
        "watches.yaml:10: error: surroundings[1]: fields is required, since not every change may count",
    ]


def test_a_kind_twice_is_told_even_if_its_content_is_missing(home):
    text = entry(role="role: none") + "\n" + entry(role="role: none")
    assert [problem.line for problem in read(text)[1]] == [1, 2, 2]


def test_a_syntax_error_has_its_line_too(home):
    (problem,) = read("- version: v1\n  kind: 'Demo\n  role: demo\n")[1]
    assert problem.line == 3
    (problem,) = read("- version: v1\n  kind: a: b\n")[1]
    assert problem.line == 2


def test_anchors_and_merges_work(home):
    text = """
- &one {version: v1, kind: One, role: demo, vars: {a: 1}}
- {<<: *one, kind: Two}
"""
    assert [(watch.gvk.kind, watch.variables) for watch in load(text)] == [
        ("One", {"a": 1}),
        ("Two", {"a": 1}),
    ]


def test_a_document_that_holds_itself_is_no_endless_loop(home):
    assert has_errors(read("- &a {version: v1, kind: A, role: demo, vars: {b: *a}}")[1])


def test_d20_secrets_of_the_environment_are_in_no_message(home):
    """D20: what replaced a variable may be secret, so broken YAML and wrong vars are told without values."""
    told = complaints(entry(", vars: $PASSWORD"), PASSWORD="hunter2")
    told += complaints("- {version: v1, kind: D, vars: {a: $PASSWORD}", PASSWORD="'hunter2': [")
    told += complaints("- {version: v1, kind: D, vars: {a: $PASSWORD}}", PASSWORD="*hunter2")
    assert len(told) == 3
    assert not any("hunter2" in text for text in told)


def test_a_missing_file_is_a_problem_of_the_file():
    watches, (problem,) = read_watches(Path("/nonexistent/watches.yaml"), {})
    assert watches == []
    assert str(problem) == (
        "/nonexistent/watches.yaml:1: error: cannot read the file: No such file or directory"
    )
