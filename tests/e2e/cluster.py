"""The cluster as the tests see it: kubectl with JSON, and ParadeDBs with what one asks of them."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
IMAGE = "localhost/paradedb-test:17"
OTHER_IMAGE = "localhost/paradedb-test:17b"  # the same programs under another name
OPERATOR_NAMESPACE = "paradedb-operator-system"

PERIOD = "ansible.sdk.operatorframework.io/reconcile-period"  # an annotation

# Kinds the operator makes for a ParadeDB.
OWNED_KINDS = (
    "statefulset,deployment,service,configmap,secret,serviceaccount,role,rolebinding,"
    "poddisruptionbudget,networkpolicy,cronjob,job"
)

_PASS = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "roles": ["paradedb"]}]

_KUBECTL = (
    ["kubectl"] if shutil.which("kubectl") else [sys.executable, str(ROOT / "tools/localcluster"), "kubectl"]
)


def kubectl(
    *arguments: str, stdin: str | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run kubectl; a failure shows what it said."""
    done = subprocess.run(
        [*_KUBECTL, *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=300
    )
    if check and done.returncode != 0:
        raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    return done


def get(kind: str, name: str, namespace: str) -> dict[str, Any] | None:
    """The object, None when there is none."""
    done = kubectl("-n", namespace, "get", kind, name, "-o", "json", "--ignore-not-found")
    return json.loads(done.stdout) if done.stdout.strip() else None


def find(kinds: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
    """Objects of the kinds (comma separated) with the labels."""
    labels = ["-l", selector] if selector else []
    return json.loads(kubectl("-n", namespace, "get", kinds, *labels, "-o", "json").stdout)["items"]


def apply(*objects: dict[str, Any]) -> None:
    kubectl("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, objects)))


def play(playbook: str, *variables: str) -> subprocess.CompletedProcess[str]:
    """Run one of the playbooks; a variable is "name=value"."""
    arguments = [word for variable in variables for word in ("-e", variable)]
    return subprocess.run(
        ["ansible-playbook", f"playbooks/{playbook}.yml", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


def scenario(name: str) -> None:
    """Run a molecule scenario as a person does; what it said is shown when it fails, else its end."""
    done = subprocess.run(
        ["molecule", "test", "-s", name], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]
    print(done.stdout[-3000:])


def eventually(what: str, holds: Callable[[], Any], seconds: float = 120) -> Any:
    """Wait until ``holds()`` is true and return its value; AssertionError after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        value = holds()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.3)


class ParadeDB:
    """One ParadeDB resource of a test."""

    def __init__(self, name: str, namespace: str) -> None:
        self.name = name
        self.namespace = namespace

    def manifest(self, **spec: Any) -> dict[str, Any]:
        """A small ParadeDB on the test image, changed by ``spec``."""
        small = {
            "image": IMAGE,
            "storage": {"size": "400Mi"},
            "extensions": {"pgVector": True, "pgSearch": False},
            "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        }
        return {
            "apiVersion": "database.paradedb.io/v1alpha1",
            "kind": "ParadeDB",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {**small, **spec},
        }

    def apply(self, **spec: Any) -> ParadeDB:
        apply(self.manifest(**spec))
        return self

    def patch(self, spec: dict[str, Any]) -> None:
        """Merge patch of the spec."""
        self._kubectl("patch", "paradedb", self.name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def annotate(self, name: str, value: str) -> None:
        self._kubectl("annotate", "--overwrite", "paradedb", self.name, f"{name}={value}")

    def resource(self) -> dict[str, Any]:
        found = get("paradedb", self.name, self.namespace)
        assert found, f"there is no ParadeDB {self.name}"
        return found

    def status(self) -> dict[str, Any]:
        return self.resource().get("status") or {}

    def condition(self, kind: str) -> dict[str, Any]:
        found = [item for item in self.status().get("conditions") or [] if item["type"] == kind]
        return found[0] if found else {}

    def wait_phase(self, phase: str, seconds: float = 120) -> dict[str, Any]:
        """Wait until the phase holds for the present generation."""

        def holds() -> dict[str, Any] | None:
            resource = self.resource()
            status = resource.get("status") or {}
            current = status.get("observedGeneration") == resource["metadata"]["generation"]
            return status if status.get("phase") == phase and current else None

        try:
            return eventually(f"{self.name} becomes {phase}", holds, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.story()}") from None

    def wait_running(self, seconds: float = 120) -> dict[str, Any]:
        return self.wait_phase("Running", seconds)

    def story(self) -> str:
        """What a person would look at after a failure."""
        return "\n".join(
            (
                self._kubectl("get", "paradedb", self.name, "-o", "yaml", check=False).stdout,
                self._kubectl("get", "pods", "-o", "wide", check=False).stdout,
                self._kubectl("get", "events", "--sort-by=.lastTimestamp", check=False).stdout,
                self._kubectl("logs", f"{self.name}-0", "--all-containers", "--tail=30", check=False).stdout,
                kubectl("-n", OPERATOR_NAMESPACE, "logs", "-l", "app.kubernetes.io/name=paradedb-operator",
                        "--tail=40", check=False).stdout,
            )
        )  # fmt: skip

    def owned(self) -> list[dict[str, Any]]:
        """Everything the operator made for this ParadeDB."""
        return find(OWNED_KINDS, self.namespace, f"app.kubernetes.io/instance={self.name}")

    def pod(self, ordinal: int = 0) -> dict[str, Any] | None:
        return get("pod", f"{self.name}-{ordinal}", self.namespace)

    def has_secret(self) -> bool:
        return get("secret", f"{self.name}-credentials", self.namespace) is not None

    def secret(self) -> dict[str, str]:
        """The superuser's credentials as an application reads them."""
        found = get("secret", f"{self.name}-credentials", self.namespace)
        assert found, "the credentials are missing"
        return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}

    def sql(self, statement: str, uri: str = "", check: bool = True) -> str:
        """Run SQL from the client pod through the Service, with the Secret's credentials.

        The node's proxy learns of a new endpoint a moment after the status does: until then the Service's
        address leads nowhere, and the connection is tried again.
        """
        script = 'read -r uri; exec psql -X -A -t -v ON_ERROR_STOP=1 "$uri"'
        stdin = f"{uri or self.secret()['uri']}\n{statement}\n"
        for _attempt in range(20):
            done = self._kubectl("exec", "-i", "client", "--", "sh", "-c", script, stdin=stdin, check=False)
            if "Network is unreachable" not in done.stderr:
                break
            time.sleep(0.5)
        assert done.returncode == 0 or not check, done.stderr
        return (done.stdout if done.returncode == 0 else done.stderr).strip()

    def setting(self, name: str) -> str:
        return self.sql(f"SHOW {name}")

    def events(self) -> list[dict[str, Any]]:
        uid = self.resource()["metadata"]["uid"]
        return [item for item in find("events", self.namespace) if item["involvedObject"].get("uid") == uid]

    def logged(self, message: str) -> int:
        """How many lines of the operator's log begin with this and are about the database."""
        log = kubectl(
            "-n", OPERATOR_NAMESPACE, "logs", "-l", "app.kubernetes.io/name=paradedb-operator", "--tail=-1"
        ).stdout
        lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
        about = [
            line for line in lines if (line.get("namespace"), line.get("name")) == (self.namespace, self.name)
        ]
        return sum(line["msg"].startswith(message) for line in about)

    def delete(self, wait: bool = True) -> None:
        self._kubectl("delete", "paradedb", self.name, f"--wait={str(wait).lower()}", "--timeout=180s")

    def _kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        return kubectl("-n", self.namespace, *arguments, stdin=stdin, check=check)


def remove(database: ParadeDB) -> None:
    """Delete a ParadeDB of a test with its volumes."""
    if get("paradedb", database.name, database.namespace):
        database.delete()
    eventually("the pods are gone", lambda: not database.pod())
    kubectl("-n", database.namespace, "delete", "pvc", "-l", f"app.kubernetes.io/instance={database.name}")


def versions(database: ParadeDB) -> dict[str, str]:
    """The resourceVersion of every owned object."""
    return {
        f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["resourceVersion"]
        for item in database.owned()
        # Patroni renews its leader lock for as long as it lives.
        if not item["metadata"]["name"].endswith("-leader")
    }


def make_pass(database: ParadeDB, directory: str, *arguments: str) -> str:
    """Make the operator's pass by hand; what Ansible said."""
    playbook = Path(directory) / "pass.yml"
    playbook.write_text(json.dumps(_PASS))
    meta = {"ansible_operator_meta": {"name": database.name, "namespace": database.namespace}}
    done = subprocess.run(
        ["ansible-playbook", str(playbook), "-e", json.dumps(meta), *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class PhaseWatch:
    """The phases which a ParadeDB goes through while the block runs, each once in a row."""

    def __init__(self, database: ParadeDB) -> None:
        self.phases: list[str] = []
        command = [*_KUBECTL, "-n", database.namespace, "get", "paradedb", database.name, "--watch"]
        self._process = subprocess.Popen(
            [*command, "-o", r"jsonpath={.status.phase}{'\n'}"], stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.strip() and (not self.phases or self.phases[-1] != line.strip()):
                self.phases.append(line.strip())

    def __enter__(self) -> PhaseWatch:
        self._reader.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        time.sleep(0.5)  # the last event is on its way
        self._process.terminate()
        self._process.wait()
        self._reader.join()
