"""``python -m paradedb_runner`` is the same as the ``paradedb-runner`` script."""

from paradedb_runner.cli import main

raise SystemExit(main())
