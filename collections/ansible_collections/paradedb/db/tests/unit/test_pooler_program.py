"""The first program of a pooler's pod, run by sh with the directories of the pod moved elsewhere."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import COLLECTION

SCRIPT = COLLECTION / "roles" / "pooler" / "files" / "run.sh"

# A PgBouncer that notes its signals, and takes a moment to end. Not written in sh: what a shell starts
# in the background ignores SIGINT, which another shell could not undo.
PGBOUNCER = f"""#!{sys.executable}
import os, signal, sys, time

def note(text):
    with open(os.environ["NOTES"], "a") as file:
        file.write(text + "\\n")

def end(*_signal):
    note("int")
    time.sleep(0.3)
    note("ended")
    sys.exit(0)

signal.signal(signal.SIGHUP, lambda *_signal: note("hup"))
signal.signal(signal.SIGTERM, lambda *_signal: note("term"))
signal.signal(signal.SIGINT, end)
note("started " + sys.argv[1])
while True:
    time.sleep(0.05)
"""


class Pod:
    """The directories that the script knows, and the script running in them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("config", "secret", "tls", "run", "bin"):
            (root / name).mkdir()
        self.write("config/pgbouncer.ini", "one")
        self.write("secret/userlist.txt", "")
        text = SCRIPT.read_text()
        moved = {
            "/etc/pgbouncer/": f"{root}/",
            "/run/pgbouncer": f"{root}/run",
            "sleep 2 ": "sleep 0.1 ",
            "sleep 5": "sleep 0.2",
        }
        for given, ours in moved.items():
            assert given in text
            text = text.replace(given, ours)
        self.write("run.sh", text)

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(text)

    def program(self, text: str = PGBOUNCER) -> None:
        self.write("bin/pgbouncer", text)
        (self.root / "bin/pgbouncer").chmod(0o755)

    def start(self, shell: str) -> subprocess.Popen[str]:
        variables = {
            "START_INI": "a = b\n",
            "NOTES": str(self.root / "notes"),
            "TLS": str(self.root / "run/tls.ini"),
        }
        path = f"{self.root / 'bin'}:{os.environ['PATH']}"
        return subprocess.Popen(
            [*shell.split(), str(self.root / "run.sh")],
            env={**variables, "PATH": path},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @property
    def notes(self) -> list[str]:
        file = self.root / "notes"
        return file.read_text().splitlines() if file.exists() else []


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


@pytest.fixture(params=["sh", "bash --posix"])
def running(pod: Pod, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    pod.program()
    process = pod.start(request.param)
    eventually(lambda: len(pod.notes) > 0)
    yield process
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # PgBouncer too, which its shell can end no more
    process.wait()
    assert process.stderr
    process.stderr.close()


@pytest.mark.parametrize("file", ["config/pgbouncer.ini", "secret/userlist.txt", "tls/ca.crt"])
def test_a_changed_file_is_read_again_once(pod: Pod, running: subprocess.Popen[str], file: str) -> None:
    pod.write(file, "other")
    eventually(lambda: "hup" in pod.notes)
    time.sleep(0.5)
    assert pod.notes == [f"started {pod.root}/config/pgbouncer.ini", "hup"]
    assert running.poll() is None


def test_it_ends_when_transactions_have_ended(pod: Pod, running: subprocess.Popen[str]) -> None:
    running.send_signal(signal.SIGTERM)
    running.send_signal(signal.SIGTERM)
    assert running.wait(20) == 0
    assert pod.notes[1:] == ["int", "ended"]


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        ((), ""),
        (("tls.crt",), "some encryption"),
        (("tls.crt", "ca.crt"), "verified encryption"),
    ],
)
def test_encryption_is_as_the_pods_files_allow(pod: Pod, files: tuple[str, ...], chosen: str) -> None:
    pod.write("config/tls.ini", "some encryption")
    pod.write("config/tls-verified.ini", "verified encryption")
    for file in files:
        pod.write(f"tls/{file}", "a certificate")
    pod.program('#!/bin/sh\ncat "$TLS" >"$NOTES"\n')
    pod.start("sh").communicate(timeout=20)
    assert pod.notes == ([chosen] if chosen else [])


def test_a_pod_of_before_encryption_was_switched_off_still_runs(pod: Pod) -> None:
    pod.write("tls/tls.crt", "a certificate")
    pod.program('#!/bin/sh\ncat "$TLS" >"$NOTES"\n')
    assert "No such file" not in pod.start("sh").communicate(timeout=20)[1]
    assert pod.notes == []


def test_what_the_pod_was_made_with_is_written_as_it_is(pod: Pod) -> None:
    pod.program("#!/bin/sh\n")
    pod.start("sh").communicate(timeout=20)
    assert (pod.root / "run/start.ini").read_text() == "a = b\n"


def test_it_ends_as_pgbouncer_does(pod: Pod) -> None:
    pod.program("#!/bin/sh\necho FATAL no config >&2\nexit 3\n")
    process = pod.start("sh")
    assert process.communicate(timeout=20)[1] == "FATAL no config\n"
    assert process.returncode == 3


def test_an_image_without_pgbouncer_is_told(pod: Pod) -> None:
    process = pod.start("sh")
    if "no program" not in process.communicate(timeout=20)[1]:
        pytest.skip("this machine has a PgBouncer")
    assert process.returncode == 127
