"""How this machine reaches Debian's packages and PyPI, for builds only.

Mirrors, certificate authorities and pip settings of the machine are handed to a build as secret mounts (files
that exist while one step runs), so nothing of them ends in a layer. Where the machine has nothing special,
nothing is handed over.
"""

import configparser
import os
import re
from dataclasses import dataclass
from pathlib import Path

SUITE = "trixie"
# Addresses of the Debian archive and its security archive, for machines that do not run Debian.
MIRROR_VARIABLES = ("DEBIAN_MIRROR", "DEBIAN_SECURITY_MIRROR")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.pgp"
# Where the Containerfiles mount the certificate authorities; the settings below name this path.
CA_IN_BUILD = "/run/build/ca.crt"
CA_VARIABLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
SYSTEM_CA = Path("/etc/ssl/certs/ca-certificates.crt")
# What tells pip where to find packages; everything else of a machine's pip settings is about that machine.
PIP_OPTIONS = (
    "index-url",
    "extra-index-url",
    "trusted-host",
    "proxy",
    "timeout",
    "default-timeout",
    "retries",
)


# Addresses of the Debian archive and of its security archive.
Mirrors = tuple[str, str]


@dataclass(frozen=True)
class AptSource:
    """One archive of an apt configuration: its address and the suites taken from it."""

    uri: str
    suites: tuple[str, ...]


def _parse_deb822(text: str) -> list[AptSource]:
    """Archives in a *.sources file; disabled ones and those of source packages alone are left out."""
    sources = []
    for stanza in re.split(r"\n\s*\n", text):
        lines = [line for line in stanza.splitlines() if not line.startswith("#")]
        joined = re.sub(r"\n[ \t]+", " ", "\n".join(lines))
        pairs = (line.partition(":") for line in joined.splitlines() if ":" in line)
        fields = {key.strip().lower(): value.split() for key, _, value in pairs}
        usable = "deb" in fields.get("types", []) and fields.get("enabled", ["yes"]) != ["no"]
        if usable and "main" in fields.get("components", []):
            sources += [AptSource(uri, tuple(fields.get("suites", []))) for uri in fields.get("uris", [])]
    return sources


def _parse_one_line(text: str) -> list[AptSource]:
    """Archives in a *.list file: `deb [options] URI SUITE COMPONENTS...`."""
    sources = []
    for line in text.splitlines():
        words = re.sub(r"\[[^]]*\]", "", line.partition("#")[0]).split()
        if len(words) >= 4 and words[0] == "deb" and "main" in words[3:]:
            sources.append(AptSource(words[1], (words[2],)))
    return sources


def read_apt_sources(directory: Path) -> list[AptSource]:
    """All archives configured below `directory` (a machine's /etc/apt)."""
    files = [directory / "sources.list", *sorted((directory / "sources.list.d").glob("*"))]
    sources: list[AptSource] = []
    for path in files:
        if path.is_file() and path.suffix == ".sources":
            sources += _parse_deb822(path.read_text())
        elif path.is_file() and path.suffix == ".list":
            sources += _parse_one_line(path.read_text())
    return sources


def _archive_of(sources: list[AptSource], suite: str, ending: str) -> str:
    """Address in `sources` that serves `suite`, empty for none; a path that ends like Debian's own wins."""
    serving = [source.uri.rstrip("/") for source in sources if suite in source.suites]
    serving = [uri for uri in serving if re.match(r"https?://", uri)]
    own = [uri for uri in serving if uri.endswith(ending)]
    return (own or serving or [""])[0]


def debian_mirrors(apt_directory: Path, codename: str, environment: dict[str, str]) -> Mirrors | None:
    """Addresses of the Debian archive and of its security archive, the second empty where there is none.

    Named by the environment, else those that a Debian machine of the release `codename` (empty for another
    system) uses itself; None where neither names an archive.
    """
    sources = read_apt_sources(apt_directory) if codename else []
    named, named_security = (environment.get(variable, "") for variable in MIRROR_VARIABLES)
    mirror = named or _archive_of(sources, codename, "/debian")
    if not mirror:
        return None
    return mirror, named_security or _archive_of(sources, f"{codename}-security", "/debian-security")


def debian_codename(os_release: str) -> str:
    """Release name in the text of /etc/os-release, empty when the machine runs something else than Debian."""
    fields = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    return (
        fields.get("VERSION_CODENAME", "").strip('"') if fields.get("ID", "").strip('"') == "debian" else ""
    )


def this_machines_mirrors() -> Mirrors | None:
    """What `debian_mirrors` finds on the machine this runs on."""
    os_release = Path("/etc/os-release")
    codename = debian_codename(os_release.read_text() if os_release.is_file() else "")
    return debian_mirrors(Path("/etc/apt"), codename, dict(os.environ))


def sources_file(mirror: str, security_mirror: str) -> str:
    """Contents of a debian.sources for SUITE with its updates from these two archives."""
    archives = [(mirror, f"{SUITE} {SUITE}-updates"), (security_mirror, f"{SUITE}-security")]
    stanza = "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\nSigned-By: {}\n"
    return "\n".join(stanza.format(uri, suites, KEYRING) for uri, suites in archives if uri)


def ca_bundle(environment: dict[str, str]) -> Path | None:
    """The certificate authorities this machine trusts: what the environment names, else the system's file."""
    named = [Path(environment[name]) for name in CA_VARIABLES if environment.get(name)]
    return next((path for path in [*named, SYSTEM_CA] if path.is_file()), None)


def pip_conf(environment: dict[str, str], files: list[Path], has_ca: bool) -> str:
    """Contents of a pip.conf for a build: where this machine's pip.conf files and PIP_* variables point.

    Variables win over files, later files over earlier ones, as in pip. With `has_ca` the mounted authorities
    are named.
    """
    read = configparser.ConfigParser(interpolation=None)
    read.read(files)
    chosen = {}
    for option in PIP_OPTIONS:
        variable = environment.get("PIP_" + option.upper().replace("-", "_"))
        value = variable or read.get("global", option, fallback="")
        if value:
            chosen[option] = value.replace("\n", " ").strip()
    if has_ca:
        chosen["cert"] = CA_IN_BUILD
    return "[global]\n" + "".join(f"{key} = {value}\n" for key, value in chosen.items())


def write_secrets(directory: Path, mirrors: Mirrors | None) -> dict[str, Path]:
    """Write the files that builds mount into `directory`, for its owner only; return them by secret id.

    Without `mirrors` there are no "sources": the build then takes packages from where its base does.
    """
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    bundle = ca_bundle(dict(os.environ))
    contents = {
        "pip.conf": pip_conf(dict(os.environ), [Path("/etc/pip.conf"), _user_pip_conf()], bundle is not None),
    }
    if mirrors:
        contents["sources"] = sources_file(*mirrors)
    if bundle is not None:
        contents["apt.conf"] = f'Acquire::https::CaInfo "{CA_IN_BUILD}";\n'
        contents["ca.crt"] = bundle.read_text()
    for name, text in contents.items():
        path = directory / name
        path.touch(mode=0o600)
        path.write_text(text)
    return {name: directory / name for name in contents}


def _user_pip_conf() -> Path:
    """The pip.conf of the user who runs this."""
    return Path(os.environ.get("XDG_CONFIG_HOME", Path.home() / ".config")) / "pip" / "pip.conf"
