"""Runs pgbench through the pooler and past it, in the scenario `pooler`:  measure.py SECONDS

Prints a table and writes it to results/<time>.json beside this file. Every load runs twice, the second time
in the opposite order, so that a machine that gets slower or faster favours neither; the mean is told.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NAMESPACE = "molecule-pooler"

# Host, clients and further options of pgbench. Through the pooler 200 clients share 20 connections.
TPCB, SELECT, PREPARED, CONNECT = (), ("-S",), ("-S", "-M", "prepared"), ("-S", "-C")
LOADS: dict[str, list[tuple[str, int, tuple[str, ...]]]] = {
    "TPC-B": [("database", 20, TPCB), ("pooler", 20, TPCB), ("pooler", 200, TPCB)],
    "SELECT": [("database", 20, SELECT), ("pooler", 20, SELECT), ("pooler", 200, SELECT)],
    "SELECT, prepared": [("database", 20, PREPARED), ("pooler", 20, PREPARED), ("pooler", 200, PREPARED)],
    "SELECT, connecting each time": [("database", 20, CONNECT), ("pooler", 20, CONNECT)],
}


def load(*arguments: str) -> dict[str, Any]:
    """What the scenario's load.py answers in the client's pod. Raises CalledProcessError."""
    kubectl = os.environ.get("KUBECTL", "kubectl").split()
    command = [*kubectl, "-n", NAMESPACE, "exec", "client", "--", "python3", "/programs/load.py", *arguments]
    answer: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return answer


def measure(seconds: int) -> list[dict[str, Any]]:
    """One row of the result for each load. Raises SystemExit when a transaction failed."""
    load("fill")
    cases = [(what, *case) for what, cases in LOADS.items() for case in cases]
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {case: [] for case in cases}
    for case in [*cases, *reversed(cases)]:
        what, host, clients, options = case
        answer = load("pgbench", host, str(clients), *options, "-T", str(seconds))
        if answer["failed"] or answer["errors"]:
            raise SystemExit(f"{what}, {host}, {clients} clients: {answer}")
        print(f"{what}, {host}, {clients} clients: {answer['tps']}", file=sys.stderr)
        found[case].append(answer)
    return [
        {
            "load": what,
            "host": host,
            "clients": clients,
            "servers": max(answer.get("servers", clients) for answer in answers),
            "tps": round(sum(answer["tps"] for answer in answers) / len(answers)),
        }
        for (what, host, clients, _options), answers in found.items()
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown; the last column compares with the first row of the same load."""
    lines = [
        "| load | through | clients | server connections | transactions/s | |",
        "|---|---|--:|--:|--:|--:|",
    ]
    direct: dict[str, int] = {}
    for row in rows:
        first = direct.setdefault(row["load"], row["tps"])
        shown = [row["load"], row["host"], row["clients"], row["servers"], f"{row['tps']:,}"]
        lines.append(f"| {' | '.join(map(str, shown))} | {100 * row['tps'] / first:.0f} % |")
    return "\n".join(lines)


def main() -> None:
    seconds = int(sys.argv[1])
    subprocess.run(["molecule", "converge", "-s", "pooler"], check=True, stdout=sys.stderr)
    try:
        rows = measure(seconds)
    finally:
        subprocess.run(["molecule", "destroy", "-s", "pooler"], check=True, stdout=sys.stderr)
    now = datetime.now(UTC).replace(microsecond=0)
    machine = {"processors": os.cpu_count(), "kernel": platform.release()}
    result = {"date": now.isoformat(), "seconds": seconds, "machine": machine, "rows": rows}
    file = HERE / "results" / f"{now:%Y-%m-%dT%H%M%S}.json"
    file.write_text(json.dumps(result, indent=1) + "\n")
    print(table(rows))
    print(file.relative_to(Path.cwd()))


if __name__ == "__main__":
    main()
