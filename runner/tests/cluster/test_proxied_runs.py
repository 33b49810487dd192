"""The proxy between real clients and a real API server."""

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from paradedb_runner.control.inputdir import input_directory, private_base
from paradedb_runner.kube.api import Api
from paradedb_runner.kube.credentials import Credentials
from paradedb_runner.kube.objects import GroupVersionKind, Key
from paradedb_runner.proxy.api_paths import parse_path
from paradedb_runner.proxy.kubeconfig import write_kubeconfig
from paradedb_runner.proxy.ownership import Owner
from paradedb_runner.proxy.server import Proxy
from paradedb_runner.watches.model import Playbook

CORE = "kubernetes.core."
PATIENCE = 120.0  # seconds until a play that would hang fails


class Runs:
    """Plays and commands, each in a run of its own, for a resource of the test's kind."""

    def __init__(self, cluster, proxy: Proxy, base: Path) -> None:
        self.cluster, self.proxy, self.base = cluster, proxy, base
        self.gvk = GroupVersionKind(cluster.group, "v1", "Demo")

    def owner(self, name: str) -> Owner:
        found = self.cluster.get(name)
        if not found:
            self.cluster.create(name)
            found = self.cluster.get(name)
        return Owner(Key(self.gvk, self.cluster.namespace, name), found["metadata"]["uid"])

    async def play(self, name: str, *tasks: dict) -> str:
        """Run a play for a resource; its output."""
        path = self.base / f"{uuid4().hex}.json"
        path.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
        return await self.command(name, str(Path(sys.executable).parent / "ansible-playbook"), str(path))

    async def command(self, name: str, *words: str, **more: str) -> str:
        namespace, owner = self.cluster.namespace, self.owner(name)
        with (
            input_directory(self.base, uuid4().hex[:12], Playbook(Path()), {}, None) as directory,
            self.proxy.session(owner) as session,
        ):
            write_kubeconfig(directory.kubeconfig, session.url, session.token, namespace, session.certificate)
            environment = os.environ | {
                "KUBECONFIG": str(directory.kubeconfig),
                "K8S_AUTH_KUBECONFIG": str(directory.kubeconfig),
                "TMPDIR": str(directory.temporary),
                "ANSIBLE_LOCAL_TEMP": str(directory.temporary),
                "ANSIBLE_REMOTE_TEMP": str(directory.temporary),
                "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
            }
            process = await asyncio.create_subprocess_exec(
                *words,
                env=environment | more,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            try:
                output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        assert process.returncode == 0, output.decode()
        return output.decode()


@pytest.fixture
def reported() -> list[tuple[str, str]]:
    return []


@pytest.fixture
async def runs(cluster, reported) -> AsyncIterator[Runs]:
    with private_base() as base:
        async with (
            Api(Credentials(Path(os.environ["KUBECONFIG"]))) as api,
            Proxy(api, 0, base / "proxy", lambda one, two: reported.append((one.kind, two.kind))) as proxy,
        ):
            yield Runs(cluster, proxy, base)


def config_map(name: str, namespace: str | None = None, **data: str) -> dict:
    place = {"namespace": namespace} if namespace else {}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **place}, "data": data}


def k8s(definition: dict, **more: object) -> dict:
    return {f"{CORE}k8s": {"definition": definition, **more}}


def owners(cluster, name: str) -> list[tuple[str, str]]:
    found = cluster.core.read_namespaced_config_map(name, cluster.namespace)
    return [(each.kind, each.name) for each in found.metadata.owner_references or []]


async def test_what_kubernetes_core_writes_belongs_to_the_resource(cluster, runs, reported):
    await runs.play(
        "one",
        k8s(config_map("posted", a="1"), namespace=cluster.namespace),
        k8s(config_map("applied", cluster.namespace), apply=True, server_side_apply={"field_manager": "x"}),
        k8s(config_map("merged", cluster.namespace, a="1"), apply=True),
        k8s(config_map("merged", cluster.namespace, a="2"), apply=True),
        k8s(config_map("posted", cluster.namespace, a="2"), force=True),
    )
    for name in ("posted", "applied", "merged"):
        assert owners(cluster, name) == [("Demo", "one")], name
    assert cluster.core.read_namespaced_config_map("posted", cluster.namespace).data == {"a": "2"}
    assert reported == [("Demo", "ConfigMap")]


async def test_a_second_play_changes_nothing(cluster, runs):
    tasks = [
        k8s(config_map("applied", cluster.namespace), apply=True, server_side_apply={"field_manager": "x"}),
        k8s(config_map("merged", cluster.namespace, a="1"), apply=True),
    ]
    assert "changed=2" in await runs.play("one", *tasks)
    assert "changed=0" in await runs.play("one", *tasks)


