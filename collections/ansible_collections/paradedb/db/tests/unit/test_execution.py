"""Both ways in which a module runs: inside the controller, and as a program of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.paradedb.db.plugins.module_utils import execution
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.kube import ExecFailed, KubeError

from .conftest import COLLECTION_PATHS

SPEC = execution.argument_spec(
    name={"type": "str", "required": True},
    replicas={"type": "int", "default": 1},
    state={"type": "str", "choices": ["on", "off"], "default": "on"},
    items={"type": "list", "elements": "str"},
)


@pytest.fixture(autouse=True)
def without_a_cluster(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What ``Kube`` was given, in place of a connection."""
    given: list[dict[str, Any]] = []

    def connect(auth: dict[str, Any]) -> str:
        given.append(auth)
        return "kube"

    monkeypatch.setattr(execution, "Kube", connect)
    return given


def run(function: Any, check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
    return execution.run_in_process(
        function, ArgumentSpecValidator(SPEC), {"namespace": "b", **arguments}, check_mode
    )


def raising(error: Exception) -> Any:
    def function(params: dict[str, Any], kube: Any, check_mode: bool) -> dict[str, Any]:
        raise error

    return function


def test_arguments_are_validated_converted_and_completed() -> None:
    seen: list[Any] = []

    def function(params: dict[str, Any], kube: Any, check_mode: bool) -> dict[str, Any]:
        seen.append((params, kube, check_mode))
        return {"changed": False}

    assert run(function, check_mode=True, name="a", replicas="3", items="x,y") == {"changed": False}
    ((params, kube, check_mode),) = seen
    assert {key: params[key] for key in ("name", "replicas", "state", "items")} == {
        "name": "a",
        "replicas": 3,
        "state": "on",
        "items": ["x", "y"],
    }
    assert (kube, check_mode) == ("kube", True)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({}, "missing required arguments: name"),
        ({"name": "a", "replicas": "many"}, "replicas"),
        ({"name": "a", "state": "maybe"}, "state"),
        ({"name": "a", "unknown": 1}, "unknown"),
    ],
)
def test_wrong_arguments_never_reach_the_module(arguments: dict[str, Any], complaint: str) -> None:
    found = run(raising(AssertionError("called")), **arguments)
    assert found["failed"] is True
    assert complaint in found["msg"]
    assert "exception" not in found


def test_a_refusal_names_reason_and_field() -> None:
    found = run(raising(Refused("InvalidSetting", "spec.x", "is wrong; mend it")), name="a")
    assert found == {
        "failed": True,
        "msg": "spec.x: is wrong; mend it",
        "reason": "InvalidSetting",
        "field": "spec.x",
    }
    assert run(raising(Refused("Broken", "", "words")), name="a")["msg"] == "words"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (0, "KubernetesUnavailable"),
        (429, "KubernetesUnavailable"),
        (500, "KubernetesUnavailable"),
        (503, "KubernetesUnavailable"),
        (403, "KubernetesError"),
        (409, "KubernetesError"),
        (422, "KubernetesError"),
    ],
)
def test_an_answer_of_the_api_server(status: int, reason: str) -> None:
    found = run(raising(KubeError(status, "its words")), name="a")
    assert (found["failed"], found["msg"], found["reason"], found["status"]) == (
        True,
        "its words",
        reason,
        status,
    )


def test_a_command_that_failed() -> None:
    found = run(raising(ExecFailed(3, " psql said \n")), name="a")
    assert (found["msg"], found["reason"]) == ("psql said", "CommandFailed")
    assert run(raising(ExecFailed(3, "")), name="a")["msg"] == "the command ended with code 3"


def test_a_mistake_of_ours_is_told_with_its_place() -> None:
    found = run(raising(KeyError("x")), name="a")
    assert (found["failed"], found["msg"], found["reason"]) == (True, "KeyError: 'x'", "InternalError")
    assert "test_execution.py" in found["exception"]


def test_only_given_credentials_are_handed_on(without_a_cluster: list[dict[str, Any]]) -> None:
    run(lambda *_: {"changed": False}, name="a", kubeconfig="/x", validate_certs=False)
    assert without_a_cluster == [{"kubeconfig": "/x", "validate_certs": False}]


def test_a_module_without_options_to_sign_in_gets_no_connection(
    without_a_cluster: list[dict[str, Any]],
) -> None:
    def function(params: dict[str, Any], kube: Any, check_mode: bool) -> dict[str, Any]:
        return {"kube": kube, **params}

    spec = {"name": {"type": "str"}}
    assert execution.run_in_process(function, ArgumentSpecValidator(spec), {"name": "a"}, False) == {
        "kube": None,
        "name": "a",
    }
    assert without_a_cluster == []


def test_a_number_in_place_of_suboptions_is_told() -> None:
    spec = {"gauge": {"type": "dict", "options": {"set": {"type": "float"}}}}
    found = execution.run_in_process(
        raising(AssertionError("called")), ArgumentSpecValidator(spec), {"gauge": 5}, False
    )
    assert (found["failed"], "another type" in found["msg"]) == (True, True)


def test_an_ordinary_module_warns_by_ansibles_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []

    class Module:
        check_mode, params = False, {"name": "a"}

        def __init__(self, **_: Any) -> None:
            self.warn = said.append

        def exit_json(self, **result: Any) -> None:
            said.append(result)

    monkeypatch.setattr(execution, "AnsibleModule", Module)
    execution.run_module(lambda *_: {"changed": True, "warnings": ["mind this"]}, {"name": {"type": "str"}})
    assert said == ["mind this", {"changed": True}]


def test_passwords_of_the_cluster_are_marked_secret() -> None:
    assert SPEC["api_key"]["no_log"] is True
    assert SPEC["password"]["no_log"] is True


def test_the_same_module_as_a_program(tmp_path: Path) -> None:
    """An ordinary module reads its arguments and answers with one JSON document."""
    arguments = {"name": "a", "namespace": "b", "spec": {}, "kubeconfig": str(tmp_path / "none")}
    program = (
        "import runpy; from ansible.plugins.loader import init_plugin_loader;"
        f"init_plugin_loader({COLLECTION_PATHS!r});"
        "from ansible.module_utils import basic;"
        f"basic._ANSIBLE_ARGS = {json.dumps({'ANSIBLE_MODULE_ARGS': arguments}).encode()!r};"
        "basic._ANSIBLE_PROFILE = 'legacy';"
        "runpy.run_module('ansible_collections.paradedb.db.plugins.modules.preflight', run_name='__main__')"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("K8S_AUTH")}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=kept
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 1
    assert found["failed"] is True
    assert "kube-config" in found["msg"]
    assert found["reason"]


def test_a_failure_tells_what_was_known_by_then() -> None:
    def run(params: dict[str, Any], kube: Any, check_mode: bool) -> dict[str, Any]:
        refusal = Refused("Wrong", "spec.x", "no")
        refusal.result = {"generation": 3, "reason": "Other"}  # type: ignore[attr-defined]
        raise refusal

    given = {"name": "orders", "namespace": "prod"}
    found = execution.run_in_process(run, ArgumentSpecValidator(SPEC), given, False)
    assert (found["failed"], found["generation"], found["reason"]) == (True, 3, "Wrong")
