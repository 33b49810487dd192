"""The molecule scenarios that need no test file of their own."""

from __future__ import annotations

import pytest
from cluster import scenario


# `ha` stops the operator for a while.
@pytest.mark.parametrize("name", ["default", "backup", pytest.param("ha", marks=pytest.mark.alone)])
def test_scenario(name: str) -> None:
    scenario(name)
