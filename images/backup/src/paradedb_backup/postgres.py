"""PostgreSQL's programs: those that end by themselves, and the server, whose log is listened to."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from paradedb_backup import config
from paradedb_backup.problems import Problem

_READY = "LOG:  database system is ready to accept connections"
_LINES = 60  # of the server's log that are kept to say what was wrong
# Seconds that PostgreSQL gets to end. A checkpoint of all that was restored is part of it.
_STOP_SECONDS = 3600
_FULL = "No space left on device"


class Ended(Problem):
    """The server ended by itself. ``said``: why, in its own words."""

    def __init__(self, log: list[str]) -> None:
        self.said = _complaint(log)
        super().__init__("RestoreFailed", f"PostgreSQL ended: {self.said}")


def environment() -> dict[str, str]:
    """This program's own without what libpq would read from it, in English."""
    dropped = ("PG", "LC_", "LANG")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)} | {
        "LC_ALL": "C"
    }


def output(command: list[str]) -> str:
    """What a program writes to stdout. Raises Problem RestoreFailed with the last line that it complains
    with."""
    done = subprocess.run(
        command, check=False, env=environment(), capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Problem("RestoreFailed", f"{command[0]} failed: {said[-1] if said else done.returncode}")
    return done.stdout


def initialise(data: Path, user: str, wal: Path | None = None) -> None:
    """A fresh database as Patroni makes it (see patroni.yml.j2 of the role statefulset), its log in
    ``wal``."""
    command = ["initdb", "--pgdata", str(data), "--username", user, "--encoding=UTF8", "--locale=C.UTF-8"]
    command += ["--data-checksums", "--auth-local=peer", "--auth-host=scram-sha-256", "--no-sync"]
    output([*command, *([] if wal is None else ["--waldir", str(wal)])])


def check_version(theirs: int, what: str, older: bool = False) -> None:
    """Whether the PostgreSQL of the image can take what one of the major version ``theirs`` has written: its
    files only the same, a dump an ``older`` one's too. Raises Problem RestoreFailed with the field."""
    ours = int(re.sub(r"^\D*(\d+).*", r"\1", output(["postgres", "--version"]).strip()))
    if theirs and theirs != ours and not (older and theirs < ours):
        raise Problem(
            "RestoreFailed",
            f"spec.postgresVersion: {what} is of PostgreSQL {theirs}, which {ours} cannot take; set it to "
            f"{theirs}, "
            "with an image of that version",
        )


def preload(wanted: str) -> str:
    """Those of the libraries to load at start that the image has, found as prepare.sh of the role statefulset
    does."""
    program = shutil.which("postgres")
    if program is None:
        raise Problem("RestoreFailed", "spec.image: the image has no program postgres on its PATH")
    libraries = Path(program).resolve().parent.parent / "lib"
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    return ",".join(name for name in names if (libraries / f"{name}.so").exists())


def settings_file() -> Path | None:
    """The database's settings where they are mounted; prepare.sh of the role statefulset has checked them."""
    file = config.root() / "etc/postgresql/postgresql.conf"
    return file if file.exists() else None


class Process:
    """A running server. Its log is read all the time, so that it never waits for a reader, and passed on."""

    def __init__(self, settings: Mapping[str, str], heard: Callable[[str], None]) -> None:
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._heard = heard
        self._ready = threading.Event()
        self._process = subprocess.Popen(
            ["postgres", *[word for name, value in settings.items() for word in ("-c", f"{name}={value}")]],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def wait(self) -> None:
        """Until it takes connections; while it recovers it does not, however long that takes. Raises
        Ended."""
        while not self._ready.wait(0.1):
            if self._process.poll() is not None:
                self._listener.join()
                raise Ended(list(self._lines))

    def stop(self) -> None:
        """Ends it with a checkpoint. Raises Problem RestoreFailed when it does not end well."""
        if self._end(signal.SIGINT, _STOP_SECONDS) != 0:
            raise Problem("RestoreFailed", f"PostgreSQL did not end well: {_complaint(list(self._lines))}")

    def kill(self) -> None:
        """Ends it at once."""
        self._end(signal.SIGQUIT, 10)

    def full(self) -> bool:
        """Whether it told of a volume without room."""
        return any(_FULL in line for line in list(self._lines))

    def _end(self, how: signal.Signals, seconds: float) -> int:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(how)
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._listener.join()
        return code

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            for line in stream:
                text = line.rstrip("\n")
                self._lines.append(text)
                print(f"postgres: {text}", file=sys.stderr, flush=True)
                self._heard(text)
                if text.startswith(_READY):
                    self._ready.set()


def _complaint(log: list[str]) -> str:
    """The line of a log that says why PostgreSQL ended."""
    serious = [line for line in log if line.startswith(("FATAL:", "PANIC:", "ERROR:"))]
    return (serious or log or ["PostgreSQL ended without a word"])[-1][:600]


def full(problem: Problem, field: str) -> Problem:
    """The problem, or VolumeFull with the field that has the volume's size when that is what is behind it."""
    if _FULL not in problem.message:
        return problem
    return Problem("VolumeFull", f"{field}: the volume has no room for the restored database; enlarge it")
