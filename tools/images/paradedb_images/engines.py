"""The programs that can build an image: Docker or Podman where one answers, else buildah alone as root."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from . import host
from .base import BASE_REFERENCE, base_digest, make_base, needed_mirrors
from .definitions import Image
from .process import Progress, need_programs, output_of, run_logged, succeeds


@dataclass(frozen=True)
class Workplace:
    """What a build reads and writes: `directory` lasts, `context` is the staged copy, `log` gets output."""

    directory: Path
    context: Path
    log: Path
    progress: Progress


class Engine(ABC):
    """Builds an image from a staged context and writes it as a docker-archive tar."""

    name: str

    @abstractmethod
    def base_fact(self) -> str:
        """Text that changes when images must be built again because of their base."""

    @abstractmethod
    def build(self, image: Image, place: Workplace) -> None:
        """Build `image` under its reference; raises BuildError."""

    @abstractmethod
    def save(self, image: Image, tar: Path, place: Workplace) -> None:
        """Write the built image to `tar`, which does not exist; raises BuildError."""

    def prune(self, place: Workplace) -> None:  # noqa: B027 - people's own engines tidy themselves
        """Forget layers that no image uses any more."""


def build_arguments(image: Image, base: str) -> list[str]:
    """The --build-arg options of one build."""
    return [f"--build-arg={key}={value}" for key, value in {"BASE": base, **image.build_arguments}.items()]


def secret_options(secrets: dict[str, Path]) -> list[str]:
    """The --secret options that hand this machine's ways to the registries to the build steps."""
    return [f"--secret=id={name},src={path}" for name, path in secrets.items()]


class ContainerEngine(Engine):
    """Docker or Podman; the base comes from their registry."""

    def __init__(self, name: str) -> None:
        """`name` is the program."""
        self.name = name
        self.base = "debian:trixie-slim"

    def base_fact(self) -> str:
        """The base's name: its content is the registry's matter."""
        return self.base

    def build_command(self, image: Image, context: Path, secrets: dict[str, Path]) -> list[str]:
        """Command that builds `image` from `context`."""
        command = [self.name, "build", f"--file={context / image.containerfile}", f"--tag={image.reference}"]
        if self.name == "docker":
            command += ["--progress=plain"]
        return [*command, *build_arguments(image, self.base), *secret_options(secrets), str(context)]

    def save_command(self, image: Image, tar: Path) -> list[str]:
        """Command that writes `image` to `tar`."""
        form = ["--format=docker-archive"] if self.name == "podman" else []
        return [self.name, "save", *form, f"--output={tar}", image.reference]

    def build(self, image: Image, place: Workplace) -> None:
        """Build with the engine's cache; Docker by BuildKit, whose predecessor has no secret mounts."""
        secrets = host.write_secrets(place.directory / "build-settings", host.this_machines_mirrors())
        command = self.build_command(image, place.context, secrets)
        run_logged(command, place.log, place.progress, {"DOCKER_BUILDKIT": "1"})

    def save(self, image: Image, tar: Path, place: Workplace) -> None:
        """Write the tar with the engine's `save`."""
        run_logged(self.save_command(image, tar), place.log, place.progress)


class Buildah(Engine):
    """buildah as root with chroot isolation, its storage in the cache, the base made from Debian packages."""

    name = "buildah"
    packages = {"buildah": "buildah", "mmdebstrap": "mmdebstrap"}

    def __init__(self, storage: Path) -> None:
        """`storage` keeps layers and base between builds."""
        self.storage = storage
        self.driver = ""

    def base_fact(self) -> str:
        """What the base is made from."""
        return base_digest()

    def command(self, *words: str) -> list[str]:
        """A buildah command on the storage in the cache."""
        roots = [f"--root={self.storage / 'layers'}", f"--runroot={self.storage / 'run'}"]
        return ["buildah", *roots, f"--storage-driver={self.driver}", *words]

    def prepare(self, mirrors: host.Mirrors, place: Workplace) -> None:
        """Install what is missing, choose the storage driver, and make sure the base image is there.

        Working containers of a build that failed are removed: nobody else uses this storage.
        """
        need_programs(self.packages, place.progress)
        self.storage.mkdir(parents=True, exist_ok=True)
        self.driver = "overlay"
        if not succeeds(self.command("images")):
            self.driver = "vfs"  # copies every layer: slower and larger, but works on any file system
        output_of(self.command("rm", "--all"))
        marker = self.storage / "base-digest"
        if marker.is_file() and marker.read_text() == base_digest() and self._has(BASE_REFERENCE):
            return
        self._import_base(make_base(self.storage, mirrors, place.log, place.progress), place)
        marker.write_text(base_digest())

    def _has(self, reference: str) -> bool:
        """Whether the storage holds an image of this name."""
        return succeeds(self.command("inspect", "--type=image", reference))

    def _import_base(self, tar: Path, place: Workplace) -> None:
        """Make an image of one layer from a root file system."""
        container = output_of(self.command("from", "scratch")).strip()
        try:
            for words in (
                ("add", "--quiet", container, str(tar), "/"),
                ("config", "--cmd", "bash", container),
                ("commit", "--quiet", container, BASE_REFERENCE),
            ):
                run_logged(self.command(*words), place.log, place.progress)
        finally:
            output_of(self.command("rm", container))

    def build_command(self, image: Image, context: Path, secrets: dict[str, Path], *more: str) -> list[str]:
        """Command that builds `image`, or a stage of it named in `more`, from `context`."""
        command = self.command("build", "--isolation=chroot", "--layers", "--pull-never", *more)
        command += [f"--file={context / image.containerfile}", *build_arguments(image, BASE_REFERENCE)]
        return [*command, *secret_options(secrets), str(context)]

    def build(self, image: Image, place: Workplace) -> None:
        """Build the slow stages under names of their own, so that pruning spares them, then the image."""
        mirrors = needed_mirrors()
        self.prepare(mirrors, place)
        secrets = host.write_secrets(place.directory / "build-settings", mirrors)
        for stage in image.kept_stages:
            name = f"localhost/paradedb-build-{image.name}:{stage}"
            command = self.build_command(image, place.context, secrets, f"--target={stage}", f"--tag={name}")
            run_logged(command, place.log, place.progress)
        command = self.build_command(image, place.context, secrets, f"--tag={image.reference}")
        run_logged(command, place.log, place.progress)

    def save(self, image: Image, tar: Path, place: Workplace) -> None:
        """Write the tar with the reference inside, as container runtimes import it."""
        target = f"docker-archive:{tar}:{image.reference}"
        run_logged(self.command("push", "--quiet", image.reference, target), place.log, place.progress)

    def prune(self, place: Workplace) -> None:
        """Remove images that nothing names and no named image is built on."""
        run_logged(self.command("rmi", "--prune", "--force"), place.log, place.progress)


def choose_engine(cache: Path) -> Engine:
    """The first engine that answers; buildah, in a storage below `cache`, when none does."""
    for name in ("docker", "podman"):
        if succeeds([name, "info"]):
            return ContainerEngine(name)
    return Buildah(cache / "buildah")
