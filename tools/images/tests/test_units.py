"""What the image tool decides without running a builder."""

import configparser
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from paradedb_images import context, definitions, engines, host, kubernetes_core, programs, results
from paradedb_images.base import mmdebstrap_command
from paradedb_images.engines import Buildah, ContainerEngine, Engine, Workplace
from paradedb_images.process import BuildError, Progress, run_logged

MIRRORS = ("https://mirror.example/debian", "https://mirror.example/security")
BOOKWORM = 'ID=debian\nVERSION_CODENAME="bookworm"\n'


class CountingEngine(Engine):
    """Writes a tar without a builder and counts how often it was asked to."""

    name = "counting"

    def __init__(self) -> None:
        self.builds = 0
        self.base = "base 1"

    def base_fact(self) -> str:
        return self.base

    def build(self, image: definitions.Image, place: Workplace) -> None:
        self.builds += 1

    def save(self, image: definitions.Image, tar: Path, place: Workplace) -> None:
        tar.write_text(image.reference)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    directory = tmp_path / "tree"
    (directory / "kept" / "tests").mkdir(parents=True)
    (directory / ".dockerignore").write_text("# comment\n*\n!kept\n!one/file.txt\n**/tests\n**/*.pyc\n")
    (directory / "kept" / "a.py").write_text("a")
    (directory / "kept" / "a.pyc").write_text("compiled")
    (directory / "kept" / "tests" / "test_a.py").write_text("test")
    (directory / "one").mkdir()
    (directory / "one" / "file.txt").write_text("one")
    (directory / "one" / "other.txt").write_text("other")
    return directory


def test_context_holds_what_dockerignore_leaves(tree: Path) -> None:
    assert context.context_files(tree) == ["kept/a.py", "one/file.txt"]


def test_digest_follows_content_name_mode_and_facts_only(tree: Path) -> None:
    first = context.digest(tree, "fact")
    (tree / "one" / "other.txt").write_text("ignored, so it does not count")
    (tree / "kept" / "a.py").touch()
    assert context.digest(tree, "fact") == first
    assert context.digest(tree, "another fact") != first
    (tree / "kept" / "a.py").chmod(0o755)
    executable = context.digest(tree, "fact")
    assert executable != first
    (tree / "kept" / "a.py").write_text("b")
    assert context.digest(tree, "fact") not in (first, executable)


def test_facts_do_not_run_together(tree: Path) -> None:
    assert context.digest(tree, "ab", "c") != context.digest(tree, "a", "bc")


def test_staged_copy_has_one_time_and_readable_modes(tree: Path, tmp_path: Path) -> None:
    (tree / "kept" / "a.py").chmod(0o600)
    context.stage(tree, tmp_path / "staged")
    copy = tmp_path / "staged" / "kept" / "a.py"
    assert copy.stat().st_mode & 0o777 == 0o644
    assert {path.stat().st_mtime for path in (copy, copy.parent)} == {context.STAGED_TIME}
    assert not (tmp_path / "staged" / "one" / "other.txt").exists()


def test_the_operator_context_holds_every_file_its_dockerfile_copies() -> None:
    image = definitions.IMAGES["operator"]
    files = context.context_files(image.context)
    lines = (image.context / image.containerfile).read_text().splitlines()
    copied = [
        word
        for line in lines
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    ]
    assert copied
    for name in copied:
        assert any(file == name or file.startswith(f"{name}/") for file in files), name


def test_every_pin_has_a_hash() -> None:
    for path in (definitions.REPOSITORY / "images" / "operator").glob("*.txt"):
        pins = path.read_text().count("==")
        assert 0 < pins <= path.read_text().count("--hash=sha256:"), path.name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "debian.sources",
            "Types: deb\nURIs: https://mirror.example/debian\n"
            "Suites: bookworm bookworm-updates\nComponents: main\n",
        ),
        (
            "all.list",
            "# old\ndeb [arch=amd64 signed-by=/k] https://mirror.example/debian/ bookworm main contrib # x\n",
        ),
    ],
)
def test_mirror_comes_from_the_machines_sources(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / name).write_text(text)
    mirrors = host.debian_mirrors(tmp_path, host.debian_codename(BOOKWORM), {})
    assert mirrors == ("https://mirror.example/debian", "")


