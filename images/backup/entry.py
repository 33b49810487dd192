"""Entry point of the frozen backup program."""

import sys

from paradedb_backup.cli import main

if __name__ == "__main__":
    sys.exit(main())
