"""Fields whose capability this version does not have: refused, never silently ignored.

The resource's CEL rules say the same at admission; this holds where no API server checked the spec.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused


def check_available(spec: dict[str, Any]) -> None:
    """Raises Refused for the first field that asks for something not built yet."""
    for field in ("connectionPooling", "backup", "monitoring", "tls"):
        if (spec.get(field) or {}).get("enabled"):
            raise Refused(
                "NotAvailable",
                f"spec.{field}.enabled",
                "is not available in this version; set it to false or remove it",
            )
    if (spec.get("auth") or {}).get("users"):
        raise Refused("NotAvailable", "spec.auth.users", "is not available in this version; remove it")
    if spec.get("replicas", 1) > 1:
        raise Refused(
            "NotAvailable", "spec.replicas", "more than 1 is not available in this version; set it to 1"
        )
