"""Running programs with their output in a log file and their steps on the terminal."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

# What a builder prints when a step begins: buildah and podman `STEP 3/9: RUN ...`, BuildKit `#7 [runtime 3/9]
# RUN ...`.
STEP = re.compile(r"^(?:\[\d+/\d+\] )?STEP \d+/\d+: .*|^#\d+ \[[^]]+\] .*")
SHOWN_CHARACTERS = 110
SHOWN_LINES_OF_A_FAILURE = 40


class BuildError(Exception):
    """A build could not be done; the message is for the person who asked for it."""


class Progress:
    """Prints what happens with the seconds since the start."""

    def __init__(self) -> None:
        """Start counting."""
        self.started = time.monotonic()

    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def say(self, text: str) -> None:
        """Print one line, cut to a terminal's width."""
        print(f"[{self.seconds():6.1f} s] {text[:SHOWN_CHARACTERS]}", file=sys.stderr, flush=True)


def run_logged(
    command: list[str], log: Path, progress: Progress, environment: dict[str, str] | None = None
) -> None:
    """Run `command`, append its output to `log`, and show the lines that begin a step.

    `environment` is added to this process's own. Raises BuildError with the last lines when it fails.
    """
    last: list[str] = []
    with log.open("a") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **(environment or {})},
        )
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            last = [*last[1 - SHOWN_LINES_OF_A_FAILURE :], line]
            if STEP.match(line):
                progress.say(line.strip())
    if process.wait():
        raise BuildError(
            f"{command[0]} failed ({process.returncode}), whole output in {log}:\n" + "".join(last)
        )


def output_of(command: list[str]) -> str:
    """Standard output of `command`; raises BuildError with its standard error when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{' '.join(command[:2])} failed: {done.stderr.strip()}")
    return done.stdout


def succeeds(command: list[str]) -> bool:
    """Whether `command` exists and ends with 0, its output thrown away."""
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


def need_programs(packages: dict[str, str], progress: Progress) -> None:
    """Install the Debian packages (values) whose programs (keys) are missing.

    Raises BuildError where that is not possible: not root, or no apt-get.
    """
    missing = sorted({package for program, package in packages.items() if shutil.which(program) is None})
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise BuildError(
            f"no container engine answers, and building without one needs {', '.join(missing)}: "
            "start Docker or Podman, or run this as root on Debian"
        )
    progress.say(f"installing {', '.join(missing)}")
    output_of(["apt-get", "-qq", "update"])
    output_of(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "install", "--yes", *missing])
