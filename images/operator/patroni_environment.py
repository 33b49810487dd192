"""Runs first in the frozen Patroni: gives PostgreSQL and every command it calls the environment Patroni was called with.

The loader of the frozen program points LD_LIBRARY_PATH at the libraries packed with it. This process has read it by now; left
in place, the PostgreSQL that Patroni starts would load our libssl and libz instead of those of its own image.
"""

import os

_original = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
if _original is None:
    os.environ.pop("LD_LIBRARY_PATH", None)
else:
    os.environ["LD_LIBRARY_PATH"] = _original
