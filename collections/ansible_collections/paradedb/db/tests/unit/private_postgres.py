"""A real PostgreSQL server that listens on a Unix socket in a directory of its own and is gone afterwards."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

START_TIME = 30  # seconds that the server may take to answer

# Whatever the server can log, it logs: a secret that is not in this log is in none.
_SETTINGS = """
listen_addresses = ''
fsync = off
ssl = on
ssl_ca_file = 'server.crt'
max_connections = 30
password_encryption = 'scram-sha-256'
shared_preload_libraries = 'pg_stat_statements,auto_explain'
log_statement = 'all'
log_min_duration_statement = 0
log_duration = on
log_min_messages = debug1
log_min_error_statement = debug5
auto_explain.log_min_duration = 0
auto_explain.log_nested_statements = on
pg_stat_statements.track = 'all'
"""


def find_binaries() -> Path | None:
    """The directory of the newest installed server."""
    installed = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    newest = max(installed, key=lambda path: int(path.parts[4]), default=None)
    found = newest or shutil.which("postgres")
    return Path(found).resolve().parent if found else None


def missing() -> str:
    """Why no server can be started here; empty when one can."""
    if find_binaries() is None:
        return "no PostgreSQL server on this machine (looked in PATH and /usr/lib/postgresql)"
    if os.geteuid() == 0 and "postgres" not in [account.pw_name for account in pwd.getpwall()]:
        return "PostgreSQL does not run as root, and there is no user postgres"
    return ""


def server_user() -> dict[str, Any]:
    """Arguments of subprocess to run as a user whom PostgreSQL accepts: it refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam("postgres")
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


class PrivatePostgres:
    """Start on entry, stop on exit."""

    def __init__(self, binaries: Path) -> None:
        self.binaries = binaries
        told = subprocess.run(
            [binaries / "postgres", "--version"], check=True, capture_output=True, text=True
        )
        self.version = int(re.findall(r"[0-9]+", told.stdout)[0])
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PrivatePostgres:
        # Not pytest's directory: its parents are closed to other users.
        self.directory = Path(tempfile.mkdtemp(prefix="paradedb-unit-"))
        self.data, self.log = self.directory / "data", self.directory / "log"
        if account := server_user():
            os.chown(self.directory, account["user"], account["group"])
        self._run("initdb", "-D", str(self.data), "-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8")
        with (self.data / "postgresql.conf").open("a") as settings:
            settings.write(_SETTINGS)
        self._write_certificate()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [self.binaries / "postgres", "-D", str(self.data), "-k", str(self.directory)],
                env=self.environment(),
                stderr=log,
                stdout=log,
                cwd="/",
                **server_user(),
            )
        deadline = time.monotonic() + START_TIME
        while self._run("pg_isready", check=False).returncode != 0:
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.directory)

    def environment(self) -> dict[str, str]:
        """What a program needs in its environment to reach this server and no other."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return {
            **kept,
            "PATH": f"{self.binaries}:{os.environ['PATH']}",
            "PGHOST": str(self.directory),
            "PGUSER": "postgres",
            "PGDATABASE": "postgres",
            "LC_ALL": "C.UTF-8",
        }

    def _run(self, program: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.binaries / program, *arguments],
            env=self.environment(),
            check=check,
            capture_output=True,
            text=True,
            cwd="/",
            **server_user(),
        )

    def query(self, sql: str, database: str = "postgres", user: str = "postgres") -> str:
        """The rows of a query, unaligned, as psql prints them."""
        arguments = ("-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", user, "-d", database, "-c", sql)
        done = self._run("psql", *arguments, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.removesuffix("\n")

    def execute(self, command: list[str], stdin: str = "") -> tuple[int, str, str]:
        """Run a command as the exec protocol does: the input is written and its pipe stays open."""
        reader, writer = os.pipe()
        try:
            process = subprocess.Popen(
                command,
                env=self.environment(),
                stdin=reader,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd="/",
                **server_user(),
            )
            os.write(writer, stdin.encode())
            try:
                output, errors = process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                raise
        finally:
            os.close(reader)
            os.close(writer)
        return process.returncode, output, errors

    def _write_certificate(self) -> None:
        """A certificate that nobody checks, so that rules about encrypted connections mean something."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        now = datetime.now(UTC)
        made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        signed = (
            made.not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        public = signed.public_bytes(serialization.Encoding.PEM)
        for file, content in (("server.key", private), ("server.crt", public)):
            path = self.data / file
            path.write_bytes(content)
            path.chmod(0o600)
            if account := server_user():
                os.chown(path, account["user"], account["group"])

    def write_hba(self, lines: list[str]) -> None:
        """Replace pg_hba.conf; what the server runs with does not change until a reload."""
        (self.data / "pg_hba.conf").write_text("\n".join(lines) + "\n")