def test_third_parties_disabled_and_source_archives_are_no_mirrors(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text(
        "deb https://vendor.example/prod bookworm main\n"
        "deb https://tool.example/apt nodistro main\n"
        "deb-src https://source.example/debian bookworm main\n"
        "deb https://mirror.example/debian bookworm main\n"
    )
    (tmp_path / "sources.list.d" / "off.sources").write_text(
        "Types: deb\nEnabled: no\nURIs: https://off.example/debian-security\n"
        "Suites: bookworm-security\nComponents: main\n"
    )
    mirrors = host.debian_mirrors(tmp_path, "bookworm", {})
    assert mirrors == ("https://mirror.example/debian", "")


def test_another_distribution_has_only_the_archive_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("deb https://ubuntu.example/ubuntu noble main\n")
    codename = host.debian_codename("ID=ubuntu\nVERSION_CODENAME=noble\n")
    assert host.debian_mirrors(tmp_path, codename, {}) is None
    named = {"DEBIAN_MIRROR": "https://mirror.example/debian"}
    assert host.debian_mirrors(tmp_path, codename, named) == ("https://mirror.example/debian", "")


def test_pip_settings_keep_the_index_and_drop_paths_of_this_machine(tmp_path: Path) -> None:
    configured = tmp_path / "pip.conf"
    configured.write_text(
        "[global]\nindex-url = https://old.example/simple\ncert = /home/me/ca.pem\nfind-links = /wheels\n"
    )
    environment = {"PIP_INDEX_URL": "https://new.example/simple", "PIP_FIND_LINKS": "/wheels"}
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.read_string(host.pip_conf(environment, [configured], has_ca=True))
    assert dict(parsed["global"]) == {"index-url": "https://new.example/simple", "cert": host.CA_IN_BUILD}


def test_settings_for_builds_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    secrets = host.write_secrets(tmp_path / "settings", MIRRORS)
    assert {"sources", "pip.conf"} <= set(secrets)
    assert {path.stat().st_mode & 0o777 for path in secrets.values()} == {0o600}
    assert (tmp_path / "settings").stat().st_mode & 0o777 == 0o700


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    """Where a build would happen."""
    return Workplace(tmp_path, tmp_path, tmp_path / "log", Progress())


@pytest.mark.parametrize(("mirrors", "handed_over"), [(MIRRORS, True), (None, False)])
def test_a_container_engine_needs_no_archive_of_the_machine(
    place: Workplace, monkeypatch: pytest.MonkeyPatch, mirrors: host.Mirrors | None, handed_over: bool
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(host, "this_machines_mirrors", lambda: mirrors)
    monkeypatch.setattr(engines, "run_logged", lambda command, *_others: commands.append(command))
    ContainerEngine("docker").build(definitions.IMAGES["operator"], place)
    (command,) = commands
    secrets = {word.split("=")[2].split(",")[0] for word in command if word.startswith("--secret=")}
    assert ("sources" in secrets) == handed_over
    assert "pip.conf" in secrets


def test_buildah_asks_for_an_archive_before_it_does_anything(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "this_machines_mirrors", lambda: None)
    with pytest.raises(BuildError, match="set DEBIAN_MIRROR"):
        Buildah(place.directory / "storage").build(definitions.IMAGES["operator"], place)
    assert not (place.directory / "storage").exists()


def test_no_build_insists_on_a_secret() -> None:
    for image in definitions.IMAGES.values():
        text = (image.context / image.containerfile).read_text()
        assert ("type=secret" in text) == ("apt-get" in text)
        assert "required" not in text


def test_base_takes_packages_from_the_mirrors() -> None:
    command = mmdebstrap_command(Path("/c/base.tar"), MIRRORS)
    assert command[-5:-3] == ["trixie", "/c/base.tar"]
    assert command[-1] == "deb https://mirror.example/security trixie-security main"


def test_buildah_commands_use_the_caches_storage() -> None:
    engine = Buildah(Path("/cache/buildah"))
    engine.driver = "overlay"
    image = definitions.IMAGES["test-database-17b"]
    command = engine.build_command(image, Path("/context"), {"pip.conf": Path("/s/pip.conf")}, "--tag=t")
    assert command[:4] == [
        "buildah",
        "--root=/cache/buildah/layers",
        "--runroot=/cache/buildah/run",
        "--storage-driver=overlay",
    ]
    assert {
        "--isolation=chroot",
        "--layers",
        "--build-arg=REVISION=b",
        "--secret=id=pip.conf,src=/s/pip.conf",
    } <= set(command)
    assert command[-1] == "/context"


@pytest.mark.parametrize("name", ["docker", "podman"])
def test_engines_save_a_docker_archive(name: str) -> None:
    engine = ContainerEngine(name)
    image = definitions.IMAGES["operator"]
    assert ("--format=docker-archive" in engine.save_command(image, Path("/t.tar"))) == (name == "podman")
    assert f"--build-arg=BASE={engine.base}" in engine.build_command(image, Path("/c"), {})


def test_an_image_is_built_again_only_when_an_input_changed(tree: Path, tmp_path: Path) -> None:
    image = definitions.Image("sample", "localhost/sample:1", tree, "Containerfile")
    engine, progress, cache = CountingEngine(), Progress(), tmp_path / "cache"

    def build() -> int:
        with results.build_lock(cache):
            results.build(image, engine, cache, progress)
        return engine.builds

    assert results.state(image, engine, cache) == "missing"
    assert (build(), build()) == (1, 1)
    (tree / "kept" / "a.py").write_text("changed")
    assert results.state(image, engine, cache) == "outdated"
    assert build() == 2
    engine.base = "base 2"
    assert build() == 3
    results.tar_path(cache, image).unlink()
    assert build() == 4
    assert results.state(image, engine, cache) == "current"


def test_a_failing_builder_is_shown_with_its_last_lines(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('STEP 1/1: RUN false'); print('the reason'); raise SystemExit(3)"]
    with pytest.raises(BuildError, match="the reason"):
        run_logged(command, tmp_path / "log", Progress())
    assert "the reason" in (tmp_path / "log").read_text()


def test_only_kubernetes_core_leaves_the_wheel(tmp_path: Path) -> None:
    wheel = tmp_path / "ansible.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{kubernetes_core.COLLECTION}/MANIFEST.json", "{}")
        archive.writestr("ansible_collections/other/thing/MANIFEST.json", "{}")
    kubernetes_core.extract(wheel, tmp_path / "out")
    files = [
        path.relative_to(tmp_path / "out").as_posix()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    ]
    assert files == [f"{kubernetes_core.COLLECTION}/MANIFEST.json"]


def test_the_tool_says_what_to_do_when_an_image_was_never_built(tmp_path: Path) -> None:
    tool = Path(__file__).resolve().parents[1]
    command = [sys.executable, str(tool), "path", "operator"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PARADEDB_CACHE": str(tmp_path)}
    )
    assert done.returncode == 1
    assert "tools/images build operator" in done.stderr


GO_MODULE = "module example\n\ngo 1.25.0\n\nrequire (\n\texample.org/server/v2 v2.3.4 // indirect\n)\n"
PROGRAM = programs.GoProgram("server", "example.org/server/v2/cmd/server")


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for Go that counts how often it was asked to build; its version is in a file."""
    folder = tmp_path / "go"
    folder.mkdir()
    (folder / "version").write_text("go1.26.8")
    script = f"""#!/bin/sh
[ "$1" = env ] && exec cat {folder}/version
echo built >>{folder}/builds
while [ "$1" != -o ]; do shift; done
echo program >"$2"
"""
    (folder / "go").write_text(script)
    (folder / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "go.mod").write_text(GO_MODULE)
    (folder / "go.sum").write_text("")
    return folder


def test_a_program_is_compiled_once_for_its_sources_and_go(go: Path, sources: Path, tmp_path: Path) -> None:
    def builds() -> int:
        built = programs.provide(PROGRAM, sources, tmp_path / "cache", tmp_path / "log", Progress())
        assert built.read_text() == "program\n"
        assert len(list((tmp_path / "cache/programs/server").iterdir())) == 1
        return len((go / "builds").read_text().splitlines())

    assert [builds(), builds()] == [1, 1]
    (sources / "go.sum").write_text("changed")
    assert builds() == 2
    (go / "version").write_text("go1.27rc1")
    assert builds() == 3


def test_a_program_carries_the_version_that_go_mod_pins(sources: Path) -> None:
    words = programs.command("go", PROGRAM, sources, Path("/out"))
    assert "-s -w -X main.Version=v2.3.4" in words
    with pytest.raises(BuildError, match="pins no module"):
        programs.GoProgram("x", "example.org/other/cmd").module_version(GO_MODULE)


def test_an_old_or_missing_go_is_told(go: Path, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (go / "version").write_text("go1.24.1")
    with pytest.raises(BuildError, match=r"is go1\.24\.1: Go 1\.25\.0 or newer is needed"):
        programs.find_go(sources)
    monkeypatch.setattr(programs, "GO_DIRECTORY", "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BuildError, match="no go command found"):
        programs.find_go(sources)


def test_a_staged_context_holds_the_programs(tree: Path, tmp_path: Path) -> None:
    program = tmp_path / "server"
    program.write_text("program")
    program.chmod(0o700)
    context.stage(tree, tmp_path / "staged", program)
    assert (tmp_path / "staged/server").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "staged/kept/a.py").is_file()
