"""Fixtures of the tests that need a real API server; without one they are skipped and say so."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from harness import ENGINES, Cluster, Runner, installed, namespaced, until
from kubernetes import client, config


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: waits for a minute or more")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip = pytest.mark.skip(reason="KUBECONFIG names no cluster")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            if not os.environ.get("KUBECONFIG"):
                item.add_marker(skip)


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """How runners of a module start Ansible; a module that no engine can make a difference to says so."""
    return str(request.param)


@pytest.fixture(scope="session")
def kinds() -> Iterator[tuple[client.ApiClient, str]]:
    """Install the two kinds in a group nobody else has."""
    config.load_kube_config()
    group = f"t{uuid4().hex[:8]}.example.com"
    with client.ApiClient() as api, installed(api, group, "Demo", "Broken"):
        yield api, group


@pytest.fixture
def cluster(kinds: tuple[client.ApiClient, str]) -> Iterator[Cluster]:
    """A namespace for one test; resources left in it lose their finalizers."""
    with namespaced(*kinds) as cluster:
        yield cluster


@pytest.fixture
def start(cluster: Cluster, engine: str, tmp_path: Path) -> Iterator[Callable[..., Runner]]:
    """Start runners and wait until they are ready; none survives the test."""
    started: list[Runner] = []

    def go(*flags: str, wait: bool = True, **options: Any) -> Runner:
        runner = Runner(cluster, tmp_path, f"--engine={engine}", *flags, **options)
        started.append(runner)
        if wait:
            until(runner.ready)
        return runner

    yield go
    for runner in started:
        runner.clean_up()
