"""What clients do to a pooler, run in a pod beside it:  load.py COMMAND ARGUMENT...

    fill                            makes pgbench's tables
    pgbench HOST CLIENTS OPTION...  runs pgbench; HOST is pooler or database
    begin COMMAND ARGUMENT...       the same in the background, once the clients are connected
    write                           clients that try again when a transaction fails, until `end`
    end                             waits for what `begin` began and prints its answer
    mode MODE                       waits until the pooler pools so
    login USER                      waits until the user of this Secret can log in through the pooler
    renewed USER                    the same, with another password than when `begin` was called
    refused USER [SETTING...]       tries to log in where it must not be possible

Prints JSON. A user's password and the authority of the certificates are read from the files of its Secret
each time, so that a new password is used as soon as it is there.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

try:
    import psycopg2
except ModuleNotFoundError:  # the functions that only compute are tested where it is not installed
    psycopg2 = None

Answer = dict[str, Any]

BIN = "/usr/lib/postgresql/17/bin"
RECORD = Path("/records/pgbench.json")
PASSWORD = Path("/records/password")
OVER = Path("/records/over")
HOSTS = {"pooler": "POOLER", "database": "DATABASE"}
PATIENCE = 60.0  # seconds
LONGEST = 120.0  # seconds that the writers go on when nobody ends them
WRITERS = 20
SERVERS = "SELECT count(*) FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()"
TABLE = "CREATE TABLE IF NOT EXISTS writes (number bigserial PRIMARY KEY, writer int, nth int)"
WRITE = "INSERT INTO writes (writer, nth) VALUES (%s, %s)"

# A client tries again when the connection was lost, the server is going or coming, or it is a standby by now:
# https://www.postgresql.org/docs/17/errcodes-appendix.html
RETRIED = re.compile(r"08...|57P0[123]|25006|40...")
# What the pooler says itself, and what libpq says while it connects, has one code or none: told by the words.
FINAL = ("authentication failed", "no such user", "not allowed", "unsupported", "query_wait_timeout")


def secret(user: str, key: str) -> str:
    return Path(f"/users/{user}/{key}").read_text().strip()


def settings(host: str, user: str = "app", **others: str) -> dict[str, str]:
    """libpq's settings for a connection whose certificate is verified."""
    found = {"user": secret(user, "username"), "password": secret(user, "password"), "dbname": "bench"}
    found |= {"host": os.environ[HOSTS[host]], "sslmode": "verify-full", "connect_timeout": "10"}
    return found | {"sslrootcert": f"/users/{user}/ca.crt"} | others


def connect(host: str, user: str = "app", **others: str) -> Any:
    connection = psycopg2.connect(**settings(host, user, **others))
    connection.autocommit = True
    return connection


def ask(connection: Any, statement: str, *values: Any) -> Any:
    """The first value of the first row, if the statement has any."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchone()[0] if cursor.description else None


def run_pgbench(host: str, *options: str) -> subprocess.CompletedProcess[str]:
    given = settings(host)
    names = {"user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE", "host": "PGHOST"}
    variables = {names.get(key, f"PG{key.upper()}"): value for key, value in given.items()}
    command = [f"{BIN}/pgbench", "--no-vacuum", *options]
    return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)


def report(output: str) -> Answer:
    """The numbers of pgbench's report; what it could not end is an abort."""
    number = {
        "transactions": r"transactions actually processed: (\d+)",
        "failed": r"number of failed transactions: (\d+)",
        "tps": r"tps = ([\d.]+)",
    }
    found = {key: re.search(pattern, output) for key, pattern in number.items()}
    return {key: round(float(match.group(1))) if match else 0 for key, match in found.items()}


def pgbench(host: str, clients: str, *options: str) -> Answer:
    """Load; through the pooler also the most server connections that were seen meanwhile."""
    watch = Watch()
    watch.start()
    done = run_pgbench(host, f"--client={clients}", "--jobs=2", *options)
    seen = {"servers": watch.stop()} if host == "pooler" else {}
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    return report(done.stdout) | {"clients": int(clients), "errors": errors[:5]} | seen


