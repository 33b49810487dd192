"""What a fault did to the writers: the longest gap, what was lost, and whether all instances agree.

    report.py now
    report.py cluster NAME INSTANCES RECORD SOURCE SINCE URI_FILE     in the writer's pod
    report.py local RECORD SOURCE SINCE                               in an instance's pod

Prints JSON. Times are seconds of the pods' clock since 1970, as `now` prints them.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

try:
    import psycopg2
except ModuleNotFoundError:  # the functions that only compute are tested where it is not installed
    psycopg2 = None

SOCKET = "host=/run/postgresql user=postgres dbname=paradedb"
ROWS = "SELECT number FROM ha_writes WHERE source = %s AND number <= %s"
STATE = "SELECT pg_is_in_recovery(), (SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming')"
STARTED = "SELECT extract(epoch FROM pg_postmaster_start_time())::float8"
SYNCHRONOUS = "SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')"


def acknowledged(record: str) -> dict[int, float]:
    """The acknowledged numbers and when each was, out of a record; a last line cut short is left out."""
    lines = record.split("\n")[:-1]
    return {int(number): float(at) for number, at in (line.split() for line in lines)}


def longest_gap(times: Iterable[float], begin: float, end: float) -> tuple[float, float]:
    """The longest time without an acknowledged write that ends after ``begin``, and when it began.

    A gap may have begun before the window, and one that still lasts at its end counts as far as it got.
    """
    known = sorted(at for at in times if at <= end)
    before = [at for at in known if at < begin]
    points = [max(before, default=begin), *(at for at in known if at >= begin), end]
    gaps = [(later - earlier, earlier) for earlier, later in itertools.pairwise(points)]
    return max(gaps, default=(0.0, begin))


def lost(numbers: Iterable[int], rows: Iterable[int]) -> list[int]:
    """Acknowledged numbers without a row."""
    return sorted(set(numbers) - set(rows))


def divergent(copies: Sequence[Iterable[int]]) -> int:
    """In how many rows the copies differ from the first one."""
    first = set(copies[0])
    return sum(len(first ^ set(copy)) for copy in copies[1:])


def cluster(
    name: str, instances: int, record: dict[int, float], source: str, since: float, uri: str
) -> dict[str, Any]:
    """How the whole cluster is: asked of the primary through its Service, and of each instance."""
    newest = max(record, default=0)
    with connect(uri) as primary:
        streaming = query(primary, STATE)[0][1]
        synchronous = query(primary, SYNCHRONOUS)[0][0]
        rows = [row[0] for row in query(primary, ROWS, source, newest)]
    copies, primaries, restarted = [rows], 0, []
    for ordinal in range(instances):
        with connect(uri, host=f"{name}-{ordinal}.{name}-headless") as instance:
            primaries += not query(instance, STATE)[0][0]
            if query(instance, STARTED)[0][0] >= since:
                restarted.append(f"{name}-{ordinal}")
            copies.append([row[0] for row in query(instance, ROWS, source, newest)])
    now = time.time()
    gap, began = longest_gap(record.values(), since, now)
    return {
        "now": now,
        "primaries": primaries,
        "streaming": streaming,
        "synchronous": synchronous,
        "restarted": restarted,
        "divergent": divergent(copies),
        "acknowledged": sum(at >= since for at in record.values()),
        "lost": len(lost(record, rows)),
        "gap": round(gap, 1),
        "gap_began": began,
    }


def local(record: dict[int, float], source: str, since: float) -> dict[str, Any]:
    """What became of the rows that a writer inside an instance was told were there."""
    with connect(SOCKET) as instance:
        rows = [row[0] for row in query(instance, ROWS, source, max(record, default=0))]
    times = list(record.values())
    return {
        "acknowledged": len(times),
        "acknowledged_since": sum(at >= since for at in times),
        "last": max(times, default=0.0),
        "lost": len(lost(record, rows)),
    }


def connect(conninfo: str, **options: Any) -> Any:
    return psycopg2.connect(conninfo, connect_timeout=2, options="-c statement_timeout=5s", **options)


def query(connection: Any, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def main(words: list[str]) -> dict[str, Any]:
    """Do what the command line says."""
    match words:
        case ["now"]:
            return {"now": time.time()}
        case ["cluster", name, instances, record, source, since, uri]:
            known = acknowledged(Path(record).read_text())
            where = Path(uri).read_text().strip()
            return cluster(name, int(instances), known, source, float(since), where)
        case ["local", record, source, since]:
            return local(acknowledged(Path(record).read_text()), source, float(since))
    sys.exit(__doc__)


if __name__ == "__main__":
    try:
        print(json.dumps(main(sys.argv[1:])))
    except psycopg2.Error as error:
        sys.exit(f"{type(error).__name__}: {error}")
