"""Makes the tool's package importable (it is run as a directory, not installed), and names the marker."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def pytest_configure(config: pytest.Config) -> None:
    """Tests that start real clusters need root and take minutes."""
    config.addinivalue_line("markers", "cluster: starts a real cluster on this machine; needs root")
