"""What is inside the built images, run in their root file systems. Needs root and the tars in the cache."""

import json
import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
from paradedb_images import definitions, results

pytestmark = pytest.mark.cluster
USER = "65532"


def _tar(name: str) -> Path:
    path = results.tar_path(results.cache_directory(), definitions.IMAGES[name])
    if os.geteuid() != 0:
        pytest.skip("looking inside an image needs root (chroot)")
    if not path.is_file():
        pytest.skip(f"{path} is not built: python3 tools/images build all")
    return path


def _manifest(tar: Path) -> dict[str, list[str]]:
    with tarfile.open(tar) as archive:
        file = archive.extractfile("manifest.json")
        assert file is not None
        (manifest,) = json.load(file)
        return dict(manifest)


def _config(tar: Path) -> dict[str, object]:
    with tarfile.open(tar) as archive:
        file = archive.extractfile(str(_manifest(tar)["Config"]))
        assert file is not None
        return dict(json.load(file)["config"])


def _unpack(tar: Path, target: Path, layers: list[str] | None = None) -> Path:
    """Root file system of the image or of some of its layers; deletions (`.wh.` files) are done."""
    target.mkdir()
    with tarfile.open(tar) as archive:
        for layer in layers or _manifest(tar)["Layers"]:
            file = archive.extractfile(layer)
            assert file is not None
            with tarfile.open(fileobj=file) as content:
                content.extractall(target, filter="fully_trusted")  # noqa: S202 - our own image, owners kept
    for marker in target.rglob(".wh.*"):
        shutil.rmtree(marker.with_name(marker.name[4:]), ignore_errors=True)
        marker.unlink()
    return target


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _unpack(_tar("operator"), tmp_path_factory.mktemp("operator") / "root")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory, operator: Path) -> Path:
    root = _unpack(_tar("test-database"), tmp_path_factory.mktemp("database") / "root")
    for program in ("patroni", "backup"):
        shutil.copytree(operator / "opt" / program, root / "opt" / program, symlinks=True)
    return root


def run_inside(root: Path, *command: str, user: str = USER) -> str:
    """Output of `command` in `root` as in a pod: another user, all read-only but an empty /tmp."""
    inner = (
        'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"'
        ' && mount -t tmpfs -o mode=1777 tmpfs "$0/tmp"'
        ' && mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev"'
        f' && exec chroot --userspec={user}:{user} "$0" "$@"'
    )
    isolated = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", inner, str(root), *command]
    done = subprocess.run(isolated, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def in_operator(root: Path, *command: str) -> str:
    """Output of `command` in the operator image with the environment that the image sets, and no other."""
    variables = _config(_tar("operator"))["Env"]
    assert isinstance(variables, list)
    return run_inside(root, "/usr/bin/env", "-i", *variables, *command)


@pytest.mark.parametrize("name", sorted(definitions.IMAGES))
def test_a_tar_holds_its_own_name_only(name: str) -> None:
    assert _manifest(_tar(name))["RepoTags"] == [definitions.IMAGES[name].reference]


@pytest.mark.parametrize("name", sorted(definitions.IMAGES))
def test_no_setting_of_the_building_machine_is_left(name: str, tmp_path: Path) -> None:
    root = _unpack(_tar(name), tmp_path / "root")
    assert not (root / "etc/pip.conf").exists()
    assert not (root / "etc/apt/apt.conf.d/90build").exists()
    assert not (root / "run/build/ca.crt").exists()
    assert not list((root / "etc/apt").glob("sources.list*/*.sources"))


def test_the_operator_runs_as_a_numbered_user(operator: Path) -> None:
    config = _config(_tar("operator"))
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["/opt/venv/bin/paradedb-runner", "run"]


def test_the_operator_has_no_compilers_installers_or_root_programs_of_ours(operator: Path) -> None:
    names = {path.name for folder in ("usr/bin", "opt/venv/bin") for path in (operator / folder).iterdir()}
    assert not names & {"gcc", "cc", "ld", "as", "make", "pip", "pip3", "strip"}
    modes = {path: path.lstat().st_mode for path in (operator / "opt").rglob("*") if not path.is_symlink()}
    assert not [path for path, mode in modes.items() if mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH)]
    assert not [path for path, mode in modes.items() if not mode & stat.S_IROTH]


