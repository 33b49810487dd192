"""Putting a result into docs/performance.md: its table, its picture, and the numbers behind them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from bench.picture import picture
from bench.table import Result, table

_BLOCK = re.compile(r"(?<=<!-- result -->\n).*?(?=<!-- end of result -->)", re.DOTALL)


def publish(result: Result, root: Path) -> None:
    """Write all three below the root of the checkout."""
    page, drawing = root / "docs" / "performance.md", root / "docs" / "images" / "performance.svg"
    drawing.parent.mkdir(exist_ok=True)
    drawing.write_text(picture(result))
    page.write_text(with_result(page.read_text(), result))
    (root / "benchmarks" / "results" / "reference.json").write_text(json.dumps(result, indent=1) + "\n")


def with_result(page: str, result: Result) -> str:
    """The page with this result in place of the one before."""
    machine = result["machine"]
    measured = (
        f"Measured on {result['date'][:10]} with {machine['cores']} processors ({machine['cpu']}), "
        f"{machine['memory_gib']} GiB of memory, Python {machine['python']}, "
        f"ansible-core {machine['ansible_core']}, at commit {machine['commit']}."
    )
    return _BLOCK.sub(lambda _: f"\n{measured}\n\n{table(result)}\n", page)
