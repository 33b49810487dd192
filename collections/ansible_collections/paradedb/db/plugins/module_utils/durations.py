"""Durations as Go writes them, the notation of Kubernetes operators."""

from __future__ import annotations

import re

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_NUMBER = r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+"
_PART = re.compile(rf"({_NUMBER})(ns|us|µs|ms|s|m|h)")
LONGEST = 2**63 / 1e9  # seconds; Go counts nanoseconds in 63 bits


def seconds(text: str) -> int | float:
    """Seconds of ``1h30m``, ``500ms`` or a plain number of seconds. Raises ValueError with a sentence."""
    value = _parse(text)
    if value is None:
        raise ValueError(f"{text[:50]!r} is not a duration such as 30s, 500ms, 1h30m, or a number of seconds")
    if value > LONGEST:
        raise ValueError(f"{text[:50]!r} is longer than any duration, which is about 292 years")
    return int(value) if value.is_integer() else value


def _parse(text: str) -> float | None:
    if re.fullmatch(_NUMBER, text):
        return float(text)
    parts = list(_PART.finditer(text))
    if not parts or "".join(part.group() for part in parts) != text:
        return None
    return sum(float(part[1]) * _UNITS[part[2]] for part in parts)
