from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import editions

COMMUNITY = {"replicas": 3, "image": "paradedb/paradedb:17-v0.25.3"}


@pytest.mark.parametrize(
    "version",
    [
        "0.24.0",
        "0.24",
        "0.24.0-rc.1",
        "v0.24.1",
        "0.25.3",
        "0.100.0",
        "1.0",
        "10.2.3",
        "0.24.0+dev.3",
        "dev",
        "main",
    ],
)
def test_new_community_editions_stay_at_one_instance(version: str) -> None:
    found = editions.limit(COMMUNITY, version)
    assert found
    assert found["reason"] == "CommunityStandbyUnsupported"
    for words in (
        version,
        "6007",
        "spec.edition: Enterprise",
        "HeapOnly",
        "spec.replicas to 1",
        "instead of 3",
    ):
        assert words in found["message"]


@pytest.mark.parametrize("version", ["", "0.23.9", "v0.23.4", "0.3.0", "0.9", "0.23.99-rc.2", "0.2.40"])
def test_older_versions_and_images_without_pg_search_are_free(version: str) -> None:
    assert editions.limit(COMMUNITY, version) is None


@pytest.mark.parametrize(
    ("more", "free"),
    [
        ({"replicas": 1}, True),
        ({"edition": "Enterprise"}, True),
        ({"edition": "Community"}, False),
        ({"edition": "Auto"}, False),
        ({"edition": None, "image": None, "replication": None}, False),
        ({"image": "paradedb/paradedb-enterprise:17-v0.25.3"}, True),
        ({"image": "localhost:5000/Paradedb-Enterprise:17"}, True),
        ({"image": "paradedb-enterprise@sha256:0123"}, True),
        ({"image": "paradedb:17-enterprise", "edition": "Auto"}, True),
        ({"image": "paradedb-enterprise:17", "edition": "Community"}, False),
        ({"image": "registry.enterprise.example/paradedb:17"}, False),
        ({"image": "enterprise/paradedb:17"}, False),
        ({"replication": {"communityStandby": "HeapOnly"}}, True),
        ({"replication": {"communityStandby": "Deny"}}, False),
    ],
    ids=str,
)
def test_ways_out(more: dict[str, Any], free: bool) -> None:
    assert (editions.limit({**COMMUNITY, **more}, "0.25.3") is None) is free


def test_a_spec_without_replicas_has_one() -> None:
    assert editions.limit({}, "0.25.3") is None
