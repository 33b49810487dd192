"""
Dependents that change without end must not keep us busy without end.

Passes that dependents ask for are counted. A resource that gets too many of them has its dependents heard
only every now and then, until they are quiet for a minute; what is done to the resource itself is never held
back. The same goes for a pass that fails and changes a dependent before it does: without care, that change
would bring the resource back at once, past the pause that follows a failure.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from paradedb_runner.kube.objects import Key

_PASSES = 20  # within a minute are normal, as during a rollout
_MINUTE = 60.0
_LONGEST = 600.0
_CAUSES = 100  # names that are counted per resource
_OWN_FAILURES = 3  # failing passes in a row that moved a dependent, before such moves stop counting
_ECHO = 2.0  # seconds after a pass in which a change is taken for its own


@dataclass
class _Triggers:
    """What dependents did to one resource."""

    passes: deque[float] = field(default_factory=lambda: deque(maxlen=_PASSES + 1))
    causes: Counter[Key] = field(default_factory=Counter)
    asked: bool = False
    last: float = 0.0
    pause: float = 0.0
    until: float = 0.0
    own: bool = False
    own_failures: int = 0
    failed_at: float = float("-inf")
    waiting: bool = False


class StormBreaker:
    """
    Asked before a dependent's change queues its owner. ``began`` hears of a resource that storms, and of the
    dependent that changed most.
    """

    def __init__(self, began: Callable[[Key, Key], None]) -> None:
        self._began = began
        self._of: dict[Key, _Triggers] = {}
        self._running: set[Key] = set()

    def triggered(self, key: Key, cause: Key) -> float | None:
        """
        A dependent changed: seconds its owner has to wait for its pass; None: until the pass that runs, or
        the pause after the one that failed, has ended.
        """
        now, it = _time(), self._of.setdefault(key, _Triggers())
        self._calm(it, now)
        it.last = now
        if cause in it.causes or len(it.causes) < _CAUSES:
            it.causes[cause] += 1
        if self._echoes(key, it, now):
            return None
        if not it.pause:
            it.asked = True
            return 0.0
        if now >= it.until:
            it.pause = min(_LONGEST, it.pause * 2) if it.until else it.pause
            it.until = now + it.pause
        return it.until - now

    def holds(self, key: Key) -> bool:
        """Whether the resource's dependents are held back."""
        it = self._of.get(key)
        if it is None:
            return False
        self._calm(it, _time())
        return bool(it.pause)

    def begin(self, key: Key, *, counts: bool = True) -> None:
        """A pass over the key starts, or with ``counts`` False something cheaper."""
        self._running.add(key)
        if (it := self._of.get(key)) and it.asked:
            it.asked = False
            if not counts:
                return
            it.passes.append(_time())
            if not it.pause and len(it.passes) > _PASSES and it.passes[-1] - it.passes[0] <= _MINUTE:
                it.pause, it.until = _MINUTE, 0.0
                self._began(key, it.causes.most_common(1)[0][0])

    def ended(self, key: Key, *, failed: bool) -> bool:
        """A pass over the key ended; whether a dependent's change still waits for another one."""
        self._running.discard(key)
        it = self._of.get(key)
        if it is None:
            return False
        waiting, it.waiting = it.waiting, False
        it.own_failures = it.own_failures + 1 if failed and it.own else 0
        it.failed_at = _time() if failed else float("-inf")
        it.own = False
        return waiting and not failed

    def forget(self, key: Key) -> None:
        """The resource is gone."""
        self._of.pop(key, None)

    def _echoes(self, key: Key, it: _Triggers, now: float) -> bool:
        """Whether the change is probably the work of a pass that fails, and was so several times before."""
        if key in self._running:
            it.own = True
            it.waiting = it.own_failures >= _OWN_FAILURES
            return it.waiting
        return it.own_failures >= _OWN_FAILURES and now - it.failed_at < _ECHO

    @staticmethod
    def _calm(it: _Triggers, now: float) -> None:
        """
        A minute without a change, not counting the one that is held back, ends a storm. A pass that was asked
        for before and has not begun yet counts no more: nothing is left that could be named as its cause.
        """
        if now - max(it.last, it.until) > _MINUTE:
            it.asked = False
            it.pause = it.until = 0.0
            it.passes.clear()
            it.causes.clear()


def _time() -> float:
    return asyncio.get_running_loop().time()
