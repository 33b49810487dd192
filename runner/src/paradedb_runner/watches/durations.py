"""Go duration strings (``1h30m``, ``500ms``), the notation of watches.yaml, annotations and flags."""

import re

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")


def parse_duration(text: str) -> float:
    """
    Seconds of a non-negative Go duration. Raises ValueError for anything else, a unitless number included.
    """
    number = text.removeprefix("+")
    if number == "0":
        return 0.0
    parts = list(_PART.finditer(number))
    if not parts or "".join(part.group() for part in parts) != number:
        raise ValueError(f'"{text}" is not a duration such as 30s or 1h30m')
    return sum(float(part[1]) * _UNITS[part[2]] for part in parts)
