"""A real API server, a group of kinds of our own, and the runner as a process."""

import copy
import itertools
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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from kubernetes import client

ENGINES = tuple(os.environ.get("RUNNER_TEST_ENGINES", "fork,ansible-runner").split(","))
"""Tests whose outcome could depend on the engine run with every one of these, others with the first."""
CONTENT = Path(__file__).parent / "content"
PLUGINS = ("action", "connection", "lookup")
MARK = "RUNNER_TEST_MARK"
PATIENCE = 60.0  # seconds until a test that would hang fails
PERIOD = "ansible.sdk.operatorframework.io/reconcile-period"


def until[T](look: Callable[[], T], patience: float = PATIENCE) -> T:
    """Wait until ``look`` returns something true, and return it."""
    deadline = time.monotonic() + patience
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError("it did not happen in time")
        time.sleep(0.1)
    return found


def overlaps(journal: list[str]) -> bool:
    """Whether a pass began before the one before it ended."""
    words = [line.split()[0] for line in journal if line.split()[0] in ("start", "end", "killed")]
    return any(one == two == "start" for one, two in itertools.pairwise(words))


def found[T](read: Callable[[], T]) -> T | None:
    """What ``read`` returns, or None if the API server says there is no such thing."""
    try:
        return read()
    except client.ApiException as error:
        if error.status != 404:
            raise
        return None


class Cluster:
    """The API server, the group of kinds made for this test run, one of its kinds, and one namespace."""

    def __init__(self, api: client.ApiClient, group: str, namespace: str) -> None:
        self.core, self.rbac = client.CoreV1Api(api), client.RbacAuthorizationV1Api(api)
        self.custom, self.leases = client.CustomObjectsApi(api), client.CoordinationV1Api(api)
        self.group, self.namespace, self.kind = group, namespace, "Demo"

    def of(self, kind: str) -> "Cluster":
        """The same cluster, with another kind to create, get and so on."""
        other = copy.copy(self)
        other.kind = kind
        return other

    @property
    def plural(self) -> str:
        return f"{self.kind.lower()}s"

    def create(
        self,
        name: str,
        kind: str = "",
        annotations: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
        **spec: Any,
    ) -> None:
        """Create a resource; without any spec it has none, not an empty one."""
        body = {
            "apiVersion": f"{self.group}/v1",
            "kind": kind or self.kind,
            "metadata": {"name": name, "annotations": annotations or {}, "labels": labels or {}},
        }
        plural = f"{body['kind'].lower()}s"
        self.custom.create_namespaced_custom_object(
            self.group, "v1", self.namespace, plural, body | ({"spec": spec} if spec else {})
        )

    def change(self, name: str, body: dict[str, Any]) -> None:
        """Merge ``body`` into a resource."""
        self.custom.patch_namespaced_custom_object(self.group, "v1", self.namespace, self.plural, name, body)

    def patch(self, name: str, **spec: Any) -> None:
        self.change(name, {"spec": spec})

    def delete(self, name: str) -> None:
        self.custom.delete_namespaced_custom_object(self.group, "v1", self.namespace, self.plural, name)

    def get(self, name: str, plural: str = "") -> dict[str, Any] | None:
        return found(
            lambda: self.custom.get_namespaced_custom_object(
                self.group, "v1", self.namespace, plural or self.plural, name
            )
        )

    def condition(self, name: str, kind: str, plural: str = "") -> dict[str, Any]:
        status = (self.get(name, plural) or {}).get("status") or {}
        return next((each for each in status.get("conditions", []) if each["type"] == kind), {})

    def succeeded(self, name: str) -> bool:
        """Whether a pass over the present generation succeeded."""
        obj = self.get(name) or {}
        condition = self.condition(name, "Successful")
        generation = obj.get("metadata", {}).get("generation")
        return condition.get("status") == "True" and condition.get("observedGeneration") == generation

    def config_map(self, name: str, namespace: str = "") -> Any:
        return found(lambda: self.core.read_namespaced_config_map(name, namespace or self.namespace))

    def data(self, name: str, namespace: str = "") -> dict[str, str] | None:
        """What a ConfigMap holds, or None if there is none."""
        config_map = self.config_map(name, namespace)
        return config_map and (config_map.data or {})

    def owned(self, name: str) -> dict[str, str] | None:
        return self.data(f"{name}-owned")

    def release(self) -> None:
        """Take the finalizers off everything that is left."""
        for resource in self.custom.get_api_resources(self.group, "v1").resources:
            if "/" in resource.name:
                continue
            where = (self.group, "v1", self.namespace, resource.name)
            for obj in self.custom.list_namespaced_custom_object(*where)["items"]:
                body = {"metadata": {"finalizers": None}}
                name = obj["metadata"]["name"]
                found(lambda where=where, name=name, body=body: self._patch(*where, name, body))

    def _patch(self, *arguments: Any) -> None:
        self.custom.patch_namespaced_custom_object(*arguments)

    def events(self, name: str) -> list[Any]:
        listed = self.core.list_namespaced_event(self.namespace, field_selector=f"involvedObject.name={name}")
        return list(listed.items)


