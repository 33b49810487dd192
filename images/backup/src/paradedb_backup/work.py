"""The state that the threads of one run share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from paradedb_backup.problems import Problem


class Work:
    """What the threads of one run share: how far they are, and that they are to stop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopped = False
        self._bytes = 0
        self._phases: list[str] = []
        self._stops: list[Callable[[], None]] = []

    def counted(self, size: int) -> None:
        """So many more bytes are stored."""
        with self._lock:
            self._bytes += size

    def progress(self) -> tuple[str, int]:
        """The phases going on, and the bytes stored so far."""
        with self._lock:
            return ", ".join(self._phases) or "starting", self._bytes

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """The block is this phase."""
        with self._lock:
            self._phases.append(name)
        try:
            yield
        finally:
            with self._lock:
                self._phases.remove(name)

    @contextmanager
    def stopping(self, stop: Callable[[], None]) -> Iterator[None]:
        """Calls `stop` when the run is to stop while the block lasts, or at once when it has to already."""
        with self._lock:
            self._stops.append(stop)
            stopped = self._stopped
        try:
            if stopped:
                raise Problem("Interrupted", "another part of the backup failed")
            yield
        finally:
            with self._lock:
                self._stops.remove(stop)

    def stop(self) -> None:
        """Stops what runs and what would start."""
        with self._lock:
            self._stopped = True
            stops = list(self._stops)
        for stop in stops:
            # Beside each other: one that needs the network may take its time.
            threading.Thread(target=stop, daemon=True).start()
