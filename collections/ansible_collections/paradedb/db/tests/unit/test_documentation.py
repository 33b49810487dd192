"""What ansible-doc shows is what the modules take; what the roles document is what they use."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
import pytest
import yaml
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC
from ansible_collections.paradedb.db.plugins.filter.paradedb import FilterModule

from .conftest import CHECKOUT, COLLECTION, COLLECTION_PATHS

MODULES = sorted(path.stem for path in (COLLECTION / "plugins" / "modules").glob("*.py"))
ROLES = [*sorted((COLLECTION / "roles").iterdir()), CHECKOUT / "roles" / "paradedb"]
PACKAGE = "ansible_collections.paradedb.db.plugins"

# What Ansible itself, the runner or a play puts there.
PROVIDED = {
    "lookup",
    "omit",
    "role_path",
    "ansible_operator_meta",
    "ansible_failed_result",
    "ansible_failed_task",
}


@cache
def documentation() -> dict[str, Any]:
    """What ansible-doc says about all modules."""
    names = [f"paradedb.db.{name}" for name in MODULES]
    program = Path(sys.executable).parent / "ansible-doc"
    done = subprocess.run(
        [program, "--json", "-t", "module", *names],
        env=os.environ | {"ANSIBLE_COLLECTIONS_PATH": ":".join(COLLECTION_PATHS)},
        capture_output=True,
        text=True,
        check=True,
        cwd=COLLECTION,
    )
    assert "ERROR" not in done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(params=MODULES)
def module(request: pytest.FixtureRequest) -> str:
    return request.param


CERTIFICATE = "cert-manager.io/v1/Certificate"


def spec_of(module: str) -> dict[str, Any]:
    return importlib.import_module(f"{PACKAGE}.modules.{module}").ARGUMENT_SPEC


def test_documentation_has_all_parts(module: str) -> None:
    found = documentation()[f"paradedb.db.{module}"]
    assert found["doc"]["short_description"]
    assert found["doc"]["description"]
    assert found["doc"]["version_added"] == "0.1.0"
    assert found["doc"]["has_action"] is True
    assert set(found["doc"]["attributes"]) == {"check_mode", "diff_mode"}
    assert found["examples"].strip()
    assert found["return"]
    for value in found["return"].values():
        assert {"description", "type", "returned"} <= set(value)


def test_argument_spec_is_what_is_documented(module: str) -> None:
    documented = documentation()[f"paradedb.db.{module}"]["doc"]["options"]
    spec = spec_of(module)
    assert set(documented) == set(spec)
    for name in set(spec) - set(AUTH_ARG_SPEC):
        for key, missing in (("type", "str"), ("required", False), ("default", None)):
            assert documented[name].get(key, missing) == spec[name].get(key, missing), f"{name}.{key}"
        for key in ("choices", "elements"):
            assert documented[name].get(key) == spec[name].get(key), f"{name}.{key}"
        assert documented[name]["description"]


def test_examples_are_tasks_that_the_module_takes(module: str) -> None:
    spec = spec_of(module)
    for task in yaml.safe_load(documentation()[f"paradedb.db.{module}"]["examples"]):
        assert task["name"]
        options = task[f"paradedb.db.{module}"]
        assert set(options) <= set(spec)
        assert {name for name, option in spec.items() if option.get("required")} <= set(options)


def test_every_module_has_an_action_plugin_of_the_same_function(module: str) -> None:
    action = importlib.import_module(f"{PACKAGE}.action.{module}").ActionModule
    function = importlib.import_module(f"{PACKAGE}.modules.{module}").run
    assert action.run_module is function
    assert action.argument_spec is spec_of(module)


def test_there_is_no_action_plugin_without_a_module() -> None:
    assert sorted(path.stem for path in (COLLECTION / "plugins" / "action").glob("*.py")) == MODULES


def test_defaults_for_modules_reach_all_that_sign_in() -> None:
    runtime = yaml.safe_load((COLLECTION / "meta" / "runtime.yml").read_text())
    signing_in = [name for name in MODULES if set(AUTH_ARG_SPEC) <= set(spec_of(name))]
    assert sorted(runtime["action_groups"]["k8s"]) == signing_in


def test_options_of_modules_are_described_once() -> None:
    """A module that takes a list or dict by default must not share it between calls."""
    for name in MODULES:
        for option in spec_of(name).values():
            if option.get("default") is not None and option.get("type") in ("list", "dict"):
                assert option["default"] in ([], {})


# Roles


def specs(role: Path) -> dict[str, Any]:
    return yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]


def strings(value: Any) -> list[str]:
    """Every string in the tasks, and every bare expression as a template."""
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    if not isinstance(value, dict):
        return [value] if isinstance(value, str) else []
    found = []
    for key, item in value.items():
        if key in ("when", "that", "until", "failed_when", "changed_when"):
            conditions = item if isinstance(item, list) else [item]
            found += [f"{{{{ {condition} }}}}" for condition in conditions]
        else:
            found += strings(item)
    return found


def registered(value: Any) -> set[str]:
    if isinstance(value, list):
        return {name for item in value for name in registered(item)}
    if not isinstance(value, dict):
        return set()
    own = {value["register"]} if "register" in value else set()
    own |= set(value["vars"]) if isinstance(value.get("vars"), dict) else set()
    return own | {name for item in value.values() for name in registered(item)}


def load(role: Path, part: str) -> Any:
    file = role / part / "main.yml"
    return yaml.safe_load(file.read_text()) if file.exists() else {}


class Known(dict[str, Any]):
    """Ansible's filters and tests, whatever they are called."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> Any:
        return str

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name, str)


