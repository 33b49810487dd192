"""Real servers on loopback for the tests of faults: PostgreSQL, an S3 server, and a gate that can fail."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[4]
PROGRAMS = ROOT / "molecule/backup/files"
BUCKET = "backups"
REGION = "eu-test-1"
ACCESS, SECRET = "test-access", "test-secret-of-the-s3-server"
PATIENCE = 60.0  # seconds


def eventually(what: str, holds: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Wait until ``holds()`` is true and return its value; AssertionError after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)
    return value


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(command: list[str], port: int, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A server, from when its port answers; killed at the end."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True, **options)
    try:
        eventually(f"{command[0]} listens", lambda: process.poll() is not None or answers(port))
        assert process.poll() is None, f"{command[0]} has ended"
        yield process
    finally:
        process.kill()
        process.wait()


def postgres_programs() -> Path | None:
    """Where initdb and the others are."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return installed[-1].parent if installed else None


def unprivileged() -> list[str]:
    """What goes before a command: PostgreSQL does not run as root, and its own commands run as its user. That
    user still reaches the Python of the tests, which may be in root's home."""
    if os.geteuid():
        return []
    user = pwd.getpwnam(next(name for name in ("postgres", "nobody") if known(name)))
    who = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return [*who, "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]


def known(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


@dataclass
class Postgres:
    """A PostgreSQL server on a folder of its own."""

    data: Path
    port: int
    programs: Path

    def run(
        self, program: str, *arguments: str, check: bool = True, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """One of PostgreSQL's programs, connecting here."""
        environment = {**os.environ, **self.environment()}
        options = {"cwd": "/", "env": environment, "text": True, "capture_output": True, **options}
        command = [*unprivileged(), str(self.programs / program), *arguments]
        done = subprocess.run(command, check=False, **options)
        assert done.returncode == 0 or not check, f"{program}: {done.stdout}{done.stderr}"
        return done

    def environment(self) -> dict[str, str]:
        return {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": "postgres", "LC_ALL": "C.UTF-8"}

    def sql(self, statement: str, database: str = "postgres") -> str:
        conninfo = "dbname='{}'".format(database.replace("\\", "\\\\").replace("'", "\\'"))
        command = ("-XAtq", "-v", "ON_ERROR_STOP=1", "-d", conninfo, "-c", statement)
        return str(self.run("psql", *command).stdout).strip()

    def file(self, file: Path, database: str = "postgres") -> None:
        """Run the statements of a file."""
        conninfo = "dbname='{}'".format(database.replace("\\", "\\\\").replace("'", "\\'"))
        self.run("psql", "-Xq", "-d", conninfo, stdin=file.open())

    def initialise(self) -> None:
        self.data.parent.mkdir(parents=True, exist_ok=True)
        self.data.parent.chmod(0o777)
        self.run(
            "initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "--locale=C.UTF-8", "-E", "UTF8"
        )

    def settings(self, **settings: str) -> None:
        lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n" for name, value in settings.items()]
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(lines)

    def trust(self) -> None:
        """Let everybody of this machine in, whatever a restored server wants."""
        (self.data / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 trust\n")

    def start(self, wait: bool = True) -> None:
        options = f"-p {self.port} -k {self.data.parent} -c listen_addresses=127.0.0.1"
        log = str(self.data.parent / "log")
        waiting = "-w" if wait else "-W"
        self.run(
            "pg_ctl", "-D", str(self.data), "-o", options, "-l", log, waiting, "start", capture_output=False
        )

    def stop(self, how: str = "fast") -> None:
        self.run("pg_ctl", "-D", str(self.data), "-m", how, "-w", "stop", check=False)

    def log(self) -> str:
        return (self.data.parent / "log").read_text(errors="replace")


@dataclass
class Gate:
    """The way to the S3 server; see molecule/backup/files/gate.py."""

    port: int
    orders: Path

    def order(self, text: str) -> None:
        part = self.orders.with_name("part")
        part.write_text(text)
        part.replace(self.orders)

    def wait(self) -> None:
        """Until the order has taken effect."""
        eventually("the gate has stopped somebody", self.orders.with_name(f"{self.orders.name}.done").exists)


@dataclass
class S3:
    """The S3 server and the folder with its buckets."""

    port: int
    buckets: Path
    gate: Gate

    def files(self, server: str) -> dict[str, int]:
        """What the bucket has of a database: name and bytes."""
        top = self.buckets / BUCKET / server
        return {
            str(file.relative_to(top)): file.stat().st_size
            for file in sorted(top.rglob("*"))
            if file.is_file()
        }


@contextmanager
def s3_server(binary: Path, folder: Path) -> Iterator[S3]:
    """versitygw and the gate before it."""
    buckets, sidecar = folder / "buckets", folder / "sidecar"
    (buckets / BUCKET).mkdir(parents=True)
    sidecar.mkdir()
    port, gate = free_port(), Gate(free_port(), folder / "orders")
    keys = {"ROOT_ACCESS_KEY": ACCESS, "ROOT_SECRET_KEY": SECRET}
    server = [str(binary), "--quiet", "--port", f"127.0.0.1:{port}", "--region", REGION]
    server += ["posix", "--sidecar", str(sidecar), str(buckets)]
    before = [
        sys.executable,
        str(PROGRAMS / "gate.py"),
        str(gate.port),
        "127.0.0.1",
        str(port),
        str(gate.orders),
    ]
    with running(server, port, env={**os.environ, **keys}), running(before, gate.port):
        yield S3(port, buckets, gate)


def kill_group(process: subprocess.Popen[Any]) -> None:
    """What a node does that loses power: the program and all that it has started end at once."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
