"""The program under test, with a folder in the place of a pod's file system."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servers import ACCESS, BUCKET, REGION, ROOT, SECRET, Postgres, unprivileged

Document = dict[str, Any]
SOURCES = ROOT / "images/backup/src"


def s3_place(port: int, **changes: Any) -> Document:
    place = {
        "endpoint": f"http://127.0.0.1:{port}",
        "bucket": BUCKET,
        "path": "",
        "region": REGION,
        "pathStyle": True,
    }
    return {"s3": {**place, **changes}}


@dataclass
class Program:
    """The program's files below a folder of its own: configuration, secrets, reports."""

    folder: Path
    postgres: Postgres
    server: str

    def configure(self, store: Document, **changes: Any) -> Program:
        """Write backup.json and the secrets; `store` is s3_place() or a volume."""
        found = {
            "namespace": "tests",
            "name": self.server,
            "server": self.server,
            "store": store,
            "retention": {"keepLast": 3, "keepDaily": 0, "keepWeekly": 0},
            "jobs": 2,
            "recoveryWindowDays": 7,
            "state": "state",
            "database": {"host": "127.0.0.1", "port": self.postgres.port, "user": "postgres", "tls": False},
            "preload": "",
            "version": str(self.postgres.sql("SHOW server_version_num"))[:2],
            **changes,
        }
        self.write("etc/backup/backup.json", json.dumps(found))
        self.credentials(ACCESS, SECRET)
        self.write("etc/backup-database/password", "not asked for")
        return self

    def credentials(self, access: str, secret: str, folder: str = "backup") -> None:
        self.write(f"etc/{folder}-credentials/accessKeyId", access)
        self.write(f"etc/{folder}-credentials/secretAccessKey", secret)

    def recover(self, store: Document, **changes: Any) -> Program:
        """Write recovery.json: this server is made from the backups of another."""
        found = {
            "namespace": "tests",
            "name": self.server,
            "server": self.server,
            "store": store,
            "state": "state",
            "method": "continuous",
            "backup": None,
            "target": {},
            "jobs": 2,
            "database": {"user": "postgres"},
            "preload": "",
            "version": "",
            **changes,
        }
        self.write("etc/recovery/recovery.json", json.dumps(found))
        self.credentials(ACCESS, SECRET, "recovery")
        return self

    def environment(self, **more: str) -> dict[str, str]:
        path = f"{self.postgres.programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        found = {
            **os.environ,
            "PATH": path,
            "PYTHONPATH": str(SOURCES),
            "PARADEDB_BACKUP_ROOT": str(self.folder),
        }
        return {**found, "PGDATA": str(self.postgres.data), "PYTHONUNBUFFERED": "1", **more}

    def run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """A command of the program to its end."""
        given = {"env": self.environment(), "text": True, "capture_output": True, "cwd": "/", **options}
        return subprocess.run([*self.command, *command], check=False, timeout=300, **given)

    @property
    def command(self) -> list[str]:
        """How the program is called."""
        return [*unprivileged(), sys.executable, "-m", "paradedb_backup"]

    def start(self, *command: str, **options: Any) -> subprocess.Popen[str]:
        """The same in the background, in a process group of its own; what it says goes to a file `said`."""
        said = (self.folder / "said").open("w")
        given = {"env": self.environment(), "cwd": "/", "start_new_session": True, **options}
        return subprocess.Popen([*self.command, *command], stdout=said, stderr=said, text=True, **given)

    def good(self, *command: str, key: str = "", **options: Any) -> Document:
        """A run that must succeed; its report."""
        done = self.run(*command, **options)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return self.state(key or command[0])

    def bad(self, *command: str, key: str = "", **options: Any) -> Document:
        """A run that must fail and say so; its report."""
        done = self.run(*command, **options)
        assert done.returncode != 0, f"{command} succeeded: {done.stdout}"
        found = self.state(key or command[0])
        assert found["state"] == "failed", found
        assert SECRET not in done.stdout + done.stderr + json.dumps(found)
        return found

    def state(self, key: str) -> Document:
        found: Document = json.loads((self.folder / f"var/state/{key}.json").read_text())
        return found

    def write(self, name: str, text: str) -> None:
        """One file of the pod."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def dumps(files: dict[str, int]) -> set[str]:
    """The ids of what counts as a backup."""
    return {
        name.split("/")[1] for name in files if name.startswith("dumps/") and name.endswith("/manifest.json")
    }
