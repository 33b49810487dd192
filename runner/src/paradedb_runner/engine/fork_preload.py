"""
What a role or playbook will need, imported before anybody asks.

Its files name modules, roles, filters and lookups of collections in full; every such name that exists is
loaded, and a role is looked through as well. A name that is none costs one look and is left.
"""

import contextlib
import importlib
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from ansible.plugins import loader
from ansible.utils.collection_loader._collection_finder import _get_collection_role_path

_NAME = re.compile(r"\b[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*\b")
_COLLECTIONS = "ansible_collections."
_TEXTS = {".yml", ".yaml", ".j2"}
_ALWAYS = (
    "ansible.executor.playbook_executor",
    "kubernetes.client",
    "kubernetes.dynamic",
    "kubernetes.stream",
)
_LOADERS = (loader.action_loader, loader.filter_loader, loader.lookup_loader, loader.test_loader)
# Looked through for every run. Plugins of variables are not among them: loaded before the inventory is known,
# those of group_vars find nothing.
_WHOLE = (
    *(loader.strategy_loader, loader.connection_loader, loader.callback_loader, loader.shell_loader),
    *(loader.inventory_loader, loader.become_loader),
)
_WITHOUT_CLASSES = (loader.filter_loader, loader.test_loader)


def preload(content: Iterable[Path]) -> list[str]:
    """
    Load what every run needs, and what the files in these directories name.

    Returns the files of collections it loaded, which may be replaced while we hold what was in them.
    """
    for name in _ALWAYS:
        importlib.import_module(name)
    for each in _WHOLE:
        list(each.all(class_only=True))
    waiting, seen = list(content), set[str]()
    while waiting:
        for name in _names(waiting.pop()) - seen:
            seen.add(name)
            if role := _get_collection_role_path(name):
                waiting.append(Path(role[1]))
            else:
                _load(name)
    loaded = [
        getattr(each, "__file__", None) for name, each in sys.modules.items() if name.startswith(_COLLECTIONS)
    ]
    return [file for file in loaded if file]


def module_path(name: str) -> str:
    """Where Python finds a collection's module."""
    namespace, collection, plugin = name.split(".")
    return f"ansible_collections.{namespace}.{collection}.plugins.modules.{plugin}"


def _load(name: str) -> None:
    """
    Load every kind of plugin that has this name. What fails now fails again in the run, where it is told.
    """
    for each in _LOADERS:
        options = {} if each in _WITHOUT_CLASSES else {"class_only": True}
        with contextlib.suppress(Exception):
            each.get(name, **options)


def _names(place: Path) -> set[str]:
    files = place.rglob("*") if place.is_dir() else [place]
    return {
        name
        for file in files
        if file.suffix in _TEXTS
        for name in _NAME.findall(file.read_text(errors="replace"))
    }
