"""Growing pauses between attempts."""

import random
from collections.abc import Callable


class Backoff:
    """
    Pauses of ``first`` seconds, doubling up to ``longest``, each stretched by up to half to spread callers.
    """

    def __init__(
        self,
        first: float = 0.8,
        longest: float = 30.0,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._first, self._longest, self._uniform = first, longest, uniform
        self.reset()

    def reset(self) -> None:
        """Start over after something worked."""
        self._base = self._first

    def next(self) -> float:
        """Seconds to wait before the next attempt."""
        base, self._base = self._base, min(self._longest, self._base * 2)
        return min(self._longest, base * self._uniform(1.0, 1.5))
