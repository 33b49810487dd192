"""A real API server with the ParadeDB CRD, for tests of what it accepts, defaults and refuses.

No operator and no pods are needed. The cluster may be shared: the CRD is applied and never deleted, and every
object lives in a namespace of its own.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "reference"))

from apiserver import CRD_FILE, Object, ParadeDBs, Server, cel_rules, kubectl, served_rules


@pytest.fixture(scope="session")
def crd() -> Object:
    """The CRD as the file has it."""
    loaded: Object = yaml.safe_load(CRD_FILE.read_text())
    return loaded


@pytest.fixture(scope="session")
def schema(crd: Object) -> Object:
    """The OpenAPI schema of the one version."""
    root: Object = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return root


@pytest.fixture(scope="session")
def server(schema: Object) -> Server:
    """An API server that serves the CRD as the file has it."""
    if not os.environ.get("KUBECONFIG"):
        pytest.fail("KUBECONFIG is not set; start a cluster with: python3 tools/localcluster start")
    server = Server()
    applied = kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRD_FILE))
    assert applied.returncode == 0, applied.stderr
    wanted = cel_rules(schema)
    deadline = time.monotonic() + 60
    while served_rules(server) != wanted:
        assert time.monotonic() < deadline, "the API server does not serve the applied CRD"
        time.sleep(0.2)
    return server


@pytest.fixture(scope="session")
def namespace(server: Server) -> Iterator[str]:
    """A namespace of this run; deleting it deletes what is left in it."""
    name = f"api-test-{secrets.token_hex(4)}"
    server.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    server.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture(scope="session")
def paradedbs(server: Server, namespace: str) -> ParadeDBs:
    """ParadeDB resources in this run's namespace."""
    return ParadeDBs(server, namespace)
