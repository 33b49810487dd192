"""The digest of what a watch runs."""

from pathlib import Path
from typing import Any

import pytest
from paradedb_runner.control.watch_digest import WatchDigests
from paradedb_runner.watches.model import Playbook, Role, Watch
from support import DEMO, make_settings


@pytest.fixture
def tree(tmp_path):
    for name in (
        "roles/demo/tasks/main.yml",
        "roles/common/tasks/main.yml",
        "playbooks/demo.yml",
        "playbooks/vars.yml",
        "collections/ansible_collections/a/b/plugins/x.py",
        "elsewhere/file",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one")
    return tmp_path


def digest(tree: Path, environ: dict[str, str] | None = None, arguments: Any = (), **options: Any) -> str:
    content = options.pop("content", Role("demo", tree / "roles"))
    known = {"ANSIBLE_COLLECTIONS_PATH": str(tree / "collections")}
    settings = make_settings(environ=known | (environ or {}), ansible_arguments=arguments)
    return WatchDigests(settings, tree).of(Watch(DEMO, content, **options))


@pytest.mark.parametrize(
    "name",
    [
        "roles/demo/tasks/main.yml",
        "roles/demo/files/new.sh",
        "roles/common/tasks/main.yml",
        "collections/ansible_collections/a/b/plugins/x.py",
    ],
)
def test_every_file_that_a_role_may_use_counts(tree, name):
    before = digest(tree)
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_text("two")
    assert digest(tree) != before


def test_the_settings_of_ansible_count(tree):
    (tree / "ansible.cfg").write_text("one")
    environ = {"ANSIBLE_CONFIG": str(tree / "ansible.cfg")}
    before = digest(tree, environ)
    (tree / "ansible.cfg").write_text("two")
    assert digest(tree, environ) != before


@pytest.mark.parametrize("arguments", [("-e", "@vars.yml"), ("--vault-password-file=vars.yml",)])
def test_files_that_the_arguments_name_count(tree, arguments):
    (tree / "vars.yml").write_text("one")
    before = digest(tree, arguments=arguments)
    (tree / "vars.yml").write_text("two")
    assert digest(tree, arguments=arguments) != before


def test_a_playbook_counts_with_what_lies_beside_it(tree):
    content = Playbook(tree / "playbooks" / "demo.yml")
    before = digest(tree, content=content)
    (tree / "playbooks" / "vars.yml").write_text("two")
    assert digest(tree, content=content) != before


@pytest.mark.parametrize(
    "name", ["elsewhere/file", "ansible.cfg", "roles/demo/.git/index", "roles/demo/__pycache__/x.pyc"]
)
def test_other_files_do_not(tree, name):
    before = digest(tree)
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_text("two")
    assert digest(tree) == before


@pytest.mark.parametrize(
    "change",
    [
        {"variables": {"x": 1}},
        {"arguments": ("--diff",)},
        {"environ": {"RELATED_IMAGE": "x:2"}},
        {"environ": {"DATABASE_PORT": "5433"}},
        {"variables": {"nested": {1: "a", "b": "c"}}},
        {"snake_case_parameters": False},
        {"mark_unsafe": True},
        {"inject_owner_ref": False},
    ],
)
def test_what_is_handed_to_ansible_counts(tree, change):
    assert digest(tree, **change) != digest(tree)


@pytest.mark.parametrize(
    "environ",
    [
        {"HOSTNAME": "operator-5d9c-x2x"},
        {"KUBERNETES_SERVICE_HOST": "10.0.0.1"},
        {"WEBHOOK_SERVICE_PORT_HTTPS": "443"},
        {"WEBHOOK_PORT": "tcp://10.0.0.2:443"},
        {"WEBHOOK_PORT_443_TCP_ADDR": "10.0.0.2"},
    ],
)
def test_what_every_pod_has_its_own_of_does_not(tree, environ):
    assert digest(tree, environ) == digest(tree)


def test_a_variable_with_the_name_of_the_pod_does_not_count(tree, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "operator-5d9c-x2x")
    assert digest(tree, {"POD_NAME": "operator-5d9c-x2x"}) == digest(tree)


def test_links_in_circles_end(tree):
    (tree / "roles" / "demo" / "loop").symlink_to(tree / "roles" / "demo")
    assert digest(tree) == digest(tree)


def test_a_linked_directory_counts(tree):
    (tree / "roles" / "demo" / "linked").symlink_to(tree / "elsewhere")
    before = digest(tree)
    (tree / "elsewhere" / "file").write_text("two")
    assert digest(tree) != before
