"""Running commands and telling the user about it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ClusterError(Exception):
    """A failure the user can act on: the message is all that is shown."""


class CommandError(ClusterError):
    """A command ended with an error; the message holds what it printed."""


def environment() -> dict[str, str]:
    """The environment of commands: ours, with the system directories (a plain `su` omits them) on PATH."""
    return {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}"}


def clean_environment() -> dict[str, str]:
    """The environment of long-running processes: nothing of the caller's, no secrets and no HTTP proxies."""
    return {"PATH": SYSTEM_PATH, "HOME": "/root", "LANG": "C.UTF-8"}


def run(argv: Sequence[str | Path], *, stdin: str | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a command to its end and return its standard output.

    Raises CommandError when the command is missing or fails.
    """
    command = [str(word) for word in argv]
    try:
        done = subprocess.run(
            command,
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            check=False,
            env={**environment(), **(env or {})},
        )
    except FileNotFoundError as missing:
        raise CommandError(f"command not found: {command[0]}") from missing
    if done.returncode != 0:
        output = (done.stderr.strip() or done.stdout.strip())[-4000:]
        raise CommandError(f"{shlex.join(command)} failed ({done.returncode}): {output}")
    return done.stdout


class Progress:
    """Prints what is being done, with the seconds since the beginning."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._begun = time.monotonic()
        self._stream = stream or sys.stdout

    def elapsed(self) -> float:
        """Seconds since this object was made."""
        return time.monotonic() - self._begun

    def say(self, text: str) -> None:
        """Print one line at once: whoever waits must see what for."""
        print(f"{self.elapsed():7.1f}s  {text}", file=self._stream, flush=True)

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Announce a step that may take long, and its end."""
        self.say(f"{text} ...")
        begun = time.monotonic()
        yield
        self.say(f"{text}: done in {time.monotonic() - begun:.1f} s")
