"""
``paradedb-runner check``: all that can be known about watches.yaml before a cluster is asked.

Besides what stops a start it reads the playbooks and the roles' files as YAML, which Ansible does only in a
run.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import yaml

from paradedb_runner.watches.content import SearchPaths, role_directory
from paradedb_runner.watches.file import read_watches
from paradedb_runner.watches.model import Content, Playbook, Watch
from paradedb_runner.watches.problems import Problem, Severity, has_errors, made_strict

_ROLE_PARTS = ("tasks", "handlers", "defaults", "vars", "meta")
_PLAY_KEYS = ("hosts", "import_playbook", "ansible.builtin.import_playbook")
_MAIN = ("main.yml", "main.yaml", "main.json", "main")


def check(path: Path, environ: Mapping[str, str], *, strict: bool, out: TextIO = sys.stdout) -> int:
    """Print all problems and a summary. The exit code is 1 for an error and, if ``strict``, for a warning."""
    watches, problems = read_watches(path, environ, unknown=Severity.ERROR)
    problems += content_problems(watches, SearchPaths.from_environment(environ, Path.cwd()))
    if strict:
        problems = made_strict(problems)
    for problem in problems:
        print(problem, file=out)
    print(_summary(path, watches, problems), file=out)
    return 1 if has_errors(problems) else 0


def content_problems(watches: Sequence[Watch], paths: SearchPaths) -> list[Problem]:
    """Problems inside the playbooks and roles that the watches name, each of them read once."""
    contents = dict.fromkeys(content for watch in watches for content in _contents(watch))
    return [problem for content in contents for problem in _content_problems(content, paths)]


def _contents(watch: Watch) -> Iterator[Content]:
    yield watch.content
    if watch.finalizer and watch.finalizer.content:
        yield watch.finalizer.content


def _content_problems(content: Content, paths: SearchPaths) -> Iterator[Problem]:
    if isinstance(content, Playbook):
        yield from _playbook_problems(_shorter(content.path))
        return
    directory = _shorter(role_directory(content, paths))
    if not any((directory / "tasks" / name).is_file() for name in _MAIN):
        yield Problem(directory / "tasks" / "main.yml", 1, Severity.ERROR, "the role has no such file")
    for part in _ROLE_PARTS:
        for file in sorted([*(directory / part).rglob("*.yml"), *(directory / part).rglob("*.yaml")]):
            _, problems = _compose(file)
            yield from problems


def _playbook_problems(file: Path) -> Iterator[Problem]:
    nodes, problems = _compose(file)
    yield from problems
    if problems:
        return
    plays = nodes[0] if len(nodes) == 1 else None
    if not isinstance(plays, yaml.SequenceNode):
        yield Problem(file, 1, Severity.ERROR, "a playbook must be a list of plays")
        return
    for play in plays.value:
        keys = [key.value for key, _ in play.value] if isinstance(play, yaml.MappingNode) else []
        if not any(name in keys for name in _PLAY_KEYS):
            text = "a play must have hosts, or import a playbook"
            yield Problem(file, play.start_mark.line + 1, Severity.ERROR, text)


def _compose(file: Path) -> tuple[list[yaml.Node], list[Problem]]:
    """The documents of a file as nodes, not as values: tags such as ``!vault`` are Ansible's to read."""
    try:
        return list(yaml.compose_all(file.read_text(encoding="utf-8"), yaml.SafeLoader)), []
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        return [], [Problem(file, line, Severity.ERROR, error.problem or "not YAML")]
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        return [], [Problem(file, 1, Severity.ERROR, f"cannot be read: {type(error).__name__}")]


def _shorter(path: Path) -> Path:
    """Relative to the working directory, as a person there would name it, if it is inside."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _summary(path: Path, watches: Sequence[Watch], problems: Sequence[Problem]) -> str:
    counts = Counter(problem.severity for problem in problems)
    kinds = _plural(len(watches), "kind")
    found = [_plural(counts[each], each) for each in (Severity.ERROR, Severity.WARNING) if counts[each]]
    return f"{path}: {', '.join(found) if found else 'good'}, {kinds}"


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
