"""The Debian base image, made from packages where no registry offers it."""

import hashlib
from pathlib import Path

from . import host
from .process import BuildError, Progress, run_logged

BASE_REFERENCE = "localhost/debian:trixie-slim"
VARIANT = "minbase"
# The same paths that Debian's own slim images leave out; licences stay.
DPKG_OPTIONS = (
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/groff/*",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/linda/*",
    "path-exclude=/usr/share/locale/*",
    "path-include=/usr/share/locale/locale.alias",
)


def base_digest() -> str:
    """Names the base by what it is made from, not by where its packages came from."""
    return hashlib.sha256(repr((host.SUITE, VARIANT, DPKG_OPTIONS)).encode()).hexdigest()


def needed_mirrors() -> host.Mirrors:
    """The archives the base and its packages come from; raises BuildError where this machine names none."""
    mirrors = host.this_machines_mirrors()
    if mirrors is None:
        raise BuildError(
            f"this machine's apt names no Debian archive: set {host.MIRROR_VARIABLES[0]} to one's address"
        )
    return mirrors


def mmdebstrap_command(target: Path, mirrors: host.Mirrors) -> list[str]:
    """Command that writes the base's file system, without any apt sources, to the tar `target`."""
    archive, security = mirrors
    command = ["mmdebstrap", f"--variant={VARIANT}", '--aptopt=Acquire::Languages "none"']
    command += [f"--dpkgopt={option}" for option in DPKG_OPTIONS]
    command += ['--customize-hook=rm -f "$1/etc/apt/sources.list" "$1/etc/resolv.conf" "$1/etc/hostname"']
    lines = [f"deb {archive} {host.SUITE} main", f"deb {archive} {host.SUITE}-updates main"]
    lines += [f"deb {security} {host.SUITE}-security main"] if security else []
    return [*command, host.SUITE, str(target), *lines]


def make_base(directory: Path, mirrors: host.Mirrors, log: Path, progress: Progress) -> Path:
    """Path of the base's root file system as a tar in `directory`, made from `mirrors` unless it is there."""
    tar = directory / f"debian-{base_digest()[:16]}.tar"
    if tar.is_file():
        return tar
    for old in directory.glob("debian-*.tar"):
        old.unlink()
    progress.say(f"making {BASE_REFERENCE} from Debian packages")
    # mmdebstrap tells the format by the ending, so the unfinished file keeps it.
    partial = directory / "unfinished.tar"
    run_logged(mmdebstrap_command(partial, mirrors), log, progress)
    partial.rename(tar)
    return tar
