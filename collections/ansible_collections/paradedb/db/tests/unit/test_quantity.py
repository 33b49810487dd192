from __future__ import annotations

from decimal import Decimal

import pytest
from ansible_collections.paradedb.db.plugins.module_utils.quantity import parse_quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("1", 1),
        (1, 1),
        (0.5, Decimal("0.5")),
        ("250m", Decimal("0.25")),
        ("1500m", Decimal("1.5")),
        ("100u", Decimal("0.0001")),
        ("100n", Decimal("0.0000001")),
        ("1k", 1000),
        ("1M", 10**6),
        ("1G", 10**9),
        ("1T", 10**12),
        ("1P", 10**15),
        ("1E", 10**18),
        ("1Ki", 2**10),
        ("512Mi", 512 * 2**20),
        ("64Gi", 64 * 2**30),
        ("1Ti", 2**40),
        ("1Pi", 2**50),
        ("1Ei", 2**60),
        ("1.5Gi", 3 * 2**29),
        (".5Gi", 2**29),
        ("1.", 1),
        ("+1", 1),
        ("-1Ki", -1024),
        ("1e3", 1000),
        ("1E3", 1000),
        ("12e-1", Decimal("1.2")),
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_reads_what_kubernetes_reads(text: str | int | float, number: Decimal | int) -> None:
    assert parse_quantity(text) == number


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "Gi", "m", "e3", ".", "..", "1.2.3", "+", "--1", "1 Gi", "1gi", "1KI", "1ki", "1K", "1mi"),
        *("1ni", "1Gib", "1GB", "0x10", "1_000", "1,5", "1e", "1e3Ki", "1e3m", "\u0661", "\uff11Gi"),
        *("NaN", "Infinity", "inf", "True", "None", "1Gi\n2", "1;rm"),
        *(True, None, [], {}),
    ],
)
def test_refuses_everything_else_with_value_error(text: object) -> None:
    with pytest.raises(ValueError, match="quantity"):
        parse_quantity(text)  # type: ignore[arg-type]
