"""Prints what the recoveries brought back as a table:  table.py DIRECTORY CASE...

Reads the result of each case, and compares the fingerprint of what was recovered from a dump with its
source's. A case without a result is left out. Exit code 1: something differs, or there is no result."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from fingerprint import differences

HEADINGS = ("recovery", "differs", "bytes", "took")
MOST = 20  # lines told of a case

Result = dict[str, Any]


def read(directory: Path, names: Sequence[str]) -> list[Result]:
    """The results there are, with what differs."""
    files = (directory / f"{name}.json" for name in names)
    found = [json.loads(file.read_text()) for file in files if file.exists()]
    return [{**item, "differs": compare(directory, item)} for item in found]


def compare(directory: Path, result: Result) -> list[str]:
    """What is not as it was."""
    if "moment" in result:
        return differences(result["expected"], result["found"], "rows")
    names = (result["from"], f"from-{result['name']}")
    source, copy = (json.loads((directory / f"{name}.fingerprint").read_text()) for name in names)
    return differences(source, copy)


def lines(results: Sequence[Result]) -> list[str]:
    """The table, its columns as wide as they need to be."""
    rows = [HEADINGS]
    for item in results:
        recovery = item["recovery"]
        size, seconds = recovery.get("bytes"), recovery.get("durationSeconds")
        rows.append(
            (item["text"], str(len(item["differs"])), "-" if size is None else f"{size:,}", f"{seconds} s")
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]


if __name__ == "__main__":
    found = read(Path(sys.argv[1]), sys.argv[2:])
    print("\n".join(lines(found)))
    print("\n".join(f"{item['name']}: {line}" for item in found for line in item["differs"][:MOST]))
    sys.exit(not found or any(item["differs"] for item in found))
