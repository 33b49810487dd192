"""Choosing the engine."""

from collections.abc import Iterable
from pathlib import Path

from paradedb_runner.engine.ansible_runner_engine import AnsibleRunnerEngine
from paradedb_runner.engine.fork_engine import ForkEngine
from paradedb_runner.engine.interface import Engine
from paradedb_runner.settings import Settings
from paradedb_runner.watches.model import Content, Playbook, Watch


def make_engine(settings: Settings, watches: Iterable[Watch], base: Path) -> Engine:
    """The engine that the settings name; ``base`` is a private directory to start its processes in."""
    if settings.engine == "ansible-runner":
        return AnsibleRunnerEngine()
    contents = {
        content: None
        for watch in watches
        for content in (watch.content, watch.finalizer and watch.finalizer.content)
        if content
    }
    return ForkEngine([place for content in contents for place in _places(content)], base)


def _places(content: Content) -> list[Path]:
    """The file or directory of some content. Roles of collections are found by their names in the texts."""
    place = content.path if isinstance(content, Playbook) else content.directory
    return [place] if place else []
