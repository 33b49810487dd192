"""The programs of the scenarios, which are no package, as modules."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SCENARIOS = Path(__file__).parents[2] / "molecule"


@pytest.fixture(scope="session")
def program() -> Callable[[str, str], ModuleType]:
    """Loads a program by its scenario and its name."""

    def load(scenario: str, name: str) -> ModuleType:
        path = SCENARIOS / scenario / "files" / f"{name}.py"
        specification = importlib.util.spec_from_file_location(f"{scenario}_{name}", path)
        assert specification
        assert specification.loader
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        return module

    return load
