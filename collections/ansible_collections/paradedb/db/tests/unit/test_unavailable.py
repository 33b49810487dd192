from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused
from ansible_collections.paradedb.db.plugins.module_utils.unavailable import check_available


def test_what_is_not_built_is_refused_with_the_way_out() -> None:
    with pytest.raises(Refused) as caught:
        check_available({"backup": {"enabled": True}})
    assert (caught.value.reason, caught.value.field) == ("NotAvailable", "spec.backup.enabled")
    assert "set it to false or remove it" in str(caught.value)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"replicas": 1, "backup": None, "auth": None},
        {"backup": {"enabled": False}, "auth": {"users": []}},
        {"replicas": 3, "edition": "Community", "tls": {"enabled": True, "secretRef": {"name": "a"}}},
        {"connectionPooling": {"enabled": True}, "auth": {"users": [{"name": "a"}]}},
        {"monitoring": {"enabled": True, "serviceMonitor": {"enabled": True}}},
    ],
)
def test_the_rest_passes(spec: dict[str, Any]) -> None:
    check_available(spec)
