"""Entry point of `python3 tools/localcluster COMMAND`."""

import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - told to those who have an older one
    sys.exit("tools/localcluster needs Python 3.11 or newer")

# Run by root in a user's checkout: leave no files there that the user cannot remove.
sys.dont_write_bytecode = True
# Python puts this directory on the path; the modules are one package, so its parent belongs there.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from localcluster.cli import main  # noqa: E402

sys.exit(main())
