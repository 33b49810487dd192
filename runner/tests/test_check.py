"""``paradedb-runner check``."""

import io
from pathlib import Path

import pytest
from paradedb_runner.watches.check import check

GOOD = """\
- version: v1
  group: example.com
  kind: Demo
  role: demo
  finalizer:
    name: example.com/finalizer
    playbook: clean.yml
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("roles/demo/tasks/main.yml", "- debug: {msg: hello}\n")
    write("clean.yml", "- hosts: localhost\n  vars: {secret: !vault x}\n")
    return tmp_path


def write(name, text):
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)


def checked(text=GOOD, *, strict=False, **environ):
    """The exit code and the lines that were printed."""
    write("watches.yaml", text)
    out = io.StringIO()
    code = check(Path("watches.yaml"), environ, strict=strict, out=out)
    return code, out.getvalue().splitlines()


def test_a_good_file():
    assert checked() == (0, ["watches.yaml: good, 1 kind"])


def test_a_good_file_is_good_when_strict_too():
    assert checked(strict=True) == (0, ["watches.yaml: good, 1 kind"])


def test_every_problem_has_a_line_of_its_own_and_a_summary_follows():
    code, lines = checked(GOOD + "  reconcilePeriods: 5s\n  manageStatus: 1\n  vars: {a: $UNSET}\n")
    assert code == 1
    assert lines == [
        'watches.yaml:8: error: reconcilePeriods: unknown key, did you mean "reconcilePeriod"?',
        "watches.yaml:9: error: manageStatus: must be true or false, not 1",
        "watches.yaml:10: warning: $UNSET is not set in the environment, so it is taken literally",
        "watches.yaml: 2 errors, 1 warning, 1 kind",
    ]


def test_a_problem_of_a_metric_has_the_line_of_what_is_wrong():
    metrics = """\
  metrics:
    - {name: demo_size, help: words, field: spec.size, as: number}
    - name: demo_phase
      help: words
      field: status.phase
      as: phase
    - name: process_p
      help: words
      field: status.phase
      as: number
      unit: s
"""
    assert checked(GOOD + metrics) == (
        1,
        [
            'watches.yaml:13: error: metrics[1].as: "phase" is none of number, timestamp, state, conditions',
            'watches.yaml:14: error: metrics[2].name: "process_p" begins like a metric of the runner itself',
            "watches.yaml:18: error: metrics[2].unit: unknown key",
            "watches.yaml: 3 errors, 1 kind",
        ],
    )


def test_warnings_fail_only_when_strict():
    text = GOOD + "  vars: {a: $UNSET}\n"
    assert checked(text)[0] == 0
    code, lines = checked(text, strict=True)
    assert code == 1
    assert lines[0].startswith("watches.yaml:8: error: $UNSET")
    assert checked(text, strict=True, UNSET="x")[0] == 0


def test_d14_a_period_of_zero_is_noted_and_never_an_error():
    """D14: it means another thing than in operator-sdk, but a right one."""
    code, lines = checked(GOOD + "  reconcilePeriod: 0s\n", strict=True)
    assert code == 0
    assert lines[0].startswith("watches.yaml:8: note: reconcilePeriod: 0s turns periodic passes off")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("- hosts: localhost\n  tasks: [\n", "clean.yml:3: error: "),
        ("hosts: localhost\n", "clean.yml:1: error: a playbook must be a list of plays"),
        ("", "clean.yml:1: error: a playbook must be a list of plays"),
        ("- hosts: all\n- tasks: []\n", "clean.yml:2: error: a play must have hosts, or import a playbook"),
        ("- word\n", "clean.yml:1: error: a play must have hosts"),
        ("- \x01\n", "clean.yml:1: error: cannot be read"),
    ],
)
def test_a_playbook_that_is_none(text, complaint):
    write("clean.yml", text)
    code, lines = checked()
    assert code == 1
    assert lines[0].startswith(complaint)
    assert len(lines) == 2


@pytest.mark.parametrize("text", ["- import_playbook: other.yml\n", "- hosts: [a]\n  roles: [x]\n"])
def test_a_playbook_that_is_one(text):
    write("clean.yml", text)
    assert checked()[0] == 0


def test_a_role_without_tasks():
    Path("roles/demo/tasks/main.yml").unlink()
    assert checked() == (
        1,
        ["roles/demo/tasks/main.yml:1: error: the role has no such file", "watches.yaml: 1 error, 1 kind"],
    )


@pytest.mark.parametrize("name", ["main.yaml", "main"])
def test_other_names_that_ansible_takes_for_tasks(name):
    Path("roles/demo/tasks/main.yml").rename(f"roles/demo/tasks/{name}")
    assert checked()[0] == 0


def test_yaml_of_roles_that_does_not_parse_wherever_it_is():
    write("roles/demo/handlers/main.yml", "- name: 'a\n")
    write("roles/demo/tasks/more/other.yml", "- a: b: c\n")
    write("roles/demo/templates/x.yml", "{{ not yaml: [")
    code, lines = checked()
    assert code == 1
    assert [line.split(" ")[0] for line in lines] == [
        "roles/demo/tasks/more/other.yml:1:",
        "roles/demo/handlers/main.yml:2:",
        "watches.yaml:",
    ]


def test_a_role_of_a_collection_is_looked_into_too():
    write("c/ansible_collections/ns/col/roles/demo/tasks/main.yml", "- [\n")
    text = GOOD.replace("role: demo", "role: ns.col.demo")
    code, lines = checked(text, ANSIBLE_COLLECTIONS_PATH="c")
    assert code == 1
    assert lines[0].startswith("c/ansible_collections/ns/col/roles/demo/tasks/main.yml:2: error: ")


def test_what_two_kinds_share_is_told_once():
    Path("roles/demo/tasks/main.yml").unlink()
    code, lines = checked(GOOD + GOOD.replace("Demo", "Other"))
    assert code == 1
    assert len(lines) == 2


def test_a_missing_file():
    out = io.StringIO()
    assert check(Path("none.yaml"), {}, strict=False, out=out) == 1
    assert out.getvalue().splitlines() == [
        "none.yaml:1: error: cannot read the file: No such file or directory",
        "none.yaml: 1 error, 0 kinds",
    ]
