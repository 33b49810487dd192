"""Runs first in the frozen programs: gives what they start the environment they were called with.

The loader of the frozen program points LD_LIBRARY_PATH at the libraries packed with it. This process has read
it by now; left in place, the PostgreSQL that they start would load our libssl and libz instead of those
of its own image. The loader's own variables go too: with them a further process of this program (Patroni
starts one to launch PostgreSQL) would rely on the path just taken away, without them it sets itself up anew.
"""

import os

_original = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
if _original is None:
    os.environ.pop("LD_LIBRARY_PATH", None)
else:
    os.environ["LD_LIBRARY_PATH"] = _original
for _name in [name for name in os.environ if name.startswith("_PYI_")]:
    del os.environ[_name]
