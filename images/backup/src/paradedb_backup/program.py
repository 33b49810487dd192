"""A program whose output is read as a stream that ends well only if the program did."""

from __future__ import annotations

import contextlib
import fcntl
import io
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from paradedb_backup.problems import Problem

# The largest pipe that an unprivileged process may ask for: fewer turns between the program and this one.
_PIPE_BYTES = 1024 * 1024
_LINES = 40


class Program:
    """Runs it. `problem` makes the Problem of what it wrote to stderr when it fails."""

    def __init__(
        self, words: Sequence[str], environment: Mapping[str, str], problem: Callable[[str], Problem]
    ) -> None:
        self._problem = problem
        self._process = subprocess.Popen(
            words, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._output = cast(io.BufferedReader, self._process.stdout)
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._output, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        # Set with the first byte of output, or its end.
        self.began = threading.Event()
        self._said: deque[str] = deque(maxlen=_LINES)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def read(self, size: int) -> bytes:
        """So many bytes, fewer only at the end; Problem when the program failed."""
        if not self.began.is_set():
            self._output.peek(1)
            self.began.set()
        data = self._output.read(size)
        if len(data) < size:
            code = self._process.wait()
            self._listener.join()
            if code:
                raise self._problem("\n".join(self._said) or f"ended with code {code}")
        return data

    def stop(self) -> None:
        """Ends it; what reads from it gets a Problem."""
        self.began.set()
        if self._process.poll() is None:
            self._process.kill()

    def close(self) -> None:
        """Ends it and waits for that."""
        self.stop()
        self._process.wait()
        self._output.close()
        self._listener.join()

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            for line in stream:
                self._said.append(line.decode(errors="replace").rstrip())
