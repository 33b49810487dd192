"""Waiting with an end."""

from __future__ import annotations

import time
from collections.abc import Callable


class TookTooLong(Exception):
    """Something did not happen within its time; the message says what."""


def until[T](look: Callable[[], T], patience: float, what: str, pause: float = 0.1) -> T:
    """Look every ``pause`` seconds until something true comes back, and return it. Raises TookTooLong."""
    deadline = time.monotonic() + patience
    while not (found := look()):
        if time.monotonic() > deadline:
            raise TookTooLong(f"waited {patience:.0f} s for {what}")
        time.sleep(pause)
    return found
