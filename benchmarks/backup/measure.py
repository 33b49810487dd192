"""Times the backup program against `pg_dump | cat`, with a real PostgreSQL and S3 server: measure.py
MEGABYTES

Prints a table and writes it to results/<time>.json beside this file. Every way runs twice, the second time
in the opposite order, so that a machine that gets slower or faster favours none; the better of the two is
told."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "images/backup/tests/faults"), str(ROOT / "images/backup/src")]

from paradedb_backup.dump_database import compression  # noqa: E402
from program import Program, s3_place  # noqa: E402
from servers import Postgres, free_port, postgres_programs, s3_server  # noqa: E402

# A quarter of it is noise, the rest compresses as text of applications does: about 200 bytes a row.
FILL = """CREATE TABLE events AS SELECT i AS id, now() + i * interval '1 second' AS at,
  'customer ' || i % 5000 AS who, md5(i::text) || md5((i + 1)::text) AS token,
  repeat('order shipped and paid; ', 3) AS note, jsonb_build_object('n', i % 97, 'ok', i % 3 = 0) AS doc
  FROM generate_series({first}, {last}) i"""
ROWS_A_MEGABYTE = 4300
# Text as it is, and the format and compression that the backup has.
PLAIN, PACKED = "pg_dump | cat", "pg_dump --format=custom | cat"
MIB = 2**20


def fill(postgres: Postgres, megabytes: int) -> int:
    """Four tables of the size together, each with an index; the bytes of the database."""
    rows = ROWS_A_MEGABYTE * megabytes // 4
    for number in range(4):
        statement = FILL.format(first=number * rows + 1, last=(number + 1) * rows)
        postgres.sql(statement.replace("TABLE events", f"TABLE events_{number}"))
        postgres.sql(f"ALTER TABLE events_{number} ADD PRIMARY KEY (id)")
    postgres.sql("CHECKPOINT")
    return int(postgres.sql("SELECT sum(pg_database_size(oid)) FROM pg_database"))


def timed(work: Callable[[], Any]) -> float:
    """Seconds that it takes."""
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def plain(postgres: Postgres, *options: str) -> None:
    """pg_dump, whose output goes nowhere."""
    dump = shlex.join([f"{postgres.programs}/pg_dump", *options, "postgres"])
    environment = {**os.environ, **postgres.environment()}
    subprocess.run(["bash", "-o", "pipefail", "-c", f"{dump} | cat >/dev/null"], check=True, env=environment)


def recover(base: Path, make: Callable[[str], Postgres], store: dict[str, Any]) -> float:
    """Seconds of a recovery from the newest dump."""
    postgres = make(f"new-{free_port()}")
    postgres.data.parent.mkdir()
    postgres.data.parent.chmod(0o777)
    program = Program(base / postgres.data.parent.name / "pod", postgres, "restored")
    program.recover(store, server="orders", method="dump")
    return timed(lambda: program.good("bootstrap", key="recovery"))


def measure(folder: Path, binary: Path, megabytes: int) -> dict[str, Any]:
    """All of it. Raises AssertionError when a run fails."""
    programs = postgres_programs()
    assert programs, "no PostgreSQL server is installed (Debian: postgresql)"

    def make(name: str) -> Postgres:
        return Postgres(folder / name / "data", free_port(), programs)

    postgres = make("filled")
    postgres.initialise()
    postgres.settings(fsync="off", max_wal_size="2GB", shared_buffers="256MB")
    postgres.start()
    try:
        size = fill(postgres, megabytes)
        with s3_server(binary, folder / "s3") as s3:
            (folder / "volume").mkdir()
            (folder / "volume").chmod(0o777)
            stores = {"S3": s3_place(s3.port), "volume": {"volume": str(folder / "volume")}}
            return {"bytes": size, "rows": ways(folder, postgres, stores, make)}
    finally:
        postgres.stop("immediate")


def ways(
    folder: Path, postgres: Postgres, stores: dict[str, Any], make: Callable[[str], Postgres]
) -> list[dict[str, Any]]:
    """One row for each way: its seconds and what they are compared with."""
    programs = {
        where: Program(folder / f"pod-{where}", postgres, "orders").configure(store)
        for where, store in stores.items()
    }
    runs: dict[str, Callable[[], Any]] = {
        PLAIN: lambda: plain(postgres),
        PACKED: lambda: plain(postgres, "--format=custom", compression()),
    }
    for where, program in programs.items():
        runs[f"backup to {where}"] = lambda program=program: program.good("dump")
    found: dict[str, list[float]] = {name: [] for name in runs}
    for name in [*runs, *reversed(runs)]:
        seconds = timed(runs[name])
        print(f"{name}: {seconds:.1f} s", file=sys.stderr)
        found[name].append(seconds)
    for where, store in stores.items():
        found[f"recovery from {where}"] = [recover(folder, make, store)]
    best = {name: min(seconds) for name, seconds in found.items()}
    return [
        {
            "way": name,
            "seconds": round(seconds, 1),
            **{of: round(best[of] / seconds, 2) for of in (PLAIN, PACKED)},
        }
        for name, seconds in best.items()
    ]


def table(result: dict[str, Any]) -> str:
    """The rows as Markdown."""
    plain, packed = (name.replace("|", "\\|") for name in (PLAIN, PACKED))
    lines = [f"| | seconds | MB/s of the database | of {plain} | of {packed} |", "|---|--:|--:|--:|--:|"]
    for row in result["rows"]:
        rate = result["bytes"] / MIB / row["seconds"]
        compared = [] if row["way"].startswith("recovery") else [row[PLAIN], row[PACKED]]
        shown = [f"{100 * ratio:.0f} %" for ratio in compared] or ["", ""]
        lines.append(
            f"| {row['way']} | {row['seconds']} | {rate:.0f} | {' | '.join(shown)} |".replace(
                " | cat", " \\| cat"
            )
        )
    return "\n".join(lines)


def main() -> None:
    megabytes = int(sys.argv[1])
    command = [sys.executable, str(ROOT / "tools/images"), "versitygw"]
    binary = Path(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])
    folder = Path(tempfile.mkdtemp(prefix="paradedb-benchmark-"))
    folder.chmod(0o777)
    try:
        found = measure(folder, binary, megabytes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    now = datetime.now(UTC).replace(microsecond=0)
    machine = {"processors": os.cpu_count(), "kernel": platform.release()}
    result = {"date": now.isoformat(), "machine": machine, **found}
    file = HERE / "results" / f"{now:%Y-%m-%dT%H%M%S}.json"
    file.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))
    print(file.relative_to(ROOT))


if __name__ == "__main__":
    main()
