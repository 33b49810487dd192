"""Fields whose capability this version does not have: refused, never silently ignored.

The resource's CEL rules say the same at admission; this holds where no API server checked the spec.
"""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused

# Fields that ask for something when they hold anything but these values.
_OFF: dict[str, tuple[Any, ...]] = {
    "connectionPooling.enabled": (None, False),
    "backup.enabled": (None, False),
    "monitoring.enabled": (None, False),
    "monitoring.serviceMonitor.enabled": (None, False),
    "auth.users": (None, []),
}


def check_available(spec: dict[str, Any]) -> None:
    """Raises Refused for the first field that asks for something not built yet."""
    for field, off in _OFF.items():
        value: Any = spec
        for name in field.split("."):
            value = (value or {}).get(name)
        if value not in off:
            way_out = "remove it" if off[1] == [] else f"set it to {json.dumps(off[1])} or remove it"
            raise Refused("NotAvailable", f"spec.{field}", f"is not available in this version; {way_out}")
