"""Servers for the tests of archive, fetch and base."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))
sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
sys.path.insert(0, str(Path(__file__).parent))

from archiver import Archiver, versitygw_program
from program import Program
from servers import S3, Postgres, free_port, postgres_programs, s3_server


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Below /tmp with rights for PostgreSQL's user: pytest's own folders are for one user only."""
    path = Path(tempfile.mkdtemp(prefix="paradedb-archive-"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def s3(folder: Path) -> Iterator[S3]:
    found, why = versitygw_program()
    if not found:
        pytest.skip(f"the S3 server of the tests cannot be built: {why}")
    with s3_server(found, folder / "s3") as server:
        yield server


@pytest.fixture(scope="module")
def archiver(folder: Path, s3: S3) -> Iterator[Archiver]:
    """A database that archives."""
    programs = postgres_programs()
    if not programs:
        pytest.skip("no PostgreSQL server is installed on this machine (Debian: postgresql)")
    postgres = Postgres(folder / "orders/data", free_port(), programs)
    found = Archiver(postgres, Program(folder / "pod", postgres, "orders"), s3)
    found.start()
    yield found
    postgres.stop("immediate")
