"""Capabilities that this version does not have: refused where they are switched on, never silently ignored.

The resource's CEL rules say the same at admission; this holds where no API server checked the spec.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused

# Parts of the spec that have a switch.
_PARTS = ("backup",)


def check_available(spec: dict[str, Any]) -> None:
    """Raises Refused for the first part that is switched on and not built yet."""
    for part in _PARTS:
        if (spec.get(part) or {}).get("enabled"):
            field = f"spec.{part}.enabled"
            raise Refused(
                "NotAvailable", field, "is not available in this version; set it to false or remove it"
            )
