"""Keeps the field reference and the CRD's embedded Kubernetes types up to date.

write: write docs/reference/paradedb.md from the CRD
check: fail if that page is not what the CRD gives
embed: renew Kubernetes' own types in the CRD from the API server that kubectl talks to
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parent))

from fields import markdown
from kubernetes_types import embed

ROOT = Path(__file__).resolve().parents[2]
CRD = ROOT / "deploy" / "crd" / "paradedbs.database.paradedb.io.yaml"
PAGE = ROOT / "docs" / "reference" / "paradedb.md"


def main(arguments: list[str]) -> int:
    """Run one command; the exit status is 1 when the page is out of date."""
    parser = argparse.ArgumentParser(
        prog="tools/reference", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["write", "check", "embed"])
    command = parser.parse_args(arguments).command
    if command == "embed":
        answer = subprocess.run(
            ["kubectl", "get", "--raw", "/openapi/v3/api/v1"], check=True, capture_output=True, text=True
        )
        CRD.write_text(embed(CRD.read_text(), json.loads(answer.stdout)))
        return 0
    page = markdown(yaml.safe_load(CRD.read_text()))
    if command == "check":
        if PAGE.exists() and PAGE.read_text() == page:
            return 0
        print(f"{PAGE.relative_to(ROOT)} is out of date; run: python3 tools/reference write", file=sys.stderr)
        return 1
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
