"""Entry point of the frozen Patroni: one program under two names, told apart by how it was called."""

import sys
from pathlib import PurePath


def main() -> None:
    """Run patronictl when called by that name, else the Patroni daemon."""
    if PurePath(sys.argv[0]).name == "patronictl":
        from patroni.ctl import ctl

        ctl(prog_name="patronictl")
    else:
        from patroni.__main__ import main as daemon

        daemon()


if __name__ == "__main__":
    main()
