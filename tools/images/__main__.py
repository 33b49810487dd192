"""Command line of the image tool: `python3 tools/images COMMAND`."""

import argparse
import shutil
import sys
from pathlib import Path

from paradedb_images import kubernetes_core, programs, results
from paradedb_images.definitions import GROUPS, IMAGES
from paradedb_images.engines import choose_engine
from paradedb_images.process import BuildError, Progress


def build(arguments: argparse.Namespace) -> int:
    """Build what changed and print the tars' paths."""
    cache, progress = results.cache_directory(), Progress()
    with results.build_lock(cache):
        engine = choose_engine(cache)
        for name in GROUPS[arguments.name]:
            print(results.build(IMAGES[name], engine, cache, progress), flush=True)
    return 0


def list_images(_arguments: argparse.Namespace) -> int:
    """Print one line per image: name, state, size in MB, reference."""
    cache = results.cache_directory()
    engine = choose_engine(cache)
    for image in IMAGES.values():
        tar = results.tar_path(cache, image)
        size = f"{tar.stat().st_size / 1e6:.0f} MB" if tar.is_file() else "-"
        print(f"{image.name:20} {results.state(image, engine, cache):9} {size:>7}  {image.reference}")
    return 0


def path(arguments: argparse.Namespace) -> int:
    """Print where the tar of one image is; fail when it was never built."""
    tar = results.tar_path(results.cache_directory(), IMAGES[arguments.name])
    if not tar.is_file():
        raise BuildError(f"{arguments.name} was not built yet: python3 tools/images build {arguments.name}")
    print(tar)
    return 0


def provide_kubernetes_core(arguments: argparse.Namespace) -> int:
    """Put kubernetes.core below the folder given, out of the cache once it is there."""
    kept = results.cache_directory() / "kubernetes-core"
    destination: Path = arguments.destination
    version = kubernetes_core.provide(kept)
    if kubernetes_core.origin(destination) != kubernetes_core.ANSIBLE_WHEEL_SHA256:
        target = destination / kubernetes_core.COLLECTION
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(kept / kubernetes_core.COLLECTION, target)
    print(f"kubernetes.core {version} in {destination}")
    return 0


def provide_versitygw(_arguments: argparse.Namespace) -> int:
    """Print where the S3 server's program is, compiled first if need be."""
    image, cache = IMAGES["test-s3"], results.cache_directory()
    with results.build_lock(cache):
        assert image.program is not None
        log = cache / "images" / f"{image.program.name}.log"
        print(programs.provide(image.program, image.context, cache, log, Progress()))
    return 0


def parser() -> argparse.ArgumentParser:
    """The commands and their arguments."""
    whole = argparse.ArgumentParser(prog="tools/images", description="Builds the project's container images.")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("build", help="build what changed, print the tars' paths")
    command.add_argument("name", choices=GROUPS)
    command.set_defaults(run=build)
    command = commands.add_parser("list", help="images with state, size and reference")
    command.set_defaults(run=list_images)
    command = commands.add_parser("path", help="where the tar of a built image is")
    command.add_argument("name", choices=IMAGES)
    command.set_defaults(run=path)
    command = commands.add_parser(
        "kubernetes-core", help="put the collection kubernetes.core into a folder, without Galaxy"
    )
    command.add_argument(
        "destination", type=Path, metavar="DEST", help="a folder of collections (ANSIBLE_COLLECTIONS_PATH)"
    )
    command.set_defaults(run=provide_kubernetes_core)
    command = commands.add_parser("versitygw", help="compile the tests' S3 server, print where it is")
    command.set_defaults(run=provide_versitygw)
    return whole


def main() -> int:
    """Run one command; its exit code."""
    arguments = parser().parse_args()
    try:
        return int(arguments.run(arguments))
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
