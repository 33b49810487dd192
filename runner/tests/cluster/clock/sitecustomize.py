"""
A wall clock that can be set: the file that $TEST_CLOCK names holds seconds to add. The monotonic one goes on.

Python imports this at start when the directory is on PYTHONPATH; it is for the runner, not for its runs.
"""

import datetime
import os
import sys
import time
from pathlib import Path

_SHIFT = Path(os.environ["TEST_CLOCK"])
_time, _datetime = time.time, datetime.datetime


def _shift():
    return float(_SHIFT.read_text() or 0)


class _Shifted(_datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(_time() + _shift(), tz)

    @classmethod
    def utcnow(cls):
        return cls.now(datetime.UTC).replace(tzinfo=None)


if "paradedb_runner" in sys.orig_argv:
    time.time = lambda: _time() + _shift()
    datetime.datetime = _Shifted
