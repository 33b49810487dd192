"""Disks for persistent volumes: XFS file systems in sparse files, mounted through loop devices.

Such a disk is full when it is full, has an owner and a group, and grows while in use, like a cloud
provider's. The file takes only the space of what was written (64 MiB of log at first), and what is deleted
is given back (discard).
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from .shell import run

MIB = 1024 * 1024
# The smallest file system mkfs.xfs makes.
MINIMUM_BYTES = 300 * MIB

_SUFFIXES = {
    "": 1,
    "m": 1e-3,
    "k": 1000,
    "M": 1000**2,
    "G": 1000**3,
    "T": 1000**4,
    "P": 1000**5,
    "Ki": 1024,
    "Mi": 1024**2,
    "Gi": 1024**3,
    "Ti": 1024**4,
    "Pi": 1024**5,
}


def parse_quantity(text: str) -> int:
    """Bytes in a Kubernetes quantity such as 10Gi, 500M or 1e9, rounded up.

    Raises ValueError for anything else.
    """
    found = re.fullmatch(r"([0-9.]+(?:[eE][+-]?[0-9]+)?)([a-zA-Z]*)", text)
    if found is None or found[2] not in _SUFFIXES:
        raise ValueError(f"not a quantity: {text!r}")
    number, factor = found[1], _SUFFIXES[found[2]]
    if number.isdigit() and factor >= 1:
        return int(number) * int(factor)
    return math.ceil(float(number) * factor)


def format_quantity(size: int) -> str:
    """A size in bytes as a Kubernetes quantity, in the largest binary unit that is exact."""
    for suffix in ("Ti", "Gi", "Mi", "Ki"):
        if size % int(_SUFFIXES[suffix]) == 0:
            return f"{size // int(_SUFFIXES[suffix])}{suffix}"
    return str(size)


def disk_size(requested: int) -> int:
    """Size of the disk for a request, in bytes: whole MiB, and at least what XFS needs."""
    return max(MINIMUM_BYTES, math.ceil(requested / MIB) * MIB)


class Disk:
    """One disk: its file, and the directory it is mounted at, in the node's mount namespace."""

    def __init__(self, volumes: Path, name: str) -> None:
        self.file = volumes / "disks" / f"{name}.xfs"
        self.mount_point = volumes / "mounted" / name

    def create(self, size: int) -> None:
        """Make the disk, unless it exists; it appears only when its file system is complete."""
        if self.file.exists():
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        part = self.file.with_suffix(".part")
        with part.open("wb") as file:
            file.truncate(size)
        run(["mkfs.xfs", "-q", "-f", part])
        part.rename(self.file)

    def mount(self) -> None:
        """Mount the disk, unless it is mounted.

        The loop device is released by the kernel with the last mount of it.
        """
        if self._device() is None:
            self.mount_point.mkdir(parents=True, exist_ok=True)
            run(["mount", "-o", "loop,discard", self.file, self.mount_point])

    def size(self) -> int:
        """Size in bytes."""
        return self.file.stat().st_size

    def grow(self, size: int) -> None:
        """Enlarge the disk and its mounted file system; can be repeated after an interruption."""
        if size > self.size():
            with self.file.open("r+b") as file:
                file.truncate(size)
        run(["losetup", "--set-capacity", str(self._device())])
        run(["xfs_growfs", "-d", self.mount_point])

    def remove(self) -> None:
        """Unmount and delete the disk, as far as it is there."""
        if self._device() is not None:
            run(["umount", self.mount_point])
        if self.mount_point.exists():
            self.mount_point.rmdir()
        self.file.unlink(missing_ok=True)

    def _device(self) -> str | None:
        """The loop device mounted at the mount point."""
        for line in Path("/proc/self/mounts").read_text().splitlines():
            device, point = line.split()[:2]
            if point == str(self.mount_point):
                return device
        return None
