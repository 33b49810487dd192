"""Programs that go into images and that nobody packages, built by the machine's Go once for their sources."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .process import BuildError, Progress, run_logged

# Where Go's own installation puts it.
GO_DIRECTORY = "/usr/local/go/bin"
# The same sources and the same Go give the same bytes, whatever the machine, its paths and its C compiler.
ENVIRONMENT = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local"}


@dataclass(frozen=True)
class GoProgram:
    """The main package `package` of a module that the image's go.mod names as a tool; built as `name`."""

    name: str
    package: str

    def module_version(self, module_file: str) -> str:
        """Version that a go.mod pins for the module of the package; raises BuildError when there is none."""
        for module, version in re.findall(r"^\s*(?:require )?(\S+) (v\S+)", module_file, re.MULTILINE):
            if self.package.startswith(f"{module}/"):
                return str(version)
        raise BuildError(f"go.mod pins no module that holds {self.package}")


def parse_version(text: str) -> tuple[int, ...]:
    """The numbers of a version such as 1.26.8 or 1.27rc1 (which counts as 1.27)."""
    return tuple(int(number) for number in re.findall(r"\d+", re.split(r"[a-z]", text)[0]))


def find_go(sources: Path) -> tuple[str, str]:
    """Path and version of the go command; raises BuildError when it is missing or older than go.mod wants."""
    found = re.search(r"^go (\S+)$", (sources / "go.mod").read_text(), re.MULTILINE)
    wanted = found[1] if found else "1.21"
    advice = f"Go {wanted} or newer is needed to build {sources.name}, see https://go.dev/dl/"
    go = shutil.which("go", path=f"{os.environ.get('PATH', '')}:{GO_DIRECTORY}")
    if go is None:
        raise BuildError(f"no go command found: {advice}")
    command = [go, "env", "GOVERSION"]
    environment = {**os.environ, **ENVIRONMENT}
    version = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()
    if parse_version(version.removeprefix("go")) < parse_version(wanted):
        raise BuildError(f"{go} is {version}: {advice}")
    return go, version


def command(go: str, program: GoProgram, sources: Path, target: Path) -> list[str]:
    """Command that builds `program` to the file `target`."""
    version = program.module_version((sources / "go.mod").read_text())
    linker = f"-s -w -X main.Version={version}"
    return [
        go,
        "build",
        "-C",
        str(sources),
        "-trimpath",
        "-ldflags",
        linker,
        "-o",
        str(target),
        program.package,
    ]


def provide(program: GoProgram, sources: Path, cache: Path, log: Path, progress: Progress) -> Path:
    """Path of `program`, built from `sources`, its go.mod, unless the cache has it. Raises BuildError."""
    go, version = find_go(sources)
    facts = [" ".join(command("go", program, sources, Path(program.name))).replace(str(sources), ""), version]
    contents = [(sources / name).read_bytes() for name in ("go.mod", "go.sum")]
    digest = hashlib.sha256(b"\0".join([*(fact.encode() for fact in facts), *contents])).hexdigest()[:16]
    kept = cache / "programs" / program.name
    target = kept / digest / program.name
    if target.is_file():
        return target
    progress.say(f"compiling {program.name}")
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept, prefix="building-") as scratch:
        built = Path(scratch) / program.name
        run_logged(command(go, program, sources, built), log, progress, ENVIRONMENT)
        for old in kept.iterdir():
            if old != Path(scratch):
                shutil.rmtree(old)
        target.parent.mkdir()
        built.rename(target)
    return target
