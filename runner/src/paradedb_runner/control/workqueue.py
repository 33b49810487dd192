"""
The work queue: resources that want a pass, each at most once, and never one that is being passed over.

It is level-triggered: a key says "look again", not what happened, so ten events cost one pass. Two lanes keep
events ahead of periodic work, and a count keeps periodic work from starving.
"""

import asyncio
import heapq
import random
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from enum import IntEnum

from paradedb_runner.kube.objects import GroupVersionKind, Key

_PERIODIC_EVERY = 8  # after this many events in a row, a waiting periodic key goes first
_FIRST_RETRY = 30.0
_LONGEST_RETRY = 600.0
_RETRIES_PER_SECOND = 10.0
_RETRY_BURST = 100


class Lane(IntEnum):
    """Where a key waits. A key in both belongs to EVENT."""

    EVENT = 0
    PERIODIC = 1


class TokenBucket:
    """
    Spreads retries of all keys together: an outage of something shared must not retry everything at once.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._rate, self._burst = rate, burst
        self._tokens, self._at = float(burst), 0.0

    def reserve(self, now: float) -> float:
        """Take one token; the seconds until it is really there."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - 1
        self._at = now
        return max(0.0, -self._tokens / self._rate)


class WorkQueue:
    """
    Keys in, keys out, one in flight each.

    A key added while it is in flight comes back exactly once after ``done``. Adds with a delay keep the
    earliest deadline, and taking the key drops it: the pass that starts is the one the deadline asked for.
    """

    def __init__(self, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._uniform = uniform
        self._lanes: dict[Lane, OrderedDict[Key, float]] = {lane: OrderedDict() for lane in Lane}
        self._in_flight: dict[Key, float] = {}
        self._again: dict[Key, Lane] = {}
        self._deadlines: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._failures: Counter[Key] = Counter()
        self._bucket = TokenBucket(_RETRIES_PER_SECOND, _RETRY_BURST)
        self._events_in_a_row = 0
        self._changed = asyncio.Event()
        self.adds: Counter[GroupVersionKind] = Counter()
        self.retries: Counter[GroupVersionKind] = Counter()

    def add(self, key: Key, lane: Lane = Lane.EVENT) -> None:
        """Ask for a pass now."""
        if key in self._in_flight:
            self._again[key] = min(lane, self._again.get(key, lane))
            return
        if key in self._lanes[Lane.EVENT] or (lane is Lane.PERIODIC and key in self._lanes[lane]):
            return
        since = self._lanes[Lane.PERIODIC].pop(key, self._now())
        self._lanes[lane][key] = since
        self.adds[key.gvk] += 1
        self._changed.set()

    def add_after(self, key: Key, delay: float) -> None:
        """Ask for a pass in ``delay`` seconds; an earlier deadline of the key stays."""
        deadline = self._now() + delay
        if key in self._deadlines and self._deadlines[key] <= deadline:
            return
        self._deadlines[key] = deadline
        heapq.heappush(self._heap, (deadline, key))
        self._arm()

    def retry(self, key: Key) -> float:
        """
        Ask for a pass after a failure; the seconds until then: 30 s doubling to 10 min, less up to a tenth.
        """
        base = min(_LONGEST_RETRY, _FIRST_RETRY * 2.0 ** min(self._failures[key], 16))
        self._failures[key] += 1
        self.retries[key.gvk] += 1
        delay = max(base * self._uniform(0.9, 1.0), self._bucket.reserve(self._now()))
        self.add_after(key, delay)
        return delay

    def forget(self, key: Key) -> None:
        """The key succeeded or is gone: its next failure starts from the shortest delay."""
        del self._failures[key]

    async def get(self, blocked: Callable[[GroupVersionKind], bool] = lambda _: False) -> tuple[Key, float]:
        """The next key and how long it waited, in seconds. Keys of ``blocked`` kinds stay where they are."""
        while (lane := self._choose(blocked)) is None:
            self._changed.clear()
            await self._changed.wait()
        return lane

    def done(self, key: Key) -> None:
        """The pass over the key ended; also wakes ``get``, since its kind may no longer be blocked."""
        self._in_flight.pop(key, None)
        again = self._again.pop(key, None)
        if again is not None:
            self.add(key, again)
        self._changed.set()

    def depths(self) -> Counter[GroupVersionKind]:
        """Waiting keys of every kind."""
        return Counter(key.gvk for lane in self._lanes.values() for key in lane)

    def working(self) -> dict[GroupVersionKind, list[float]]:
        """Seconds that the keys in flight have been so, by kind."""
        seconds: dict[GroupVersionKind, list[float]] = {}
        for key, since in self._in_flight.items():
            seconds.setdefault(key.gvk, []).append(self._now() - since)
        return seconds

    def _choose(self, blocked: Callable[[GroupVersionKind], bool]) -> tuple[Key, float] | None:
        for lane in self._lane_order():
            for key, since in self._lanes[lane].items():
                if not blocked(key.gvk):
                    return self._take(lane, key, since)
        return None

    def _lane_order(self) -> Iterator[Lane]:
        return iter(Lane) if self._events_in_a_row < _PERIODIC_EVERY else reversed(Lane)

    def _take(self, lane: Lane, key: Key, since: float) -> tuple[Key, float]:
        del self._lanes[lane][key]
        self._events_in_a_row = self._events_in_a_row + 1 if lane is Lane.EVENT else 0
        self._deadlines.pop(key, None)
        self._in_flight[key] = self._now()
        return key, self._now() - since

    def _arm(self) -> None:
        """Set the one timer to the earliest deadline that still counts."""
        while self._heap and self._deadlines.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            self._timer = asyncio.get_running_loop().call_at(self._heap[0][0], self._expire)

    def _expire(self) -> None:
        now = self._now()
        while self._heap and self._heap[0][0] <= now:
            deadline, key = heapq.heappop(self._heap)
            if self._deadlines.get(key) == deadline:
                del self._deadlines[key]
                self.add(key, Lane.PERIODIC)
        self._arm()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
