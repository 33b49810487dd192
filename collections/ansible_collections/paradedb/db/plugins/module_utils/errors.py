"""The one exception by which a pass refuses what was asked, in words for the person who asked."""

from __future__ import annotations


class Refused(Exception):
    """What the user asked for cannot be done; nothing of it was applied.

    ``field`` is the path in the resource to mend ("spec.postgresConfig.work_mem"), ``reason`` the
    CamelCase word that becomes the condition's and the event's reason, ``message`` the cause and the fix.
    """

    def __init__(self, reason: str, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.reason = reason
        self.field = field
