"""Killed anywhere, the next pass finishes: the operator and the API server die under the work."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster import OPERATOR_NAMESPACE, ROOT, ParadeDB, eventually, find, kubectl

Make = Callable[[str], ParadeDB]

pytestmark = pytest.mark.alone

OPERATOR = "app.kubernetes.io/name=paradedb-operator"


def kill_operator() -> None:
    """Take the operator's pod away with no time to say goodbye."""
    kubectl("-n", OPERATOR_NAMESPACE, "delete", "pod", "-l", OPERATOR, "--force", "--grace-period=0")


def test_operator_killed_in_the_middle_of_the_first_pass(make: Make) -> None:
    database = make("killed").apply()
    eventually("the pass has begun", lambda: database.status().get("phase") == "Creating")
    kill_operator()
    database.wait_running(240)
    assert database.sql("SELECT 1") == "1"


def test_operator_killed_again_and_again(make: Make) -> None:
    database = make("killedmore").apply()
    for _ in range(3):
        time.sleep(4)
        kill_operator()
    database.wait_running(240)
    database.patch({"postgresConfig": {"max_connections": "61"}})
    time.sleep(1)
    kill_operator()
    database.wait_running(240)
    assert database.setting("max_connections") == "61"


def operator_processes() -> list[int]:
    """The operator's processes as the node sees them; none where the node is another machine."""
    uid = find("pod", OPERATOR_NAMESPACE, OPERATOR)[0]["metadata"]["uid"]
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if uid in (directory / "cgroup").read_text() and "python" in str((directory / "exe").readlink()):
                found.append(int(directory.name))
        except OSError:  # it ended meanwhile, or is not ours to see
            continue
    return found


def test_runner_killed_with_minus_nine(make: Make) -> None:
    """All its processes die at once, in the middle of a pass; the container starts again."""
    if not operator_processes():
        pytest.skip("the node's processes are not on this machine")
    database = make("sigkill").apply()
    eventually("the pass has begun", lambda: database.status().get("phase") == "Creating")
    for process in operator_processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    database.wait_running(240)
    assert database.sql("SELECT 1") == "1"


def test_api_server_restarted_under_the_operator(make: Make) -> None:
    native = subprocess.run(
        [sys.executable, str(ROOT / "tools/localcluster"), "status"],
        capture_output=True,
        text=True,
        check=False,
    )
    if "native" not in native.stdout:
        pytest.skip("only the native local cluster lets a test restart its API server")
    database = make("apidown").apply()
    eventually("the pass has begun", lambda: database.status().get("phase") == "Creating")
    environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    subprocess.run(
        [sys.executable, str(ROOT / "tools/localcluster"), "restart", "apiserver"],
        check=True,
        env=environment,
    )
    eventually(
        "the API server answers", lambda: kubectl("get", "--raw", "/readyz", check=False).returncode == 0
    )
    database.wait_running(240)
    database.patch({"postgresConfig": {"work_mem": "31MB"}})
    database.wait_running(240)
    assert database.setting("work_mem") == "31MB"
