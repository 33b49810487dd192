"""Unit tests of the collection: `pytest collections/ansible_collections/paradedb/db/tests/unit`.

The plugins are imported by their collection name, as Ansible imports them, from this checkout;
kubernetes.core comes from ``$PARADEDB_CACHE/collections``, where the project's tools put it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ansible.plugins.loader import init_plugin_loader

if TYPE_CHECKING:
    from .life import Life

COLLECTION = Path(__file__).parents[2]
CHECKOUT = COLLECTION.parents[3]


def _cache() -> Path:
    """The project's directory for what it downloads and builds."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("PARADEDB_CACHE") or home / "paradedb")


COLLECTION_PATHS = [str(COLLECTION.parents[2]), str(_cache() / "collections")]

# Before any test module is imported: these import the plugins at their top.
init_plugin_loader(COLLECTION_PATHS)


@pytest.fixture(scope="session")
def postgres() -> Iterator[object]:
    """A PostgreSQL server of our own on a Unix socket; the test is skipped where none is installed."""
    from .private_postgres import PrivatePostgres, find_binaries, missing

    binaries = find_binaries()
    if binaries is None or missing():
        pytest.skip(missing())
    with PrivatePostgres(binaries) as server:
        yield server


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Life:
    """A running ParadeDB of two instances, which may take as long as they like to become ready."""
    from ansible_collections.paradedb.db.plugins.module_utils import instances

    from .life import running_life, stateful_set

    monkeypatch.setattr(instances, "PROGRESS_DEADLINE", 10**10)
    life = running_life("orders-0", "orders-1")
    life.kube.put(stateful_set(size=2))
    return life
