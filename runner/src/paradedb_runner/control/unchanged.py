"""
Whether a pass would find anything to do, decided without running it.

A resource is at rest if a pass over it succeeded, changed nothing and asked for nothing. What the pass was
about is remembered as a fingerprint (fingerprint.py). As long as the resource still has that fingerprint, a
pass would do the same, which is nothing, and is left out.

Why no event is ever lost:

- The fingerprint that is remembered is the one from the *start* of the pass, taken in the same step of the
  event loop that takes the key from the queue. Whatever the watches show later is not in it.
- Every event that changes a part of a fingerprint calls ``touch``: it drops what is remembered, and if a pass
  is running, that pass may not remember anything when it ends. So an event is either older than the
  fingerprint and inside it, or it comes during the pass and keeps it from being remembered, or it comes
  afterwards and drops it. This holds even if a second event restores the first state.
- The pass itself reads the API, which is at least as new as the watches. If it saw more than the fingerprint
  tells, the events that tell the rest are still on their way, and touch the resource when they arrive.
- Unless they never do: after a gap in a watch, a list tells how things are, not what came and went meanwhile.
  So whoever had a pass since the gap began is touched as well (``doubt``).
- An event that arrives while a pass runs also queues the key again (workqueue.py), as for any other watch;
  the decision about that second turn is made when it is taken, by the rules above.
- Failures, interruptions and the start of every pass drop what is remembered, so a pass that dies half-way
  never leaves an older verdict behind. What a restart loads is compared with what the watches show then.
- A status of a dependent is no part of ``content``, and neither are the surroundings (surroundings.py). They
  show in ``versions``, which are compared as well: where they differ there is a refresh, if the watch has
  one, and else a pass. They touch nothing, since what is remembered holds the versions of the start too.

Outside watches nobody looks, so after the resync period a pass runs regardless, and after the refresh's own
period a refresh. That one takes the place of a skip and of nothing else: what is remembered stays as it is,
or is dropped if the refresh was not good.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from paradedb_runner.control.fingerprint import Fingerprint
from paradedb_runner.control.memory import PassMemory
from paradedb_runner.kube.objects import Key

_CONFIRMATIONS = 5  # passes that confirm a change and change something again, before we stop insisting


class Turn(Enum):
    """What a key gets that is its turn."""

    RUN = "run"
    REFRESH = "refresh"
    SKIP = "skip"


class Verdict(Enum):
    """What follows from how a pass ended. CONFIRM asks for one more soon, RESTLESS says that none helps."""

    NOTHING = "nothing"
    CONFIRM = "confirm"
    RESTLESS = "restless"


@dataclass
class _Running:
    fingerprint: Fingerprint | None
    touched: bool = False


class Gate:
    """
    Decides for the resources of watches with skipUnchanged. ``look`` takes the fingerprint of a resource,
    None if it is not there or on its way out.
    """

    def __init__(self, memory: PassMemory, look: Callable[[Key], Fingerprint | None]) -> None:
        self._memory, self._look = memory, look
        self._running: dict[Key, _Running] = {}
        self._ended: dict[Key, float] = {}
        self._unconfirmed: Counter[Key] = Counter()

    def begin(self, key: Key, *, refreshable: bool) -> Turn:
        """Decide what a key gets whose turn it is, and start it unless that is nothing."""
        now, known = self._look(key), self._memory.get(key)
        if now and known and _time() < known.due and known.fingerprint.content == now.content:
            if known.fingerprint == now and _time() < known.stale:
                return Turn.SKIP
            if refreshable:
                self._running[key] = _Running(now)
                return Turn.REFRESH
        self._memory.drop(key)
        self._running[key] = _Running(now)
        return Turn.RUN

    def touch(self, key: Key, *, by_itself: bool = False) -> None:
        """A part of the resource's fingerprint changed; ``by_itself``: it was what the resource wants."""
        self._memory.drop(key)
        if key in self._running:
            self._running[key].touched = True
        if by_itself:
            del self._unconfirmed[key]

    def gone(self, key: Key) -> None:
        """The resource no longer exists."""
        self.touch(key, by_itself=True)
        self._ended.pop(key, None)
        if key in self._running:
            self._running[key].fingerprint = None

    def doubt(self, key: Key, since: float) -> bool:
        """
        Something may have come and gone since loop time ``since`` that no event tells of: whether a pass or a
        refresh may have seen it. What it found is not to be relied upon then.
        """
        doubtful = key in self._running or self._ended.get(key, -math.inf) >= since
        if doubtful:
            self.touch(key)
        return doubtful

    def refreshed(self, key: Key, *, good: bool) -> None:
        """A refresh ended; ``good`` if it showed all there was to show."""
        running = self._end(key)
        if not good:
            self._memory.drop(key)
        elif running.fingerprint and self._memory.get(key):
            self._memory.renew(key, running.fingerprint)

    def ended(self, key: Key, changed: int | None) -> Verdict:
        """
        A pass ended; ``changed`` is how many of its tasks changed something, None if it failed or wants
        another one anyway.
        """
        running = self._end(key)
        if changed is None:
            del self._unconfirmed[key]
            return Verdict.NOTHING
        if not changed and running.fingerprint and not running.touched:
            del self._unconfirmed[key]
            self._memory.put(key, running.fingerprint)
            return Verdict.NOTHING
        self._unconfirmed[key] += 1
        if self._unconfirmed[key] <= _CONFIRMATIONS:
            return Verdict.CONFIRM
        restless = changed and self._unconfirmed[key] == _CONFIRMATIONS + 1
        return Verdict.RESTLESS if restless else Verdict.NOTHING

    def rest(self, key: Key) -> float:
        """Seconds until a pass or a refresh has to run in any case."""
        known = self._memory.get(key)
        return max(0.0, min(known.due, known.stale) - _time()) if known else math.inf

    def _end(self, key: Key) -> _Running:
        running = self._running.pop(key)
        if running.fingerprint:
            self._ended[key] = _time()
        return running


def _time() -> float:
    return asyncio.get_running_loop().time()
