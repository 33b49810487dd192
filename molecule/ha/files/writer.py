"""Writes numbered rows without a pause and records which of them PostgreSQL acknowledged, and when.

    writer.py RECORD SOURCE [URI_FILE]

Each attempt has a number of its own, so that what became of it is never in doubt: its row is recorded here,
or nobody was told that it is there. A number is the time of the attempt in milliseconds. The connection is
kept until it fails, is slow or says that its server is no primary; then a new one is tried at once. Without
URI_FILE it writes over the local socket of the pod that it runs in.
"""

from __future__ import annotations

import select
import sys
import time
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions

PERIOD = 0.1  # seconds between two attempts: at most ten writes a second
CONNECT_LIMIT = 1.0  # seconds
STATEMENT_LIMIT = 1.0  # seconds
SOCKET = "host=/run/postgresql user=postgres dbname=paradedb"

TABLE = "CREATE TABLE IF NOT EXISTS ha_writes (source text, number bigint, PRIMARY KEY (source, number))"
# `target_session_attrs` does not exist for asynchronous connections: ask, and do not take a replica.
IS_REPLICA = "SELECT pg_is_in_recovery()"
INSERT = "INSERT INTO ha_writes VALUES (%s, %s)"


class TooSlow(Exception):
    """The server did not answer in time."""


class Connection:
    """A connection that gives up in time, whatever became of the server."""

    def __init__(self, conninfo: str) -> None:
        self._open = psycopg2.connect(conninfo, async_=True, application_name="ha-writer")
        try:
            self._wait(CONNECT_LIMIT)
            if self.run(IS_REPLICA)[0][0]:
                raise psycopg2.OperationalError("this server is a replica")
            self.run(TABLE)
        except BaseException:
            self._open.close()
            raise

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement, which is a transaction of its own, and return its rows."""
        with self._open.cursor() as cursor:
            cursor.execute(statement, values)
            self._wait(STATEMENT_LIMIT)
            return cursor.fetchall() if cursor.description else []

    def insert(self, source: str, number: int) -> bool:
        """Write a row. Returns whether it was acknowledged without a reservation.

        A commit whose wait for the synchronous replica was ended has a warning: it may be lost.
        """
        del self._open.notices[:]
        self.run(INSERT, source, number)
        return not any("synchronous replication" in notice for notice in self._open.notices)

    def close(self) -> None:
        self._open.close()

    def _wait(self, limit: float) -> None:
        deadline = time.monotonic() + limit
        while (state := self._open.poll()) != psycopg2.extensions.POLL_OK:
            left = deadline - time.monotonic()
            handle = [self._open.fileno()]
            reading = state == psycopg2.extensions.POLL_READ
            ready = select.select(handle if reading else [], [] if reading else handle, [], max(left, 0))
            if not any(ready):
                raise TooSlow


def write_forever(record: Path, source: str, conninfo: str) -> None:
    """Never returns."""
    connection: Connection | None = None
    last = 0
    with record.open("a", buffering=1) as file:
        while True:
            begun = time.time()
            last = max(last + 1, int(begun * 1000))
            try:
                connection = connection or Connection(conninfo)
                if connection.insert(source, last):
                    file.write(f"{last} {time.time():.3f}\n")
            except (psycopg2.Error, TooSlow) as error:
                print(f"{begun:.3f} {type(error).__name__} {error}".rstrip(), flush=True)
                if connection:
                    connection.close()
                connection = None
            time.sleep(max(0.0, begun + PERIOD - time.time()))


if __name__ == "__main__":
    place = sys.argv[3:4]
    write_forever(Path(sys.argv[1]), sys.argv[2], Path(place[0]).read_text().strip() if place else SOCKET)
