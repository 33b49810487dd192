"""An API server that counts generations, and at which a pass may be killed."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from .fake_kube import FakeKube, Object

__all__ = ["FragileKube", "Killed", "Object"]


class Killed(Exception):
    """The pass ends here, as by SIGKILL."""


class FragileKube(FakeKube):
    """Counts a StatefulSet's generations, and can end a pass before or after a write."""

    def __init__(self) -> None:
        super().__init__()
        self.fuse: Random | None = None
        self.on_scale: Callable[[int], None] = lambda before: None

    def merge_patch(self, target: Object, patch: Object, subresource: str = "") -> Object:
        self._burn()
        before = self.objects[(target["kind"], target["metadata"]["namespace"], target["metadata"]["name"])]
        made = super().merge_patch(target, patch, subresource)
        if target["kind"] == "StatefulSet":
            made["metadata"]["generation"] += 1
            self.on_scale(before["spec"]["replicas"])
        self._burn()
        return made

    def apply(self, definition: Object, dry_run: bool = False) -> Object:
        self._burn()
        made = super().apply(definition, dry_run)
        self._burn()
        return made

    def delete(self, target: Object, propagation: str = "Background", at_once: bool = False) -> bool:
        self._burn()
        made = super().delete(target, propagation, at_once)
        self._burn()
        return made

    def execute(self, namespace: str, pod: str, command: Any, stdin: str = "") -> str:
        self._burn()
        made = super().execute(namespace, pod, command, stdin)
        self._burn()
        return made

    def _burn(self) -> None:
        if self.fuse and self.fuse.random() < 0.25:
            raise Killed