def used(role: Path) -> set[str]:
    environment = jinja2.Environment(autoescape=False)  # noqa: S701  nothing is rendered
    environment.filters, environment.tests = Known(), Known()
    texts = [text for part in ("tasks", "defaults", "vars") for text in strings(load(role, part))]
    texts += [path.read_text() for path in (role / "templates").glob("*.j2")]
    parsed = [environment.parse(text) for text in texts]
    # Of a variable that is set below a condition, jinja2 supposes that it may come from outside.
    own = {node.target.name for tree in parsed for node in tree.find_all(jinja2.nodes.Assign)}
    return {name for tree in parsed for name in jinja2.meta.find_undeclared_variables(tree)} - own


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_variable_of_a_role_is_documented(role: Path) -> None:
    options = set(specs(role)["options"])
    imported = {
        name
        for task in re.findall(r"name: paradedb\.db\.(\w+)", json.dumps(load(role, "tasks")).replace('"', ""))
        for name in registered(load(COLLECTION / "roles" / task, "tasks"))
    }
    own = registered(load(role, "tasks")) | imported | set(load(role, "vars"))
    assert used(role) - PROVIDED - own <= options


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_option_of_a_role_is_used(role: Path) -> None:
    assert set(specs(role)["options"]) <= used(role)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_optional_variable_has_its_default(role: Path) -> None:
    """A default in the documentation sets nothing: it must stand in defaults/ too."""
    defaults = load(role, "defaults") or {}
    text = "".join(
        path.read_text() for path in role.rglob("*") if path.is_file() and path.suffix in (".yml", ".j2")
    )
    for name, option in specs(role)["options"].items():
        if option.get("required"):
            assert name not in defaults
        elif "default" in option:
            assert defaults[name] == option["default"]
        else:
            assert name in defaults or f"{name} | default(" in text
    assert set(defaults) <= set(specs(role)["options"])


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_documentation_of_a_role_is_complete(role: Path) -> None:
    assert specs(role)["short_description"]
    for option in specs(role)["options"].values():
        assert option["description"]
        assert option["type"] in ("str", "int", "bool", "dict", "list", "raw")


# The collection


def test_every_filter_has_its_words() -> None:
    for name, function in FilterModule().filters().items():
        assert name == function.__name__
        assert function.__doc__


def test_the_kinds_of_the_roles_are_those_that_teardown_deletes() -> None:
    from ansible_collections.paradedb.db.plugins.module_utils.teardown import OWNED_KINDS

    applied = {
        kind
        for role in ROLES
        for task in load(role, "tasks")
        if "paradedb.db.apply" in task
        for kind in task["paradedb.db.apply"]["kinds"]
    }
    # The credentials module applies these itself, and CronJobs make Jobs.
    assert applied | {"v1/Secret", "v1/ServiceAccount", CERTIFICATE, "batch/v1/Job"} == {
        f"{version}/{kind}" for version, kind in OWNED_KINDS
    }


def test_what_the_roles_write_makes_the_runner_look_again() -> None:
    from ansible_collections.paradedb.db.plugins.module_utils.teardown import OWNED_KINDS

    (watch,) = yaml.safe_load((CHECKOUT / "watches.yaml").read_text())
    watched = {
        f"{item['group']}/{item['version']}".lstrip("/") + f"/{item['kind']}" for item in watch["dependents"]
    }
    # Most clusters have no cert-manager; what it issues arrives in a Secret, which is watched.
    assert watched | {CERTIFICATE} == {f"{version}/{kind}" for version, kind in OWNED_KINDS}


def test_the_collection_says_what_it_needs() -> None:
    galaxy = yaml.safe_load((COLLECTION / "galaxy.yml").read_text())
    assert galaxy["dependencies"]["kubernetes.core"]
    assert (COLLECTION / galaxy["readme"]).is_file()
    text = (COLLECTION / galaxy["readme"]).read_text()
    for name in [*MODULES, *FilterModule().filters(), *(role.name for role in ROLES)]:
        assert f"`{name}`" in text, f"README.md does not mention {name}"
