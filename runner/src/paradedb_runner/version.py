"""The one place the version is written; packaging and ``paradedb-runner version`` both read it."""

VERSION = "0.1.0"
