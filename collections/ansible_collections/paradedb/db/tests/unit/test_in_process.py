"""The action plugins in a play: inside the controller, or as a module for a task with an environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from .conftest import COLLECTION_PATHS

QUESTION = {"name": "orders", "namespace": "prod", "spec": {}}


def play(tmp_path: Path, tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run the tasks on the controller and return their results."""
    file = tmp_path / "play.yml"
    tasks = [task | {"ignore_errors": True} for task in tasks]
    file.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("K8S_AUTH")}
    environment |= {
        "ANSIBLE_COLLECTIONS_PATH": ":".join(COLLECTION_PATHS),
        "ANSIBLE_STDOUT_CALLBACK": "results",
        "ANSIBLE_CALLBACK_PLUGINS": str(tmp_path),
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
        "ANSIBLE_KEEP_REMOTE_FILES": "1",
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
        "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
        "RESULTS": str(tmp_path / "results"),
    }
    (tmp_path / "results.py").write_text(CALLBACK)
    program = Path(sys.executable).parent / "ansible-playbook"
    done = subprocess.run([program, file], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in (tmp_path / "results").read_text().splitlines()]


CALLBACK = """
import json, os
from ansible.plugins.callback import CallbackBase

class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "results"

    def _write(self, result, failed):
        with open(os.environ["RESULTS"], "a") as file:
            file.write(json.dumps({**result.result, "failed": failed}, default=str) + "\\n")

    def v2_runner_on_ok(self, result):
        self._write(result, False)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._write(result, True)
"""


def test_both_ways_give_the_same_result(tmp_path: Path) -> None:
    missing = str(tmp_path / "none")
    inside, outside, wrong, checked = play(
        tmp_path,
        [
            {"paradedb.db.preflight": QUESTION | {"kubeconfig": missing}},
            {"paradedb.db.preflight": QUESTION, "environment": {"K8S_AUTH_KUBECONFIG": missing}},
            {"paradedb.db.preflight": {"name": "orders"}},
            {"paradedb.db.preflight": QUESTION | {"kubeconfig": missing}, "check_mode": True},
        ],
    )
    assert inside["failed"] is outside["failed"] is checked["failed"] is True
    assert inside["msg"] == outside["msg"] == checked["msg"]
    assert inside["reason"] == outside["reason"] == checked["reason"]
    # One of the four was copied and run as a program of its own.
    assert len(list((tmp_path / "remote").rglob("AnsiballZ_preflight.py"))) == 1
    assert wrong["failed"] is True
    assert "namespace" in wrong["msg"]
