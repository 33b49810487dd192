from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.unavailable import check_available


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"connectionPooling": {"enabled": True}}, "spec.connectionPooling.enabled"),
        ({"backup": {"enabled": True}}, "spec.backup.enabled"),
        ({"monitoring": {"enabled": True}}, "spec.monitoring.enabled"),
        ({"monitoring": {"serviceMonitor": {"enabled": True}}}, "spec.monitoring.serviceMonitor.enabled"),
        ({"auth": {"users": [{"name": "a"}]}}, "spec.auth.users"),
    ],
)
def test_what_is_not_built_is_refused_with_the_way_out(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as caught:
        check_available(spec)
    assert (caught.value.reason, caught.value.field) == ("NotAvailable", field)
    assert any(word in str(caught.value) for word in ("remove it", "set it to"))


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"replicas": 1, "backup": None, "auth": None},
        {"backup": {"enabled": False}, "auth": {"users": []}},
        {"replicas": 3, "edition": "Community", "tls": {"enabled": True, "secretRef": {"name": "a"}}},
    ],
)
def test_the_rest_passes(spec: dict[str, Any]) -> None:
    check_available(spec)