class Watch(threading.Thread):
    """Counts the user's connections to the database until told to stop, beside its own."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._over = threading.Event()
        self._most = 0

    def run(self) -> None:
        with closing(connect("database")) as observer:
            while not self._over.wait(0.3):
                self._most = max(self._most, ask(observer, SERVERS))

    def stop(self) -> int:
        """The most that were seen at once."""
        self._over.set()
        self.join()
        return self._most


def fill() -> Answer:
    done = run_pgbench("database", "--initialize", "--quiet", "--scale=10")
    assert done.returncode == 0, done.stderr
    return {}


def begin(*command: str) -> Answer:
    """Starts a command whose answer `end` will print."""
    for left in (RECORD, OVER):
        left.unlink(missing_ok=True)
    PASSWORD.touch(mode=0o600)
    PASSWORD.write_text(secret("app", "password"))
    nothing = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    subprocess.Popen([sys.executable, __file__, "record", *command], start_new_session=True, **nothing)
    time.sleep(2)
    return {}


def record(command: str, *arguments: str) -> Answer:
    answer = COMMANDS[command](*arguments)
    RECORD.with_suffix(".new").write_text(json.dumps(answer))
    RECORD.with_suffix(".new").rename(RECORD)
    return answer


def end() -> Answer:
    OVER.touch()
    return eventually(lambda: json.loads(RECORD.read_text()) if RECORD.exists() else None)


def eventually(look: Callable[[], Answer | None]) -> Answer:
    """What ``look`` finds at last, and how long that took. Raises SystemExit with its last error."""
    begun, error = time.monotonic(), ""
    while time.monotonic() < begun + PATIENCE:
        try:
            if (found := look()) is not None:
                return found | {"waited": round(time.monotonic() - begun, 1)}
        except (psycopg2.Error, OSError) as problem:
            error = str(problem)
        time.sleep(0.3)
    raise SystemExit(f"not within {PATIENCE:.0f} s: {error}")


def login(user: str) -> Answer:
    def try_it() -> Answer:
        with closing(connect("pooler", user)) as connection:
            return {"user": ask(connection, "SELECT current_user")}

    return eventually(try_it)


def renewed(user: str) -> Answer:
    """Waits for the new password; the old one must not do any more."""
    old = PASSWORD.read_text()

    def is_new() -> Answer | None:
        return None if secret(user, "password") == old else {}

    eventually(is_new)
    return login(user) | refused(user, f"password={old}")


def refused(user: str, *given: str) -> Answer:
    """What is said to one who must not come in; empty when it comes in all the same."""
    others = dict(setting.split("=", 1) for setting in given)
    try:
        connect("pooler", user, **others).close()
    except psycopg2.OperationalError as error:
        return {"said": str(error).strip()}
    return {"said": ""}


def mode(wanted: str) -> Answer:
    """Wait until every pooler pod behaves as the mode says: enough connections that each pod has some."""

    def look() -> Answer | None:
        connections = [connect("pooler") for _ in range(8)]
        try:
            servers = {ask(connection, "SELECT pg_backend_pid()") for connection in connections}
            blocks = [takes_block(connection) for connection in connections]
        finally:
            for connection in connections:
                connection.close()
        found = "session" if len(servers) == len(connections) else "transaction"
        found = found if all(blocks) else "statement" if not any(blocks) else "mixed"
        return {"mode": found} if found == wanted else None

    return eventually(look)


def takes_block(connection: Any) -> bool:
    """Whether a transaction of several statements is possible; the pooler closes the connection if not."""
    try:
        ask(connection, "BEGIN")
        ask(connection, "COMMIT")
    except psycopg2.Error:
        return False
    return True


def is_retried(code: str | None, message: str) -> bool:
    """Whether a client would try the transaction again after this error."""
    if code in (None, "08P01"):
        return not any(part in message for part in FINAL)
    return bool(RETRIED.fullmatch(code or ""))


class Writer(threading.Thread):
    """Writes rows through the pooler and tries again what failed, until told to stop."""

    def __init__(self, number: int, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self.number, self.over = number, over
        self.acknowledged: list[int] = []
        self.gap, self.retried = 0.0, 0
        self.unexpected: list[str] = []

    def run(self) -> None:
        connection, nth, last = None, 0, time.monotonic()
        while not self.over.is_set():
            try:
                connection = connection or connect("pooler")
                ask(connection, WRITE, self.number, nth)
                self.acknowledged.append(nth)
                self.gap, last = max(self.gap, time.monotonic() - last), time.monotonic()
            except psycopg2.Error as error:
                self._note(error)
                if connection:
                    connection.close()
                connection = None
                self.over.wait(0.1)
            nth += 1
            self.over.wait(0.02)

    def _note(self, error: Any) -> None:
        if is_retried(error.pgcode, str(error)):
            self.retried += 1
        else:
            self.unexpected.append(f"{error.pgcode} {error}".strip())


def write() -> Answer:
    """What became of the writers' rows. A writer that does not end when it is told to hangs."""
    over = threading.Event()
    with closing(connect("database")) as direct:
        ask(direct, TABLE)
        ask(direct, "TRUNCATE writes")
    writers = [Writer(number, over) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    deadline = time.monotonic() + LONGEST
    while not OVER.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    over.set()
    for writer in writers:
        writer.join(15)
    with closing(connect("database")) as direct, direct.cursor() as cursor:
        cursor.execute("SELECT writer, nth FROM writes")
        rows = set(cursor.fetchall())
    acknowledged = {(writer.number, nth) for writer in writers for nth in writer.acknowledged}
    return {
        "clients": WRITERS,
        "transactions": len(acknowledged),
        "lost": len(acknowledged - rows),
        "retried": sum(writer.retried for writer in writers),
        "gap": round(max(writer.gap for writer in writers), 1),
        "hanging": sum(writer.is_alive() for writer in writers),
        "errors": [error for writer in writers for error in writer.unexpected][:5],
    }


COMMANDS: dict[str, Callable[..., Answer]] = {
    function.__name__: function
    for function in (fill, pgbench, begin, record, end, write, mode, login, renewed, refused)
}

if __name__ == "__main__":
    print(json.dumps(COMMANDS[sys.argv[1]](*sys.argv[2:])))
