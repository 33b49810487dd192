"""Whether every panel of the dashboard shows something:  panels.py DASHBOARD URL NAMESPACE DATABASE

Asks the Prometheus at URL each panel's queries and prints how many series come back. Exit code 1: a panel has
none, other than those that OPTIONAL explains, or Prometheus refused a query.
"""

from __future__ import annotations

import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Panels by title that have nothing to show everywhere, and why.
OPTIONAL = {
    "Lag in bytes": "one instance has no replica",
    "Lag in seconds": "one instance has no replica",
    "Kept for slots": "one instance needs no slots",
    "Volumes used": "Prometheus does not scrape the kubelet",
    "Size of the indexes": "the database has no index of pg_search",
    "Documents": "the database has no index of pg_search",
    "Segments": "the database has no index of pg_search",
}
# Four scrapes of 15 s, as Grafana chooses it for a short time.
RATE_INTERVAL = "1m"
_TIMEOUT = 10  # seconds


class Refused(Exception):
    """Prometheus does not take the query; the message is its own."""


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Those with queries, also in rows that are folded."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panels(panel)
        else:
            yield panel


def queries(panel: dict[str, Any], namespace: str, database: str) -> list[str]:
    """The panel's queries, with the dashboard's variables replaced."""
    variables = {"namespace": namespace, "database": database, "__rate_interval": RATE_INTERVAL}
    return [
        re.sub(r"\$(\w+)", lambda found: variables[found[1]], target["expr"]) for target in panel["targets"]
    ]


def ask(url: str, path: str, **parameters: str) -> list[dict[str, Any]]:
    """The series of an answer of Prometheus' API. Raises Refused, or OSError if nobody answers."""
    address = f"{url.rstrip('/')}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT) as response:  # noqa: S310 - given by the caller
            return json.load(response)["data"]["result"]
    except urllib.error.HTTPError as error:
        raise Refused(error.read().decode(errors="replace")) from None


def count(url: str, panel: dict[str, Any], namespace: str, database: str) -> int:
    """The series of all the panel's queries, with those whose value is not a number."""
    return sum(len(ask(url, "query", query=query)) for query in queries(panel, namespace, database))


def main(dashboard: Path, url: str, namespace: str, database: str) -> int:
    """Prints a line for each panel. Returns the exit code."""
    empty = []
    for panel in panels(json.loads(dashboard.read_text())):
        title = panel["title"]
        try:
            series = count(url, panel, namespace, database)
        except Refused as refusal:
            print(f"{title}: {refusal}")
            empty.append(title)
            continue
        print(f"{title}: {series or OPTIONAL.get(title, 0)}")
        if not series and title not in OPTIONAL:
            empty.append(title)
    if empty:
        print(f"nothing to show: {', '.join(empty)}", file=sys.stderr)
    return 1 if empty else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:5]))
