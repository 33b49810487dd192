"""The molecule scenarios, as a person runs them."""

from __future__ import annotations

import subprocess

import pytest
from cluster import ROOT


# `ha` stops the operator for a while.
@pytest.mark.parametrize("scenario", ["default", pytest.param("ha", marks=pytest.mark.alone)])
def test_scenario(scenario: str) -> None:
    done = subprocess.run(
        ["molecule", "test", "-s", scenario], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]
    print(done.stdout[-3000:])
