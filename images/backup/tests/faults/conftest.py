"""Servers for the tests of faults, started once for all of them."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from program import Program
from servers import PROGRAMS, ROOT, S3, Postgres, free_port, postgres_programs, s3_server

HOSTILE = ["Hostile \"db\"; 'x' $y", "host=nowhere dbname=postgres", "-Fp.dump/../ä%2e"]
MAKE_BULK = """CREATE TABLE public.bulk AS SELECT i, string_agg(md5(random()::text), '') AS noise
  FROM generate_series(1, 80000) i, generate_series(1, 12) j GROUP BY i"""


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """Below /tmp with rights for PostgreSQL's user: pytest's own folders are for one user only."""
    path = Path(tempfile.mkdtemp(prefix="paradedb-faults-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def programs() -> Path:
    found = postgres_programs()
    if not found:
        pytest.skip("no PostgreSQL server is installed on this machine (Debian: postgresql)")
    return found


@pytest.fixture(scope="session")
def versitygw() -> Path:
    command = [sys.executable, str(ROOT / "tools/images"), "versitygw"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the S3 server of the tests cannot be built: {done.stderr.strip()[-300:]}")
    return Path(done.stdout.split()[-1])


@pytest.fixture(scope="session")
def fingerprint() -> ModuleType:
    """What a server holds, to be compared."""
    specification = importlib.util.spec_from_file_location("fingerprint", PROGRAMS / "fingerprint.py")
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def make_postgres(folder: Path, programs: Path) -> Iterator[Callable[[str], Postgres]]:
    """Makes PostgreSQL servers that are not started yet; they end with the tests."""
    made: list[Postgres] = []

    def make(name: str) -> Postgres:
        made.append(Postgres(folder / name / "data", free_port(), programs))
        return made[-1]

    yield make
    for postgres in made:
        if (postgres.data / "postmaster.pid").exists():
            postgres.stop("immediate")


@pytest.fixture(scope="session")
def filled(make_postgres: Callable[[str], Postgres]) -> Postgres:
    """A running server with hostile databases, and 30 MB that hardly compress."""
    postgres = make_postgres("filled")
    postgres.initialise()
    postgres.settings(fsync="off", max_wal_size="256MB")
    postgres.start()
    postgres.file(PROGRAMS / "hostile_roles.sql")
    for name in HOSTILE:
        postgres.file(PROGRAMS / "hostile.sql", name)
    postgres.sql(MAKE_BULK)
    return postgres


@pytest.fixture
def s3(versitygw: Path, tmp_path: Path) -> Iterator[S3]:
    with s3_server(versitygw, tmp_path / "s3") as server:
        yield server


@pytest.fixture
def program(filled: Postgres, tmp_path: Path) -> Program:
    """The program for the filled server, not configured yet."""
    return Program(tmp_path / "pod", filled, "orders")
