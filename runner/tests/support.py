"""Names and settings that several areas share."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from paradedb_runner.control.controller import Controller
from paradedb_runner.kube.objects import GroupVersionKind, Key
from paradedb_runner.settings import Settings

DEMO = GroupVersionKind("example.com", "v1", "Demo")
CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")


def key(name: str, gvk: GroupVersionKind = DEMO) -> Key:
    return Key(gvk, "ns", name)


def make_settings(**changed: Any) -> Settings:
    values: dict[str, Any] = {
        "watches_file": Path("watches.yaml"),
        "kubeconfig": None,
        "namespaces": ("ns",),
        "engine": "ansible-runner",
        "reconcile_period": 60.0,
        "resync_period": 36000.0,
        "run_slots": 2,
        "run_timeout": 60.0,
        "graceful_shutdown_timeout": 5.0,
        "ansible_verbosity": 0,
        "ansible_arguments": (),
        "ansible_log_events": "tasks",
        "log_output": False,
        "inventory": None,
        "inject_owner_ref": True,
        "proxy_port": 0,
        "artifacts": None,
        "metrics_address": "0",
        "metrics_secure": False,
        "metrics_require_rbac": False,
        "metrics_certificate": None,
        "user_metrics_address": "0",
        "health_address": "0",
        "leader_elect": False,
        "leader_election_id": "test",
        "leader_election_namespace": "ns",
        "lease_duration": 15.0,
        "lease_renew_deadline": 10.0,
        "lease_retry_period": 2.0,
        "environ": {},
    }
    return Settings(**(values | changed))


def owner(name: str) -> dict[str, Any]:
    """Metadata of an object that a Demo owns."""
    return {"ownerReferences": [{"apiVersion": "example.com/v1", "kind": "Demo", "name": name, "uid": "1"}]}


@asynccontextmanager
async def working(controller: Controller) -> AsyncIterator[None]:
    """A controller at work, ended without patience, its memory written as at an orderly end."""
    tasks = [asyncio.create_task(controller.follow())]
    await controller.synced()
    await controller.recall()
    tasks += map(asyncio.create_task, (controller.memory.keep_written(), controller.dispatch()))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        await controller.drain(0)
        await controller.memory.flush()
        for each in ended:
            if isinstance(each, Exception):  # it was not our cancelling that ended it
                raise each