class Runner:
    """One runner process; ``lines`` are its log."""

    def __init__(
        self,
        cluster: Cluster,
        directory: Path,
        *flags: str,
        content: Path = CONTENT,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.mark = uuid4().hex
        self.journal = directory / "journal"
        self.journal.mkdir(exist_ok=True)
        self.temporary = Path(tempfile.mkdtemp(prefix="rt-"))  # short: Ansible makes sockets below it
        self.health, self.metrics = free_port(), free_port()
        self._log = directory / f"log-{self.mark}"
        whole = os.environ | {
            "TEST_GROUP": cluster.group,
            "TEST_VARIABLE": "_" + cluster.group.replace(".", "_"),
            "TEST_JOURNAL": str(self.journal),
            "WATCH_NAMESPACE": cluster.namespace,
            **{f"ANSIBLE_{kind.upper()}_PLUGINS": str(CONTENT / f"{kind}_plugins") for kind in PLUGINS},
            "TMPDIR": str(self.temporary),
            MARK: self.mark,
            **(environment or {}),
        }
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "paradedb_runner", "run"),
                    f"--metrics-bind-address=127.0.0.1:{self.metrics}",
                    f"--health-probe-bind-address=127.0.0.1:{self.health}",
                    f"--user-metrics-bind-address=127.0.0.1:{free_port()}",
                    *flags,
                ],
                cwd=content,
                env=whole,
                stderr=log,
            )

    def lines(self, msg: str = "", **about: str) -> list[dict[str, Any]]:
        """The lines of the log that say ``msg`` about a resource of that name, kind and so on."""
        whole, _, _half = self._log.read_text().rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines()]
        return [line for line in lines if msg in line["msg"] and about.items() <= line.items()]

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

    def busy(self) -> list[int]:
        """The processes of runs: all but the runner and the fork servers that it keeps."""
        return [pid for pid in self.processes() if pid != self.process.pid and not self._is_server(pid)]

    def _is_server(self, pid: int) -> bool:
        try:
            parent = int(Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[1])
            command = Path("/proc", str(pid), "cmdline").read_bytes()
        except OSError:
            return True  # it has ended meanwhile
        return parent == self.process.pid and b"fork_server" in command

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def clean_up(self) -> None:
        self.kill()
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.temporary)
        print(self._log.read_text())  # pytest shows it if the test failed


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def installed(api: client.ApiClient, group: str, *kinds: str) -> Iterator[None]:
    """The definitions of these kinds, served, for as long as the block lasts."""
    extensions = client.ApiextensionsV1Api(api)
    names = [f"{kind.lower()}s.{group}" for kind in kinds]
    try:
        for kind in kinds:
            install(extensions, group, kind)
        for name in names:
            until(lambda name=name: _served(extensions, name))
        yield
    finally:
        for name in names:
            found(lambda name=name: extensions.delete_custom_resource_definition(name))
        for name in names:
            until(lambda name=name: not found(lambda: extensions.read_custom_resource_definition(name)))


def _served(extensions: client.ApiextensionsV1Api, name: str) -> bool:
    definition = extensions.read_custom_resource_definition(name)
    conditions = definition.status.conditions or []
    return any(each.type == "Established" and each.status == "True" for each in conditions)


@contextmanager
def namespaced(api: client.ApiClient, group: str) -> Iterator[Cluster]:
    """A namespace of its own for the block; resources left in it lose their finalizers."""
    cluster = Cluster(api, group, f"runner-{uuid4().hex[:8]}")
    cluster.core.create_namespace({"metadata": {"name": cluster.namespace}})
    try:
        yield cluster
    finally:
        cluster.release()
        cluster.core.delete_namespace(cluster.namespace)


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
