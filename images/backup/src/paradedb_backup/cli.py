"""The program's commands. Each one's module is imported when it is called: `archive` runs for every WAL
file."""

from __future__ import annotations

import importlib
import os
import sys

from paradedb_backup.problems import Problem

# Command: module, which has main(arguments).
COMMANDS = {
    "dump": "dump",
    "list": "catalog",
    "verify": "verify",
    "base": "base",
    "archive": "archive",
    "fetch": "fetch",
    "bootstrap": "bootstrap",
}


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 only for success, 1 for a Problem, 2 for a wrong call."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] not in COMMANDS:
        print(f"usage: paradedb-backup {{{','.join(COMMANDS)}}}", file=sys.stderr)
        return 2
    module = importlib.import_module(f"paradedb_backup.{COMMANDS[words[0]]}")
    try:
        return int(module.main(words[1:]) or 0)
    except Problem as problem:
        print(problem, file=sys.stderr, flush=True)
        if problem.reason != "Interrupted":
            return 1
    # Threads may still wait for a store that does not answer; who stopped the program does not.
    sys.stdout.flush()
    os._exit(1)
