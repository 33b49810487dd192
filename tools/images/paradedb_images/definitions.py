"""The images of this project: what they are called and what they are built from."""

from dataclasses import dataclass, field
from pathlib import Path

from .programs import GoProgram

REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Image:
    """One image: `name` in this tool, `reference` in a cluster, its build context and Containerfile.

    `kept_stages` are stages that take minutes; they get a name of their own, so that their layers outlive the
    pruning. `program` is compiled on this machine and put into the build context.
    """

    name: str
    reference: str
    context: Path
    containerfile: str
    build_arguments: dict[str, str] = field(default_factory=dict)
    kept_stages: tuple[str, ...] = ()
    program: GoProgram | None = None


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
            kept_stages=("patroni", "backup", "packages", "runner"),
        ),
        _test_database("test-database", "17", "a"),
        _test_database("test-database-17b", "17b", "b"),
        _test_database("test-database-17-search", "17-search", "search"),
        _small("pgbouncer", "localhost/paradedb-pgbouncer:dev"),
        _small("test-prometheus", "localhost/paradedb-test-prometheus:dev"),
        Image(
            name="test-s3",
            reference="localhost/paradedb-test-s3:dev",
            context=REPOSITORY / "images" / "test-s3",
            containerfile="Containerfile",
            program=GoProgram("versitygw", "github.com/versity/versitygw/cmd/versitygw"),
        ),
    )
}
# What the words of the command line stand for: the test images are one family and share all layers but the
# last.
GROUPS = {
    "operator": ("operator",),
    "test-database": ("test-database", "test-database-17b", "test-database-17-search"),
    "pgbouncer": ("pgbouncer",),
    "test-prometheus": ("test-prometheus",),
    "test-s3": ("test-s3",),
    "all": tuple(IMAGES),
}
