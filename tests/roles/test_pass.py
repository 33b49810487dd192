"""What a pass consists of: each task of it costs tens of milliseconds, for every database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
ROLES = ROOT / "collections/ansible_collections/paradedb/db/roles"
MOST = 10  # tasks that every pass runs


def tasks_of(file: Path) -> Iterator[dict[str, Any]]:
    """The tasks of a file in their order, those of roles and blocks in place; not the rescues."""
    yield from flat(yaml.safe_load(file.read_text()))


def flat(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in items:
        if "block" in item:
            yield from flat(item["block"])
        elif "ansible.builtin.import_role" in item:
            role = item["ansible.builtin.import_role"]["name"].removeprefix("paradedb.db.")
            yield from tasks_of(ROLES / role / "tasks/main.yml")
        else:
            yield item


def test_a_pass_has_few_tasks() -> None:
    ran = [item["name"] for item in tasks_of(ROOT / "roles/paradedb/tasks/main.yml") if "when" not in item]
    assert len(ran) <= MOST, ran


def test_the_benchmark_runs_the_tasks_of_a_pass() -> None:
    (play,) = yaml.safe_load((ROOT / "benchmarks/content/ours/playbook.yml").read_text())
    ours = [item["name"] for item in flat(play["tasks"])]
    passed = [item["name"] for item in tasks_of(ROOT / "roles/paradedb/tasks/main.yml")]
    assert ours == passed[: len(ours)]
