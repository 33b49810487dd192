"""The superuser's password is changed in its Secret: the new one opens the database, and sessions stay."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest
from cluster import _KUBECTL, ParadeDB, eventually, kubectl


class Session:
    """One psql in the client pod, which stays connected."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, statement: str) -> str:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{statement};\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


@contextmanager
def session(database: ParadeDB) -> Iterator[Session]:
    script = 'read -r uri; exec psql -X -A -t -q -v ON_ERROR_STOP=1 "$uri"'
    command = [*_KUBECTL, "-n", database.namespace, "exec", "-i", "client", "--", "sh", "-c", script]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin
        process.stdin.write(database.secret()["uri"] + "\n")
        yield Session(process)
        process.stdin.close()


def set_password(database: ParadeDB, password: str) -> None:
    patch = json.dumps({"stringData": {"password": password}})
    kubectl("-n", database.namespace, "patch", "secret", f"{database.name}-credentials", "-p", patch)


def opens(database: ParadeDB, password: str) -> bool:
    """Whether the Secret's connection string has the password, and it is the database's."""
    uri = database.secret()["uri"]
    return f":{quote(password, safe='')}@" in uri and database.sql("SELECT 1", uri=uri, check=False) == "1"


@pytest.mark.parametrize(
    "password", ["x", 'it\'s @ 100% "new":/#\\ {{ 7*7 }}', "pa\u0308ss \u2168 w\u00f6rd"]
)
def test_an_edited_password_is_in_effect_and_sessions_stay(running: ParadeDB, password: str) -> None:
    before, pod = running.secret(), running.pod()
    assert pod
    with session(running) as live:
        process = live.ask("SELECT pg_backend_pid()")
        assert process.isdigit()
        set_password(running, password)
        eventually("the new password opens the database", lambda: opens(running, password))
        assert live.ask("SELECT pg_backend_pid()") == process
    refused = running.sql("SELECT 1", uri=before["uri"], check=False)
    assert "password authentication failed" in refused
    after = running.pod()
    assert after
    assert after["metadata"]["uid"] == pod["metadata"]["uid"]
    assert after["status"]["containerStatuses"][0]["restartCount"] == 0


def test_a_line_break_is_no_password(running: ParadeDB) -> None:
    set_password(running, "two\nlines")
    eventually("a password is made anew", lambda: "\n" not in running.secret()["password"])
    made = running.secret()["password"]
    eventually("it opens the database", lambda: opens(running, made))
