"""A PostgreSQL of this program's own: nobody else can reach it, and nothing of it reaches out.

It restores a backup, for a new database or only to see whether it can be done.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from paradedb_backup import postgres
from paradedb_backup.problems import Problem

APPLICATION = "paradedb-backup"

# The last word over what stands in a configuration file or in postgresql.auto.conf. Nothing is archived,
# replicated, subscribed to or run by pg_cron; statements, which may hold passwords, are not logged; what a
# crash leaves is thrown away, so nothing is synced before the end.
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_group": "",
    "unix_socket_permissions": "0700",
    "ssl": "off",
    "archive_mode": "off",
    "hot_standby": "off",
    "primary_conninfo": "",
    "synchronous_standby_names": "",
    "max_logical_replication_workers": "0",
    "session_preload_libraries": "",
    "local_preload_libraries": "",
    "cron.launch_active_jobs": "off",
    "default_transaction_read_only": "off",
    "fsync": "off",
    "autovacuum": "off",
    "huge_pages": "off",
    "restart_after_crash": "off",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_line_prefix": "",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_min_duration_statement": "-1",
    "log_statement": "none",
    "lc_messages": "C",
    "port": "5432",
}
# What a server needs that only checks: it may run beside others in a small pod.
SMALL = {
    "shared_buffers": "64MB",
    "maintenance_work_mem": "64MB",
    "work_mem": "16MB",
    "max_wal_size": "256MB",
}
# Over what is set for a database or a role, which is restored with it. Not least the search path: the owner
# of a database could have its superuser take other functions for those of pg_catalog.
_OPTIONS = (
    "-c search_path= -c default_transaction_read_only=off -c statement_timeout=0 -c lock_timeout=0"
    " -c role=none -c lc_messages=C"
)
# No trigger of the database, event triggers before all, has a say in what is done to look into it.
_NO_TRIGGERS = "-c session_replication_role=replica"
_TRIGGERS = "-c session_replication_role=origin"


@dataclass(frozen=True)
class Server:
    """A server that accepts connections. ``folder`` holds its socket, ``user`` is its superuser."""

    data: Path
    folder: Path
    user: str

    @contextmanager
    def session(self, database: str = "postgres") -> Iterator[Any]:
        """A session of which every statement is a transaction."""
        connection = psycopg2.connect(
            host=str(self.folder),
            port=5432,
            user=self.user,
            dbname=database,
            application_name=APPLICATION,
            options=f"{_OPTIONS} {_NO_TRIGGERS}",
        )
        with contextlib.closing(connection):
            connection.autocommit = True
            # Names of SQL_ASCII are bytes of any kind, which Latin-1 takes as they are.
            ascii_only = connection.get_parameter_status("server_encoding") == "SQL_ASCII"
            connection.set_client_encoding("LATIN1" if ascii_only else "UTF8")
            yield connection

    def environment(self) -> dict[str, str]:
        """For PostgreSQL's programs, to connect here."""
        return postgres.environment() | {
            "PGHOST": str(self.folder),
            "PGPORT": "5432",
            "PGUSER": self.user,
            "PGAPPNAME": APPLICATION,
            "PGOPTIONS": f"{_OPTIONS} {_TRIGGERS}",
        }


@contextmanager
def running(
    data: Path,
    user: str,
    settings: Mapping[str, str],
    configuration: Path | None = None,
    heard: Callable[[str], None] = lambda _line: None,
) -> Iterator[Server]:
    """Starts PostgreSQL and waits until it can be written to; ends it with a checkpoint, after a failure
    without.

    ``configuration``: a file whose settings go below our own. ``heard`` is told every line of its log. Raises
    postgres.Ended when PostgreSQL ends by itself, Problem RestoreFailed when ``user`` is not its superuser.
    """
    # A short name, for that of a socket may not have more than 107 bytes.
    with tempfile.TemporaryDirectory(prefix="pg") as name:
        server = Server(data, Path(name), user)
        process = postgres.Process(_all_settings(server, settings, configuration), heard)
        try:
            process.wait()
            _look(server)
            yield server
        except Problem as problem:
            process.kill()
            if process.full():
                raise Problem(problem.reason, f"{problem.message} (No space left on device)") from problem
            raise
        except BaseException:
            process.kill()
            raise
        process.stop()


def _all_settings(server: Server, settings: Mapping[str, str], configuration: Path | None) -> dict[str, str]:
    """Ours, those that were asked for, and where everything is. Writes the files."""
    (server.folder / "pg_hba.conf").write_text("local all all trust\n")
    (server.folder / "pg_ident.conf").touch()
    (server.folder / "postgresql.conf").touch()
    version = int((server.data / "PG_VERSION").read_text())
    return {
        **_SETTINGS,
        **({"event_triggers": "off"} if version >= 17 else {}),
        **settings,
        "config_file": str(configuration or server.folder / "postgresql.conf"),
        "data_directory": str(server.data),
        "hba_file": str(server.folder / "pg_hba.conf"),
        "ident_file": str(server.folder / "pg_ident.conf"),
        "unix_socket_directories": str(server.folder),
        "external_pid_file": str(server.folder / "pid"),
    }


def _look(server: Server) -> None:
    """Whether the superuser is there."""
    try:
        with server.session() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user")
            if cursor.fetchone() == (True,):
                return
    except psycopg2.OperationalError as error:
        if "role " not in str(error):
            raise
    raise Problem(
        "RestoreFailed",
        "spec.auth.superuserSecretRef: the backup is of a database whose superuser is not "
        f"{server.user!r}; name a Secret whose username is the superuser of that database",
    )