async def test_what_is_elsewhere_is_annotated(cluster, runs, reported):
    elsewhere = f"{cluster.namespace}-more"
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": elsewhere}}
    try:
        await runs.play("one", k8s(namespace), k8s(config_map("far", elsewhere)))
        found = [
            cluster.core.read_namespace(elsewhere),
            cluster.core.read_namespaced_config_map("far", elsewhere),
        ]
        for each in found:
            assert not each.metadata.owner_references
            assert each.metadata.annotations == {
                "operator-sdk/primary-resource": f"{cluster.namespace}/one",
                "operator-sdk/primary-resource-type": f"Demo.{cluster.group}",
            }
        assert reported == [("Demo", "Namespace"), ("Demo", "ConfigMap")]
    finally:
        cluster.core.delete_namespace(elsewhere)


async def test_a_run_may_change_its_own_resource(cluster, runs):
    own = {"apiVersion": f"{cluster.group}/v1", "kind": "Demo"}
    own |= {"metadata": {"name": "one", "namespace": cluster.namespace}, "spec": {"size": 2}}
    await runs.play("one", k8s(own, apply=True, server_side_apply={"field_manager": "x"}))
    assert cluster.get("one")["spec"] == {"size": 2}
    assert "ownerReferences" not in cluster.get("one")["metadata"]


async def test_a_second_run_discovers_nothing_even_for_another_resource(cluster, runs, caplog):
    caplog.set_level(logging.DEBUG, "paradedb_runner.proxy.upstream")
    info = {f"{CORE}k8s_info": {"kind": "Demo", "api_version": f"{cluster.group}/v1"}}
    for name, discovers in (("one", True), ("two", False)):
        runs.owner(name)
        caplog.clear()
        await runs.play(name, info)
        asked = [record.args[1] for record in caplog.records]
        assert any(f"/apis/{cluster.group}/v1/demos" in target for target in asked)
        assert any(parse_path(target.partition("?")[0]) is None for target in asked) is discovers, asked


async def test_a_command_runs_in_a_pod(runs):
    namespace, pod, container = find_pod()
    where = {"namespace": namespace, "pod": pod, "container": container}
    executed = {f"{CORE}k8s_exec": where | {"command": "echo hello from inside"}, "register": "answer"}
    wanted = {
        "ansible.builtin.assert": {"that": ["answer.rc == 0", "answer.stdout == 'hello from inside\n'"]}
    }
    await runs.play("one", executed, wanted)


@pytest.mark.parametrize("variables", [{}, {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}])
async def test_the_kubernetes_client_works_in_the_resources_namespace(runs, variables):
    script = """
from kubernetes import client, config
config.load_kube_config()
space = config.list_kube_config_contexts()[1]["context"]["namespace"]
body = {"metadata": {"name": "big"}, "data": {"x": "y" * 1_000_000}}
print(client.CoreV1Api().create_namespaced_config_map(space, body).metadata.owner_references[0].name)
"""
    assert await runs.command("one", sys.executable, "-c", script, **variables) == "one\n"


async def test_a_watch_sees_what_happens_after_it_began(cluster, runs):
    script = """
import sys
from kubernetes import client, config, watch
config.load_kube_config()
core, space = client.CoreV1Api(), sys.argv[1]
for number, event in enumerate(watch.Watch().stream(core.list_namespaced_config_map, space)):
    if number == 0:
        core.create_namespaced_config_map(space, {"metadata": {"name": "late"}})
    elif event["object"].metadata.name == "late":
        print(event["type"])
        break
"""
    cluster.core.create_namespaced_config_map(cluster.namespace, config_map("early"))
    assert await runs.command("one", sys.executable, "-c", script, cluster.namespace) == "ADDED\n"


FIND = """
from kubernetes import client, config, stream
config.load_kube_config()
pods = client.CoreV1Api().list_pod_for_all_namespaces(field_selector="status.phase=Running").items
for pod in sorted(pods, key=lambda pod: pod.metadata.creation_timestamp):  # the oldest stays longest
    where = pod.metadata.namespace, pod.metadata.name, pod.spec.containers[0].name
    call = client.CoreV1Api().connect_get_namespaced_pod_exec
    said = stream.stream(call, where[1], where[0], container=where[2], command=["echo", "hello"], stdout=True)
    if said == "hello\\n":
        print(*where)
        break
"""


def find_pod() -> list[str]:
    """Namespace, name and container of a running pod that has ``echo``, looked for without the proxy."""
    found = subprocess.run([sys.executable, "-c", FIND], capture_output=True, text=True, timeout=PATIENCE)
    return found.stdout.split() or pytest.skip("no running pod has echo")
