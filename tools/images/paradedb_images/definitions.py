"""The images of this project: what they are called and what they are built from."""

from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Image:
    """One image: `name` in this tool, `reference` in a cluster, its build context and Containerfile.

    `kept_stages` are stages that take minutes; they get a name of their own, so that their layers outlive the
    pruning.
    """

    name: str
    reference: str
    context: Path
    containerfile: str
    build_arguments: dict[str, str] = field(default_factory=dict)
    kept_stages: tuple[str, ...] = ()


def _test_database(name: str, tag: str, revision: str) -> Image:
    return Image(
        name=name,
        reference=f"localhost/paradedb-test:{tag}",
        context=REPOSITORY / "images" / "test-database",
        containerfile="Containerfile",
        build_arguments={"REVISION": revision},
    )


def _small(name: str, reference: str) -> Image:
    """An image of one package of Debian: its folder in images/ has its name."""
    return Image(
        name=name, reference=reference, context=REPOSITORY / "images" / name, containerfile="Containerfile"
    )


IMAGES = {
    image.name: image
    for image in (
        Image(
            name="operator",
            reference="localhost/paradedb-operator:dev",
            context=REPOSITORY,
            containerfile="Dockerfile",
            kept_stages=("patroni", "packages", "runner"),
        ),
        _test_database("test-database", "17", "a"),
        _test_database("test-database-17b", "17b", "b"),
        _test_database("test-database-17-search", "17-search", "search"),
        _small("pgbouncer", "localhost/paradedb-pgbouncer:dev"),
        _small("test-prometheus", "localhost/paradedb-test-prometheus:dev"),
    )
}
# What the words of the command line stand for: the test images are one family and share all layers but the
# last.
GROUPS = {
    "operator": ("operator",),
    "test-database": ("test-database", "test-database-17b", "test-database-17-search"),
    "pgbouncer": ("pgbouncer",),
    "test-prometheus": ("test-prometheus",),
    "all": tuple(IMAGES),
}
