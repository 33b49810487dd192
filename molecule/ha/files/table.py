"""Prints the results of the faults as a table:  table.py DIRECTORY FAULT...

In the order of the names; a fault without a result is left out. Exit code 1: something was lost or differs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HEADINGS = ("fault", "goal", "gap", "lost", "diff", "well")


def read(directory: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """The results there are."""
    files = (directory / f"{name}.json" for name in names)
    return [json.loads(file.read_text()) for file in files if file.exists()]


def lines(results: Sequence[dict[str, Any]]) -> list[str]:
    """The table, its columns as wide as they need to be."""
    rows = [
        HEADINGS,
        *(
            (
                item["text"],
                item["goal"],
                f"{item['gap']:.1f} s",
                str(item["lost"]),
                f"({item['divergent']})" if item.get("loses") else str(item["divergent"]),
                f"{item['seconds']} s",
            )
            for item in results
        ),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]


def is_whole(results: Sequence[dict[str, Any]]) -> bool:
    """Whether nothing was lost and no copy differs, where that is promised."""
    return all(item["lost"] == 0 and item["divergent"] == 0 for item in results if not item.get("loses"))


if __name__ == "__main__":
    found = read(Path(sys.argv[1]), sys.argv[2:])
    print("\n".join(lines(found)))
    sys.exit(not (found and is_whole(found)))
