"""Prints the results of the loads as a table:  table.py DIRECTORY SERVERS CASE...

In the order of the names; a load without a result is left out. Exit code 1: a transaction failed that no
client would try again, one was lost, a client hangs, or there were more server connections than SERVERS.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# As wide as molecule shows without a break. `again`: transactions that were tried again; `gap`: the longest
# time that one of the clients waited for one to be done, in seconds.
COLUMNS = {
    "load": "text",
    "servers": "servers",
    "per s": "tps",
    "failed": "failed",
    "again": "retried",
    "gap": "gap",
}


def read(directory: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """The results there are."""
    files = (directory / f"{name}.json" for name in names)
    return [json.loads(file.read_text()) for file in files if file.exists()]


def lines(results: Sequence[dict[str, Any]]) -> list[str]:
    """The table, its columns as wide as they need to be."""
    rows = [tuple(COLUMNS), *(tuple(str(item.get(key, "-")) for key in COLUMNS.values()) for item in results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]


def problems(results: Sequence[dict[str, Any]], servers: int) -> list[str]:
    """What a client did not get that it was promised, a line each."""
    found = [f"{item['text']}: {error}" for item in results for error in item["errors"]]
    for item in results:
        found += [
            f"{item['text']}: {item[key]} {key}" for key in ("failed", "lost", "hanging") if item.get(key)
        ]
        if not item["transactions"]:
            found.append(f"{item['text']}: no transaction was done")
        if item.get("servers", 0) > servers:
            found.append(f"{item['text']}: {item['servers']} connections to the server, {servers} allowed")
    return found


if __name__ == "__main__":
    found = read(Path(sys.argv[1]), sys.argv[3:])
    wrong = problems(found, int(sys.argv[2]))
    if len(found) < len(sys.argv[3:]):
        wrong.append(f"{len(sys.argv[3:]) - len(found)} loads have no result")
    print("\n".join(lines(found) + wrong))
    sys.exit(bool(wrong))
