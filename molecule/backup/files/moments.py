"""Rows of before and after moments, and the moments as targets of a recovery:  moments.py [KIND...]

Of each KIND (time, lsn, name) one moment, with a row written before it and one after. Prints, as JSON, of
each kind the target and the rows that a recovery to it must bring back, as soon as all of the log is in the
archive. Without a kind prints the rows there are. Run in a database's container, as libpq's environment
says."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

PATIENCE = 120.0  # seconds
ROWS = "SELECT coalesce(json_agg(kind || ' ' || what ORDER BY number), '[]') FROM moments"
TABLE = "CREATE TABLE IF NOT EXISTS moments (number serial PRIMARY KEY, kind text, what text)"
ASK = {
    "time": "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
    "lsn": "SELECT pg_current_wal_flush_lsn()",
    "name": "SELECT name FROM (SELECT 'a point' AS name, pg_create_restore_point('a point')) p",
}
SWITCH = "SELECT pg_walfile_name(pg_switch_wal())"
ARCHIVED = "SELECT coalesce(last_archived_wal >= '{}', false) FROM pg_stat_archiver"


def sql(statement: str) -> str:
    """What one statement answers. Raises CalledProcessError."""
    command = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-c", statement]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def write(kind: str, what: str) -> None:
    sql(f"INSERT INTO moments (kind, what) VALUES ('{kind}', '{what}')")  # noqa: S608 - words of our own


def moment(kind: str) -> dict[str, Any]:
    """A target, and what is there at it."""
    write(kind, "before")
    target = sql(ASK[kind])
    rows = json.loads(sql(ROWS))
    write(kind, "after")
    return {"target": {kind: target}, "rows": rows}


def wait_archived() -> None:
    """Until the log has left. Raises SystemExit after a time that means it will not."""
    segment, deadline = sql(SWITCH), time.monotonic() + PATIENCE
    while sql(ARCHIVED.format(segment)) != "t":
        if time.monotonic() > deadline:
            raise SystemExit(f"{segment} is not archived: {sql('TABLE pg_stat_archiver')}")
        time.sleep(0.2)


def main(kinds: list[str]) -> Any:
    if not kinds:
        return json.loads(sql(ROWS))
    sql(TABLE)
    found = {kind: moment(kind) for kind in kinds}
    wait_archived()
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))
