"""What errors of connections and of PostgreSQL's programs mean."""

from __future__ import annotations

from paradedb_backup.config import Database
from paradedb_backup.problems import Problem

# Parts of libpq's and the server's messages, in English because the program asks for it.
_LOGIN = (
    "password authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "is not permitted to log in",
    'role "',
)
_CERTIFICATE = ("certificate verify failed", "root certificate", "does not match host name")
_UNREACHABLE = (
    "could not connect",
    "connection refused",
    "connection to server",
    "could not translate host name",
    "server closed the connection",
    "terminating connection",
    "connection timed out",
    "is shutting down",
    "is starting up",
    "connection already closed",
    "ssl connection has been closed",
    "ssl syscall error",
    "could not receive data",
    "lost synchronization",
    "no connection to the server",
)
_MESSAGE_CHARACTERS = 600


def database_problem(error: Exception | str, database: Database, otherwise: str = "DumpFailed") -> Problem:
    """The Problem for an error of psycopg2 or what a program wrote to stderr; `otherwise` is the reason of
    what is neither the connection's nor the login's."""
    if isinstance(error, Problem):
        return error
    said = " ".join(str(error).split())[-_MESSAGE_CHARACTERS:]
    words = said.lower()
    where = f"{database.host}:{database.port}"
    if any(part in words for part in _CERTIFICATE):
        return Problem("DatabaseUnreachable", f"the certificate of {where} is not trusted: {said}")
    if any(part in words for part in _LOGIN) and "fatal" in words:
        return Problem("LoginRejected", f"{where} refuses {database.user}: {said}")
    if any(part in words for part in _UNREACHABLE):
        return Problem("DatabaseUnreachable", f"{where}: {said}")
    return Problem(otherwise, said or "it ended without a message")
