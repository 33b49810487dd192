"""
What kubernetes.core finds out about the API, kept from run to run.

It writes that to files in $TMPDIR, which is private to a run and gone with it. Found out anew it costs each
run one request for every group of kinds, so the files are lent to a run and taken back when it changed them.
"""

import contextlib
import json
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FILES = "k8srcp-*.json"
_MOST = 8  # one for every API server and user, so one is usual
_LARGEST = 16 << 20  # bytes
_OLDEST = 3600.0  # seconds; what is removed from the API must be noticed some day


@contextmanager
def shared_discovery(store: Path, temporary: Path) -> Iterator[None]:
    """Lend the files of ``store``, which is created when missing, to a run whose $TMPDIR is ``temporary``."""
    store.mkdir(mode=0o700, exist_ok=True)
    lent = {file.name: _version(file) for file in store.glob(_FILES) if _lend(file, temporary)}
    try:
        yield
    finally:
        for file in temporary.glob(_FILES):
            with contextlib.suppress(OSError, ValueError):
                if _version(file) != lent.get(file.name):
                    _take(file, store)
        for file in sorted(store.glob(_FILES), key=_version)[:-_MOST]:
            file.unlink(missing_ok=True)


def _lend(file: Path, temporary: Path) -> bool:
    if time.time() - file.stat().st_mtime > _OLDEST:
        file.unlink()
        return False
    shutil.copy2(file, temporary)
    return True


def _take(file: Path, store: Path) -> None:
    """Put a run's file into the store. Raises ValueError for one that a killed run did not finish writing."""
    about = file.lstat()
    if not stat.S_ISREG(about.st_mode) or about.st_size > _LARGEST:
        raise ValueError("not a file of this kind")
    json.loads(file.read_bytes())
    unfinished = store / f"{file.name}.new"
    shutil.copy2(file, unfinished)
    unfinished.chmod(0o600)
    unfinished.replace(store / file.name)


def _version(file: Path) -> tuple[int, int]:
    about = file.lstat()
    return about.st_mtime_ns, about.st_size
