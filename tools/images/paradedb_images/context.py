"""Which files a build sees, their digest, and a copy of them whose times never change.

A builder's layer cache looks at modification times, and a fresh checkout has new ones. So every build reads a
staged copy with one fixed time: equal contents give equal layers, whoever checked them out and when.
"""

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

STAGED_TIME = 1_700_000_000  # seconds since 1970; any constant serves


@dataclass(frozen=True)
class IgnoreRule:
    """One line of a .dockerignore: `ignored` is what it says of paths that match or lie below a match."""

    expression: re.Pattern[str]
    ignored: bool


def _expression(pattern: str) -> re.Pattern[str]:
    """Translate a .dockerignore pattern: `**/` any folders, `*` and `?` within one name."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern.strip("/"))
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(part, re.escape(part)) for part in parts) + "(?:/.*)?")


def read_ignore_rules(directory: Path) -> list[IgnoreRule]:
    """Rules of the .dockerignore in `directory`, in order; none when there is no such file."""
    path = directory / ".dockerignore"
    if not path.is_file():
        return []
    lines = (line.strip() for line in path.read_text().splitlines())
    patterns = [line for line in lines if line and not line.startswith("#")]
    return [IgnoreRule(_expression(pattern.lstrip("!")), not pattern.startswith("!")) for pattern in patterns]


def is_ignored(path: str, rules: list[IgnoreRule]) -> bool:
    """What the last rule that matches `path` says, as Docker decides; a path that no rule matches is kept."""
    ignored = False
    for rule in rules:
        if rule.expression.fullmatch(path):
            ignored = rule.ignored
    return ignored


def context_files(directory: Path) -> list[str]:
    """Paths relative to `directory` of the files that a build there gets, sorted."""
    rules = read_ignore_rules(directory)
    found: list[str] = []
    for folder, names, files in os.walk(directory):
        names[:] = [name for name in names if name not in (".git", "__pycache__")]
        relative = Path(folder).relative_to(directory)
        found += [(relative / name).as_posix() for name in files]
    return sorted(path for path in found if not is_ignored(path, rules))


def digest(directory: Path, *facts: str) -> str:
    """SHA-256 (hex) over `facts` and names, executable bits and contents of the files a build there gets."""
    total = hashlib.sha256()
    for fact in facts:
        total.update(f"{len(fact)}:{fact}".encode())
    for name in context_files(directory):
        path = directory / name
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        kind = "link" if path.is_symlink() else "program" if os.access(path, os.X_OK) else "file"
        total.update(f"{kind} {len(name)}:{name} {len(content)}:".encode() + content)
    return total.hexdigest()


def stage(directory: Path, target: Path, *programs: Path) -> None:
    """Copy the files a build in `directory` gets, and `programs` beside them, into `target`.

    All are readable by all and have one fixed time.
    """
    shutil.rmtree(target, ignore_errors=True)
    wanted = {name: directory / name for name in context_files(directory)}
    wanted.update({program.name: program for program in programs})
    for name, source in wanted.items():
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy, follow_symlinks=False)
        if not source.is_symlink():
            copy.chmod(0o755 if os.access(source, os.X_OK) else 0o644)
    for folder, _, files in os.walk(target, topdown=False):
        Path(folder).chmod(0o755)
        for path in [*(Path(folder) / name for name in files), Path(folder)]:
            os.utime(path, (STAGED_TIME, STAGED_TIME), follow_symlinks=False)