def test_the_runner_starts_read_only(operator: Path) -> None:
    assert "run" in in_operator(operator, "paradedb-runner", "--help")


def test_ansible_finds_the_collections_and_the_role(operator: Path) -> None:
    modules = in_operator(operator, "ansible-doc", "--list", "--json", "paradedb.db")
    assert "paradedb.db." in modules
    assert "kubernetes.core" in in_operator(operator, "ansible-galaxy", "collection", "list")
    assert (operator / "opt/ansible/roles/paradedb/tasks/main.yml").is_file()
    assert (operator / "opt/ansible/watches.yaml").is_file()


def test_python_packages_are_compiled(operator: Path) -> None:
    packages = operator / "opt/venv/lib/python3.13/site-packages"
    for module in ("ansible/cli/playbook", "kubernetes/client/api_client", "paradedb_runner/cli"):
        folder, name = module.rsplit("/", 1)
        assert (packages / folder / "__pycache__" / f"{name}.cpython-313.pyc").is_file(), module


def test_patroni_is_one_folder_that_survives_copying(operator: Path) -> None:
    links = [path for path in (operator / "opt/patroni").rglob("*") if path.is_symlink()]
    assert operator / "opt/patroni/patronictl" in links
    assert all(not path.readlink().is_absolute() and path.exists() for path in links)


@pytest.mark.parametrize("program", ["patroni", "patronictl"])
def test_patroni_runs_where_the_database_runs(database: Path, program: str) -> None:
    argument = "--version" if program == "patroni" else "version"
    assert "4.1.5" in run_inside(
        database, "/usr/bin/env", "-i", f"/opt/patroni/{program}", argument, user="999"
    )


IMPORTS = ["dump", "verify", "base", "archive", "fetch", "bootstrap"]


@pytest.mark.parametrize("command", IMPORTS)
def test_each_command_of_the_backup_program_has_what_it_imports(database: Path, command: str) -> None:
    """It ends for want of a configuration, which is read after everything was imported.

    A base backup ends as soon as its input does, so that stays open meanwhile.
    """
    script = f"sleep 3 | /opt/backup/paradedb-backup {command} a b 2>&1 || true"
    said = run_inside(database, "/usr/bin/env", "-i", "PATH=/usr/bin:/bin", "sh", "-c", script, user="999")
    assert "ModuleNotFoundError" not in said, said
    assert "ImportError" not in said, said
    assert "backup.json" in said or "recovery.json" in said or "PGDATA" in said, said


def test_the_backup_program_is_small(operator: Path) -> None:
    """Of 400 descriptions of cloud services it has S3's."""
    files = [path for path in (operator / "opt/backup").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 60e6
    assert (operator / "opt/backup/_internal/botocore/data/s3").is_dir()
    assert (operator / "opt/backup/_internal/botocore/cacert.pem").is_file()


def test_the_operator_can_ask_for_a_base_backup(operator: Path) -> None:
    said = in_operator(operator, "/opt/venv/bin/python", "-c", "import paradedb_backup.remote")
    assert not said


def seen_by_a_child(root: Path, command: str, *variables: str) -> str:
    """What `command` prints as a child of the frozen Patroni.

    To write a sample configuration Patroni asks `postgres` for its version; a script takes that part.
    """
    fake = root / "opt/fake/postgres"
    fake.parent.mkdir(exist_ok=True)
    fake.write_text(f"#!/bin/sh\n{command} > /tmp/seen 2>&1\necho 'postgres (PostgreSQL) 17.1'\n")
    fake.chmod(0o755)
    script = "/opt/patroni/patroni --generate-sample-config /tmp/sample.yml; cat /tmp/seen"
    path = "PATH=/opt/fake:/usr/bin:/bin"
    return run_inside(root, "/usr/bin/env", "-i", path, *variables, "sh", "-c", script, user="999")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, operator: Path) -> Path:
    """The Debian base alone with Patroni: no Python and none of its libraries."""
    tar = _tar("test-database")
    root = _unpack(tar, tmp_path_factory.mktemp("base") / "root", _manifest(tar)["Layers"][:1])
    assert not list(root.glob("usr/bin/python*"))
    assert not list(root.rglob("libexpat.so.1"))
    shutil.copytree(operator / "opt/patroni", root / "opt/patroni", symlinks=True)
    return root


