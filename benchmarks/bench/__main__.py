"""Command line: `benchmarks/run [PART...] [--quick] [--publish]`."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import yaml
from localcluster.shell import ClusterError

from bench import machine, publish
from bench.api import ApiRefused
from bench.controlplane import ControlPlane, control_plane
from bench.kinds import PARADEDBS
from bench.operator import PassFailed
from bench.parts import FULL, PARTS, QUICK, Bench
from bench.scene import ContentDiffers
from bench.table import Result, table
from bench.waiting import TookTooLong, until

ROOT = Path(__file__).resolve().parents[2]
_CRD = ROOT / "deploy" / "crd" / "paradedbs.database.paradedb.io.yaml"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def main() -> int:
    """Measure, or only show; the exit code."""
    options = _options()
    try:
        result = json.loads(options.show.read_text()) if options.show else _measure(options)
    except (ApiRefused, ClusterError, ContentDiffers, PassFailed, TookTooLong) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(table(result))
    if options.publish:
        publish.publish(result, ROOT)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/run", description="See docs/performance.md.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="small numbers, to see whether it works")
    parser.add_argument("--show", type=Path, metavar="FILE", help="measure nothing, show an earlier result")
    parser.add_argument("--publish", action="store_true", help="put the result into docs/performance.md")
    options = parser.parse_args()
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if options.publish and (options.quick or options.parts):
        parser.error("only a whole result is worth publishing")
    return options


def _measure(options: argparse.Namespace) -> Result:
    # An end that was asked for cleans up as any other end does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.0f}s  {text}", file=sys.stderr, flush=True)

    result: Result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": options.quick,
        "machine": machine.describe(ROOT),
        "parts": {},
    }
    logs = Path(tempfile.mkdtemp(prefix="paradedb-benchmark-"))
    say(f"logs of the operators are in {logs}, until all has gone well")
    with control_plane() as plane:
        _install(plane)
        with closing(Bench(plane, QUICK if options.quick else FULL, logs, say)) as bench:
            for name, part in PARTS.items():
                if name in options.parts or not options.parts:
                    result["parts"][name] = part(bench)
                    _save(result)  # whatever comes later may fail
    shutil.rmtree(logs)
    say(f"written to {_file(result).relative_to(ROOT)}")
    return result


def _install(plane: ControlPlane) -> None:
    """The definition of ParadeDB, served."""
    plane.api.request("POST", _DEFINITIONS, yaml.safe_load(_CRD.read_text()))

    def served() -> bool:
        try:
            return bool(plane.api.request("GET", PARADEDBS.format("default")))
        except ApiRefused:
            return False

    until(served, 60, "the definition of ParadeDB to be served")


def _save(result: Result) -> None:
    _file(result).parent.mkdir(exist_ok=True)
    _file(result).write_text(json.dumps(result, indent=1) + "\n")


def _file(result: Result) -> Path:
    return ROOT / "benchmarks" / "results" / f"{result['date'].replace(':', '')[:17]}.json"


if __name__ == "__main__":
    sys.exit(main())
