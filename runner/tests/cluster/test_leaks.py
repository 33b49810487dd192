"""
Many passes leave nothing: no process, no descriptor, no file.

    RUNNER_TEST_PASSES=1000 pytest tests/cluster/test_leaks.py

runs a thousand of them.
"""

import os
from pathlib import Path

import pytest
from harness import PERIOD, installed, until

PASSES = int(os.environ.get("RUNNER_TEST_PASSES", "150"))
WARM = 20  # passes until everything that stays is there
RESOURCES = 10


@pytest.fixture(scope="module", autouse=True)
def definitions(kinds):
    with installed(*kinds, "Case", "Nobody", "Tick"):
        yield


def held(runner):
    """Processes, ended ones that nobody collected, descriptors, and files in the temporary directory."""
    processes = runner.processes()
    stats = [path.read_text().rpartition(")")[2].split() for path in Path("/proc").glob("[0-9]*/stat")]
    uncollected = sum(state == "Z" and int(parent) in processes for state, parent, *_ in stats)
    descriptors = sum(len(list(Path("/proc", str(pid), "fd").iterdir())) for pid in processes)
    return len(processes), uncollected, descriptors, len(list(runner.temporary.rglob("*")))


def test_passes_leak_nothing(cluster, start, engine):
    if engine == "ansible-runner":
        pytest.skip("a pass of ansible-runner takes too long to make many of them")
    runner = start("--watches-file=defects.yaml")
    tick = cluster.of("Tick")

    def make(passes):
        for number in range(RESOURCES):
            tick.create(f"n{number}", annotations={PERIOD: "1s"})
        wanted = len(runner.lines("run ended")) + passes
        until(lambda: len(runner.lines("run ended")) >= wanted, passes)
        for number in range(RESOURCES):
            tick.delete(f"n{number}")
        until(lambda: not runner.busy())
        assert not [line for line in runner.lines("run ended") if line["result"] != "Successful"]

    make(WARM)
    before = held(runner)
    make(PASSES)
    until(lambda: all(now <= then for now, then in zip(held(runner), before, strict=True)))
