"""How an upload is cut into parts: few in memory, and no more than the store takes."""

from __future__ import annotations

import threading

MIB = 1024 * 1024
# Limits of S3: 10,000 parts, of 5 MiB to 5 GiB, 5 TiB together.
MOST_PARTS = 10_000
SMALLEST = 16 * MIB
# Below the memory that a backup pod has by default, with all else in it.
LARGEST = 640 * MIB
# A stream of the expected size would have this number of parts. A dump has about half of its database's size,
# so that its parts are of one size, as some stores want it.
_EXPECTED_PARTS = 8_000
# Parts of all streams in memory at once; one larger than this has it alone.
BUDGET = 256 * MIB


def part_size(number: int, expected: int) -> int:
    """Bytes of the part `number`, from 1, of a stream of about `expected` bytes.

    For 5 TB, as for the largest object of S3, they are about 600 MiB. Larger from the 5,001st on, for a
    stream beyond what was expected: with 16 MiB to begin with, the parts hold 78 GiB, then 328 GiB, then 2.7
    TiB.
    """
    wanted = -(-expected // _EXPECTED_PARTS)
    first = min(LARGEST, max(SMALLEST, -(-wanted // MIB) * MIB))
    if number <= 5_000:
        return first
    if number <= 6_000:
        return max(first, BUDGET)
    return LARGEST


class Memory:
    """Bytes that streams share, so that the number of streams does not decide how much memory is used."""

    def __init__(self, size: int = BUDGET) -> None:
        self._size = size
        self._used = 0
        self._changed = threading.Condition()

    def take(self, size: int) -> int:
        """Waits until there is room for a part; what it took, to give back."""
        share = min(size, self._size)
        with self._changed:
            self._changed.wait_for(lambda: self._used + share <= self._size)
            self._used += share
        return share

    def give(self, share: int) -> None:
        """Gives back what `take` took."""
        with self._changed:
            self._used -= share
            self._changed.notify_all()
