from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils.backup_rules import check_rules
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused

S3: dict[str, Any] = {"endpoint": "https://a", "bucket": "abc", "secretRef": {"name": "keys"}}
CONTINUOUS = {"source": "shop", "method": "continuous"}


@pytest.mark.parametrize(
    "backup",
    [
        None,
        {},
        {"enabled": False, "s3": S3},
        {"enabled": True, "pvc": {}, "verify": {}, "continuous": {"enabled": False}},
        {"enabled": True, "s3": S3, "verify": {}, "continuous": {"enabled": True}},
    ],
)
def test_backups_that_work(backup: dict[str, Any] | None) -> None:
    check_rules("orders", {"backup": backup})


@pytest.mark.parametrize(
    ("backup", "field"),
    [
        ({"s3": S3, "pvc": {}}, ""),
        ({"enabled": True}, ".enabled"),
        ({"s3": S3, "continuous": {"enabled": True}}, ".continuous.enabled"),
        ({"enabled": True, "pvc": {}, "continuous": {"enabled": True}}, ".continuous.enabled"),
        ({"s3": S3, "verify": {}}, ".verify"),
    ],
)
def test_backups_that_do_not(backup: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as caught:
        check_rules("orders", {"backup": backup})
    assert (caught.value.reason, caught.value.field) == ("InvalidSpec", f"spec.backup{field}")


@pytest.mark.parametrize(
    "recovery",
    [
        {"source": "shop", "backup": "20261124T013000Z-4f1c"},
        {"s3": S3, "serverName": "orders"},
        {"pvc": {"claimName": "old"}, "serverName": "orders"},
        CONTINUOUS | {"target": {}},
        CONTINUOUS | {"backup": "20261124T013000", "target": {"lsn": "1A/F00"}},
        CONTINUOUS | {"target": {"time": "2026-02-28T23:59:59.123456-11:30"}},
        CONTINUOUS | {"target": {"name": "before the change, at last!"}},
    ],
)
def test_recoveries_that_work(recovery: dict[str, Any]) -> None:
    check_rules("orders", {"bootstrap": {"recovery": recovery}})


@pytest.mark.parametrize(
    ("recovery", "field"),
    [
        ({}, ""),
        ({"source": "shop", "pvc": {"claimName": "old"}}, ""),
        ({"source": "orders"}, ".source"),
        ({"source": "shop", "serverName": "shop"}, ".serverName"),
        ({"s3": S3}, ".serverName"),
        ({"pvc": {"claimName": "old"}, "serverName": "shop", "method": "continuous"}, ".method"),
        ({"source": "shop", "method": "dump", "target": {}}, ".target"),
        ({"source": "shop", "backup": "latest"}, ".backup"),
        ({"source": "shop", "backup": "20261124T013000Z-4f1c\n"}, ".backup"),
        (CONTINUOUS | {"target": {"lsn": "0/1", "name": "a"}}, ".target"),
        (CONTINUOUS | {"target": {"time": "2026-02-30T01:00:00Z"}}, ".target.time"),
        (CONTINUOUS | {"target": {"time": "2026-02-20T01:00:00"}}, ".target.time"),
        (CONTINUOUS | {"target": {"time": "yesterday"}}, ".target.time"),
        (CONTINUOUS | {"target": {"lsn": "0/1'"}}, ".target.lsn"),
        (CONTINUOUS | {"target": {"name": "o'clock"}}, ".target.name"),
        (CONTINUOUS | {"target": {"name": "a\nrestore_command = 'x'"}}, ".target.name"),
    ],
)
def test_recoveries_that_do_not(recovery: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as caught:
        check_rules("orders", {"bootstrap": {"recovery": recovery}})
    assert (caught.value.reason, caught.value.field) == ("InvalidSpec", f"spec.bootstrap.recovery{field}")
