"""A real API server, a group of kinds of our own, and the runner as a process."""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from kubernetes import client

CONTENT = Path(__file__).parent / "content"
MARK = "RUNNER_TEST_MARK"
PATIENCE = 60.0  # seconds until a test that would hang fails


def until[T](look: Callable[[], T], patience: float = PATIENCE) -> T:
    """Wait until ``look`` returns something true, and return it."""
    deadline = time.monotonic() + patience
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError("it did not happen in time")
        time.sleep(0.1)
    return found


class Cluster:
    """The API server, the group of kinds made for this test run, and one namespace."""

    def __init__(self, api: client.ApiClient, group: str, namespace: str) -> None:
        self.core, self.rbac = client.CoreV1Api(api), client.RbacAuthorizationV1Api(api)
        self.custom, self.leases = client.CustomObjectsApi(api), client.CoordinationV1Api(api)
        self.group, self.namespace = group, namespace

    def create(
        self, name: str, kind: str = "Demo", annotations: dict[str, str] | None = None, **spec: Any
    ) -> None:
        body = {
            "apiVersion": f"{self.group}/v1",
            "kind": kind,
            "metadata": {"name": name, "annotations": annotations or {}},
            "spec": spec,
        }
        self.custom.create_namespaced_custom_object(
            self.group, "v1", self.namespace, f"{kind.lower()}s", body
        )

    def patch(self, name: str, **spec: Any) -> None:
        self.custom.patch_namespaced_custom_object(
            self.group, "v1", self.namespace, "demos", name, {"spec": spec}
        )

    def delete(self, name: str) -> None:
        self.custom.delete_namespaced_custom_object(self.group, "v1", self.namespace, "demos", name)

    def get(self, name: str, plural: str = "demos") -> dict[str, Any] | None:
        try:
            return self.custom.get_namespaced_custom_object(self.group, "v1", self.namespace, plural, name)
        except client.ApiException as error:
            if error.status != 404:
                raise
            return None

    def condition(self, name: str, kind: str, plural: str = "demos") -> dict[str, Any]:
        status = (self.get(name, plural) or {}).get("status") or {}
        return next((each for each in status.get("conditions", []) if each["type"] == kind), {})

    def succeeded(self, name: str) -> bool:
        obj = self.get(name) or {}
        condition = self.condition(name, "Successful")
        generation = obj.get("metadata", {}).get("generation")
        return condition.get("status") == "True" and condition.get("observedGeneration") == generation

    def owned(self, name: str) -> dict[str, str] | None:
        try:
            return self.core.read_namespaced_config_map(f"{name}-owned", self.namespace).data
        except client.ApiException as error:
            if error.status != 404:
                raise
            return None

    def release(self) -> None:
        """Take the finalizers off everything that is left."""
        where = (self.group, "v1", self.namespace, "demos")
        for obj in self.custom.list_namespaced_custom_object(*where)["items"]:
            body = {"metadata": {"finalizers": None}}
            self.custom.patch_namespaced_custom_object(*where, obj["metadata"]["name"], body)

    def events(self, name: str) -> list[Any]:
        listed = self.core.list_namespaced_event(self.namespace, field_selector=f"involvedObject.name={name}")
        return list(listed.items)


class Runner:
    """One runner process; ``lines`` are its log."""

    def __init__(self, cluster: Cluster, directory: Path, *flags: str) -> None:
        self.mark = uuid4().hex
        self.journal = directory / "journal"
        self.journal.mkdir(exist_ok=True)
        self.temporary = Path(tempfile.mkdtemp(prefix="rt-"))  # short: Ansible makes sockets below it
        self.health, self.metrics = _free_port(), _free_port()
        self._log = directory / f"log-{self.mark}"
        environment = os.environ | {
            "TEST_GROUP": cluster.group,
            "TEST_VARIABLE": "_" + cluster.group.replace(".", "_"),
            "TEST_JOURNAL": str(self.journal),
            "WATCH_NAMESPACE": cluster.namespace,
            "TMPDIR": str(self.temporary),
            MARK: self.mark,
        }
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "paradedb_runner", "run"),
                    f"--metrics-bind-address=127.0.0.1:{self.metrics}",
                    f"--health-probe-bind-address=127.0.0.1:{self.health}",
                    *flags,
                ],
                cwd=CONTENT,
                env=environment,
                stderr=log,
            )

    def lines(self, msg: str = "") -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self._log.read_text().splitlines()]
        return [line for line in lines if msg in line["msg"]]

    def ready(self) -> bool:
        assert self.process.poll() is None, self._log.read_text()
        return self.http(f"http://127.0.0.1:{self.health}/readyz") == 200

    def http(self, url: str, token: str = "") -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(url, headers=headers)  # noqa: S310
        context = ssl._create_unverified_context() if url.startswith("https") else None  # noqa: S323
        try:
            with urllib.request.urlopen(request, context=context, timeout=10) as answer:  # noqa: S310
                self.answer = answer.read().decode()
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return 0

    def passes(self, name: str) -> list[str]:
        path = self.journal / name
        return path.read_text().splitlines() if path.exists() else []

    def processes(self) -> list[int]:
        """Everything that runs and descends from this runner, however detached."""
        mark = f"{MARK}={self.mark}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (path / "environ").read_bytes().split(b"\0"):
                    found.append(int(path.name))
            except OSError:
                continue
        return found

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def clean_up(self) -> None:
        self.process.kill()
        self.process.wait()
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.temporary)
        print(self._log.read_text())  # pytest shows it if the test failed


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def install(extensions: client.ApiextensionsV1Api, group: str, kind: str) -> None:
    """Create the definition of one kind that accepts anything."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    }
    singular = kind.lower()
    extensions.create_custom_resource_definition(
        {
            "metadata": {"name": f"{singular}s.{group}"},
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"kind": kind, "plural": f"{singular}s", "singular": singular},
                "versions": [version],
            },
        }
    )
