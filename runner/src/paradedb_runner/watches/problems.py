"""What is wrong with a file, and where: one line for a person, in the form that editors jump to."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path


class Severity(StrEnum):
    """An error stops the runner, a warning does so with ``--strict``, a note never does."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Problem:
    """One thing about one line of a file. Lines count from 1."""

    file: Path
    line: int
    severity: Severity
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.severity}: {self.text}"

    @property
    def told(self) -> str:
        """The same for a log, which has a level of its own."""
        return f"{self.file}:{self.line}: {self.text}"


def made_strict(problems: Iterable[Problem]) -> list[Problem]:
    """With every warning an error."""
    strict = {Severity.WARNING: Severity.ERROR}
    return [replace(each, severity=strict.get(each.severity, each.severity)) for each in problems]


def has_errors(problems: Iterable[Problem]) -> bool:
    """Whether anything is so wrong that nothing can start."""
    return any(each.severity is Severity.ERROR for each in problems)
