"""Kubernetes quantities ("512Mi", "250m", "2") as numbers.

Rule: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import re
from decimal import Decimal

_SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
_QUANTITY = re.compile(
    r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+(?=$))?)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|)"
)


def parse_quantity(value: str | int | float) -> Decimal:
    """The number which a quantity stands for, in its base unit (bytes, cores). Raises ValueError."""
    match = _QUANTITY.fullmatch(str(value).strip())
    if not match:
        raise ValueError(f"{value!r} is not a Kubernetes quantity")
    return Decimal(match.group(1)) * _SUFFIXES[match.group(2)]


def written(number: int) -> str:
    """A number of bytes for a person, as a quantity of at most three digits: ``512Mi``, ``1.3Gi``."""
    value, units = float(number), ["Pi", "Ti", "Gi", "Mi", "Ki", ""]
    while value >= 1000 and len(units) > 1:
        value /= 1024
        units.pop()
    text = f"{value:.0f}" if value >= 10 or units[-1] == "" else f"{value:.1f}".removesuffix(".0")
    return text + units[-1]