def test_patroni_needs_no_python(base: Path) -> None:
    assert "4.1.5" in run_inside(base, "/usr/bin/env", "-i", "/opt/patroni/patroni", "--version", user="999")


def test_patroni_can_be_started_by_patroni(base: Path) -> None:
    """It launches PostgreSQL through a further process of itself, which must find the packed libraries."""
    assert "4.1.5" in seen_by_a_child(base, "/opt/patroni/patroni --version")


def test_programs_that_patroni_starts_get_its_callers_environment(base: Path) -> None:
    environment = seen_by_a_child(base, "env")
    assert "PATH=/opt/fake:/usr/bin:/bin" in environment
    assert "_PYI_" not in environment
    assert "LD_LIBRARY_PATH" not in environment
    assert "LD_LIBRARY_PATH=/custom\n" in seen_by_a_child(base, "env", "LD_LIBRARY_PATH=/custom")


def test_the_database_image_is_shaped_like_paradedbs(database: Path) -> None:
    config = _config(_tar("test-database"))
    assert "Volumes" not in config or not config["Volumes"]
    assert "/usr/lib/postgresql/17/bin" in str(config["Env"])
    passwd = (database / "etc/passwd").read_text()
    assert "postgres:x:999:999:" in passwd
    assert not list((database / "etc/postgresql").glob("*"))
    binaries = database / "usr/lib/postgresql/17/bin"
    assert (binaries / "pg_config").is_file()
    assert (database / "usr/share/postgresql/17/extension/vector.control").is_file()
    assert (database / "usr/share/postgresql/17/extension/pg_stat_statements.control").is_file()
    assert "barman" in run_inside(database, "/usr/bin/barman-cloud-backup", "--version", user="999")
    locales = run_inside(database, "/usr/bin/locale", "-a", user="999").lower()
    assert "en_us.utf8" in locales
    assert "c.utf8" in locales


def test_the_database_image_runs_a_database(database: Path) -> None:
    path = "PATH=/usr/lib/postgresql/17/bin:/usr/bin:/bin"
    script = (
        "initdb -D /tmp/data -A trust >/dev/null && pg_ctl -D /tmp/data -w -l /tmp/log"
        " -o \"-c listen_addresses='' -k /tmp\" start >/dev/null"
        " && psql -h /tmp -d postgres -Atc 'CREATE EXTENSION vector'"
        " -c \"SELECT '[1,2]'::vector <-> '[1,3]'\""
        " && pg_ctl -D /tmp/data -m fast stop >/dev/null"
    )
    assert (
        run_inside(
            database, "/usr/bin/env", "-i", path, "LANG=en_US.UTF-8", "sh", "-c", script, user="999"
        ).split()[-1]
        == "1"
    )


@pytest.mark.parametrize("name", ["test-database-17b", "test-database-17-search"])
def test_the_other_tags_differ_in_their_last_layer_only(name: str) -> None:
    first, other = (_manifest(_tar(image))["Layers"] for image in ("test-database", name))
    assert first[:-1] == other[:-1]
    assert first[-1] != other[-1]


def test_the_pooler_is_one_program_of_debian_that_scanners_know(tmp_path: Path) -> None:
    assert _config(_tar("pgbouncer"))["User"] == "65532:65532"
    root = _unpack(_tar("pgbouncer"), tmp_path / "root")
    assert "PgBouncer 1." in run_inside(root, "pgbouncer", "--version")
    record = (root / "var/lib/dpkg/status.d/pgbouncer").read_text()
    assert "Package: pgbouncer\n" in record
    assert not list(root.glob("etc/ssl/private/*"))
