"""A database that archives into a bucket by the program under test."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from program import SOURCES, Program, s3_place
from servers import ACCESS, ROOT, S3, SECRET, Postgres, eventually, unprivileged


def versitygw_program() -> tuple[Path | None, str]:
    """Where the S3 server's program is, or why it is not there."""
    command = [sys.executable, str(ROOT / "tools/images"), "versitygw"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return None, done.stderr.strip()[-300:]
    return Path(done.stdout.split()[-1]), ""


@dataclass
class Archiver:
    """The database, the program's files and the store, which it reaches through the gate."""

    postgres: Postgres
    program: Program
    s3: S3

    def configure(self, **changes: Any) -> None:
        """Write what the operator writes; `changes` are of the place."""
        found = {
            "namespace": "tests",
            "name": self.program.server,
            "server": self.program.server,
            "store": s3_place(self.s3.gate.port, **changes),
            "recoveryWindowDays": 7,
            "state": "state",
            "jobs": 2,
            "database": {"user": "postgres"},
        }
        self.program.write("etc/backup/backup.json", json.dumps(found))
        self.program.credentials(ACCESS, SECRET)

    def start(self) -> None:
        """A running database with a place."""
        for part in ("run/paradedb", "tmp", "var"):
            (self.program.folder / part).mkdir(parents=True, exist_ok=True)
            (self.program.folder / part).chmod(0o777)
        variables = {"PARADEDB_BACKUP_ROOT": self.program.folder, "PYTHONPATH": SOURCES}
        words = ["env", *(f"{key}={value}" for key, value in variables.items()), sys.executable]
        self.postgres.initialise()
        self.postgres.settings(
            archive_mode="on",
            archive_command=f"{' '.join(map(str, words))} -m paradedb_backup archive %p",
            fsync="off",
            max_wal_size="128MB",
            unix_socket_directories=str(self.postgres.data.parent),
        )
        self.configure()
        self.postgres.start()

    def segment(self) -> str:
        """Fill and end a segment; its name."""
        self.postgres.sql("CREATE TABLE IF NOT EXISTS filled (line text)")
        self.postgres.sql("INSERT INTO filled SELECT md5(i::text) FROM generate_series(1, 2000) i")
        name = self.postgres.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
        self.postgres.sql("SELECT pg_switch_wal()")
        return name

    def waiting(self) -> int:
        """How many files wait to be archived."""
        return len(list((self.postgres.data / "pg_wal/archive_status").glob("*.ready")))

    def archived(self) -> list[str]:
        """Names in wals/, once nothing waits."""
        eventually("everything is archived", lambda: not self.waiting())
        return [name for name in self.s3.files(self.program.server) if name.startswith("wals/")]

    def state(self) -> dict[str, Any]:
        return self.program.state("archive")

    def archive(self, path: Path) -> subprocess.CompletedProcess[str]:
        """Archive a file as PostgreSQL does."""
        return self.program.run("archive", str(path), cwd=self.postgres.data)

    @contextmanager
    def base(self) -> Iterator[subprocess.Popen[str]]:
        """A base backup to which somebody listens until the block's end."""
        process = subprocess.Popen(
            [*unprivileged(), sys.executable, "-m", "paradedb_backup", "base"],
            env=self.program.environment(TMPDIR=str(self.program.folder / "tmp")),
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=_listen, args=[process], daemon=True).start()
        try:
            yield process
        finally:
            assert process.stdin
            process.stdin.close()
            process.wait(60)
            assert process.stdout
            process.stdout.close()

    def based(self) -> list[dict[str, Any]]:
        """What a base backup told from start to end."""
        with self.base() as process:
            assert process.stdout
            return [json.loads(line) for line in process.stdout]


def _listen(process: subprocess.Popen[str]) -> None:
    """Writes to the program as `remote` does, until it has ended or its stdin was closed."""
    assert process.stdin
    with contextlib.suppress(OSError, ValueError):
        while process.poll() is None:
            process.stdin.write("\n")
            process.stdin.flush()
            time.sleep(1)
