"""Built images in the cache: one tar and one record of its inputs per image."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from . import context, programs
from .definitions import Image
from .engines import Engine, Workplace
from .process import Progress


def cache_directory() -> Path:
    """Cache of the whole project: $PARADEDB_CACHE, else `paradedb` in the user's cache folder."""
    if named := os.environ.get("PARADEDB_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "paradedb"


@dataclass(frozen=True)
class Record:
    """What a tar was built from: `inputs` is a digest of all that went in, `seconds` what the build took."""

    inputs: str
    reference: str
    engine: str
    seconds: float


def tar_path(cache: Path, image: Image) -> Path:
    """Where the tar of `image` is or will be."""
    return cache / "images" / f"{image.name}.tar"


def read_record(cache: Path, image: Image) -> Record | None:
    """Record of the tar in the cache; None when there is no tar or its record is unreadable."""
    path = tar_path(cache, image).with_suffix(".json")
    try:
        return Record(**json.loads(path.read_text())) if tar_path(cache, image).is_file() else None
    except (OSError, ValueError, TypeError):
        return None


def inputs_digest(image: Image, engine: Engine) -> str:
    """Digest of everything the image is made from: its files, arguments, name, base and kind of builder."""
    arguments = json.dumps(image.build_arguments, sort_keys=True)
    return context.digest(image.context, image.reference, image.containerfile, arguments, engine.base_fact())


@contextmanager
def build_lock(cache: Path) -> Iterator[None]:
    """Held while building: two builds at once would fight over the same storage and the same two cores."""
    directory = cache / "images"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build(image: Image, engine: Engine, cache: Path, progress: Progress) -> Path:
    """Path of the tar of `image`, built now unless the cached one has the same inputs. Raises BuildError."""
    tar = tar_path(cache, image)
    inputs = inputs_digest(image, engine)
    record = read_record(cache, image)
    if record is not None and record.inputs == inputs:
        progress.say(f"{image.name}: nothing changed")
        return tar
    started = Progress()
    place = Workplace(cache, cache / "images" / "context", tar.with_suffix(".log"), progress)
    place.log.write_text("")
    context.stage(image.context, place.context, *_programs(image, cache, place))
    progress.say(f"{image.name}: building {image.reference} with {engine.name}")
    engine.build(image, place)
    _write_tar(image, engine, tar, place)
    new = Record(inputs, image.reference, engine.name, round(started.seconds(), 1))
    tar.with_suffix(".json").write_text(json.dumps(asdict(new), indent=1) + "\n")
    engine.prune(place)
    progress.say(f"{image.name}: {tar.stat().st_size / 1e6:.0f} MB in {started.seconds():.1f} s")
    return tar


def _programs(image: Image, cache: Path, place: Workplace) -> list[Path]:
    """What is compiled for `image`."""
    if image.program is None:
        return []
    return [programs.provide(image.program, image.context, cache, place.log, place.progress)]


def _write_tar(image: Image, engine: Engine, tar: Path, place: Workplace) -> None:
    """Replace `tar` in one step, so that a reader never sees half of it; its old record goes first."""
    place.progress.say(f"{image.name}: writing {tar}")
    partial = tar.with_suffix(".tar.partial")
    partial.unlink(missing_ok=True)
    engine.save(image, partial, place)
    tar.with_suffix(".json").unlink(missing_ok=True)
    partial.replace(tar)


def state(image: Image, engine: Engine, cache: Path) -> str:
    """`missing`, `outdated` (inputs changed since) or `current`."""
    record = read_record(cache, image)
    if record is None:
        return "missing"
    return "current" if record.inputs == inputs_digest(image, engine) else "outdated"
