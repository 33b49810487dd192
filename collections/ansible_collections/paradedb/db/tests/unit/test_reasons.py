"""Every reason that a ParadeDB's status or events can have is explained to who meets it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[2] / "plugins"
ROLES = PLUGINS.parent / "roles"
PAGE = Path(__file__).parents[6] / "docs/reference/conditions.md"

# Modules for other roles, or for who calls them by hand: what they refuse, the caller of the task reads.
BY_HAND = ("any_kind.py", "any_status.py", "durations.py", "foreign.py", "resource.py", "teardown.py")
SAID_TO_THE_CALLER = {"SwitchoverTimeout", "BackupTimeout"}

_WORD = re.compile(r"[A-Z][a-z]+[A-Za-z]*")


def reasons(path: Path) -> Iterator[str]:
    """First arguments of refusals and steps, values of "reason" and what is assigned to a reason."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and _name(node.func) in ("Refused", "Step") and node.args:
            yield from _words(node.args[0])
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg == "reason":
                    yield from _words(keyword.value)
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "reason":
                    yield from _words(value)
        if isinstance(node, ast.Assign) and any("reason" in ast.unparse(item) for item in node.targets):
            yield from _words(node.value)


def _name(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _words(value: ast.expr) -> Iterator[str]:
    """Constants that are one CamelCase word, on either side of a choice or in a tuple."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str) and _WORD.fullmatch(value.value):
        yield value.value
    if isinstance(value, ast.IfExp):
        yield from _words(value.body)
        yield from _words(value.orelse)
    if isinstance(value, ast.Tuple):
        yield from _words(value.elts[0])


def test_reasons_are_found() -> None:
    assert "RollingUpdate" in set(reasons(PLUGINS / "module_utils/steps.py"))
    assert "ImagePullFailed" in set(reasons(PLUGINS / "module_utils/instances.py"))


@pytest.mark.parametrize(
    "path",
    [path for path in sorted((PLUGINS / "module_utils").glob("*.py")) if path.name not in BY_HAND],
    ids=lambda path: path.name,
)
def test_every_reason_is_on_the_page(path: Path) -> None:
    missing = {word for word in reasons(path) if f"`{word}`" not in PAGE.read_text()}
    assert missing <= SAID_TO_THE_CALLER


def test_reasons_of_an_instance_that_refuses_to_start_are_on_the_page() -> None:
    script = (ROLES / "statefulset/templates/prepare.sh").read_text()
    words = set(re.findall(r"\brefuse ([A-Z]\w+)", script))
    assert words
    assert {word for word in words if f"`{word}`" not in PAGE.read_text()} == set()


def test_reasons_of_the_program_that_makes_backups_are_on_the_page() -> None:
    program = PAGE.parents[2] / "images/backup/src/paradedb_backup/problems.py"
    words = set(re.findall(r'^        "([A-Z]\w+)",$', program.read_text(), re.MULTILINE))
    assert "WALMissing" in words
    assert {word for word in words if f"`{word}`" not in PAGE.read_text()} == set()


def test_reasons_of_backups_are_on_the_page() -> None:
    words = {
        word
        for name in ("archive_status", "backup_status", "recovery_status", "backup_fields")
        for word in re.findall(r'"([A-Z][a-z]+[A-Z]\w+)"', (PLUGINS / f"module_utils/{name}.py").read_text())
    }
    assert {"BackupOverdue", "ArchivingLags"} <= words
    assert {word for word in words if f"`{word}`" not in PAGE.read_text()} == set()
