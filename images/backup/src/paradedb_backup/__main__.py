"""`python -m paradedb_backup COMMAND`, for where the program is not frozen."""

from paradedb_backup.cli import main

raise SystemExit(main())
