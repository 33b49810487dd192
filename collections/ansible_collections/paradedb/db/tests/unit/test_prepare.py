"""The pod's first program, run by sh with the directories of the pod moved into one of our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.paradedb.db.plugins.module_utils import settings

from .conftest import COLLECTION
from .private_postgres import PrivatePostgres

SCRIPT = COLLECTION / "roles" / "statefulset" / "templates" / "prepare.sh"


class Pod:
    """The directories that the script knows, and what it left in them."""

    def __init__(self, server: PrivatePostgres, root: Path) -> None:
        self.server, self.root = server, root
        for name in ("etc", "bin"):
            (root / name).mkdir()
        text = SCRIPT.read_text()
        moved = {
            "/dev/termination-log": root / "said",
            "/run/paradedb": root / "run",
            "/etc/postgresql": root / "etc",
        }
        for path, ours in moved.items():
            assert path in text
            text = text.replace(path, str(ours))
        (root / "prepare.sh").write_text(text)
        for made in (root, *root.rglob("*")):
            made.chmod(0o777)

    def program(self, name: str, text: str) -> None:
        file = self.root / "bin" / name
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)

    def run(self, config: dict[str, str] | None = None, path: str = "", **environment: str) -> int:
        conf = self.root / "etc" / "postgresql.conf"
        conf.write_text("\n".join(settings.conf_lines(config or {})) + "\n")
        given = {
            "POSTGRES_VERSION": str(self.server.version),
            "PRELOAD": "",
            "USER_PRELOAD": "",
        } | environment
        path = path or f"{self.root / 'bin'}:{self.server.binaries}:/usr/bin:/bin"
        command = ["env", f"PATH={path}", *(f"{name}={value}" for name, value in given.items())]
        code, _output, self.errors = self.server.execute([*command, "/bin/sh", str(self.root / "prepare.sh")])
        return code

    @property
    def said(self) -> str:
        file = self.root / "said"
        return file.read_text() if file.exists() else ""

    def give(self, *names: str) -> None:
        """Mount the certificate's Secret."""
        (self.root / "etc" / "tls").mkdir()
        for name in names:
            (self.root / "etc" / "tls" / name).write_text("PEM\n")

    def tls_settings(self) -> dict[str, str]:
        found = yaml.safe_load((self.root / "run" / "patroni" / "40-tls.yml").read_text())
        return found["postgresql"]["parameters"]

    def libraries(self) -> str:
        found = yaml.safe_load((self.root / "run" / "patroni" / "20-image.yml").read_text())
        return found["postgresql"]["parameters"]["shared_preload_libraries"]


@pytest.fixture
def container(postgres: PrivatePostgres, request: pytest.FixtureRequest) -> Pod:
    root = postgres.directory / f"pod-{abs(hash(request.node.nodeid))}"
    root.mkdir()
    return Pod(postgres, root)


def test_an_image_that_fits(container: Pod) -> None:
    config = {"work_mem": "5MB", "paradedb.enable_custom_scan": "off", "application_name": "it's"}
    assert container.run(config) == 0, container.errors
    assert container.said == ""
    assert container.libraries() == ""
    made = sorted(path.name for path in (container.root / "run" / "patroni").iterdir())
    assert made == ["10-instance.yml", "20-image.yml", "30-credentials.yml"]


def test_twice_is_the_same_as_once(container: Pod) -> None:
    assert container.run() == 0
    assert container.run() == 0, container.errors


@pytest.mark.parametrize(
    ("preload", "user", "loaded"),
    [
        ("auto_explain no_such pg_stat_statements", "", "auto_explain,pg_stat_statements"),
        ("no_such", "", ""),
        ("", "auto_explain", "auto_explain"),
        ("pg_stat_statements", "auto_explain passwordcheck", "pg_stat_statements,auto_explain,passwordcheck"),
    ],
)
def test_libraries_are_those_that_the_image_has(container: Pod, preload: str, user: str, loaded: str) -> None:
    assert container.run(PRELOAD=preload, USER_PRELOAD=user) == 0, container.errors
    assert container.libraries() == loaded


@pytest.mark.parametrize("name", ["no_such", "../../../../etc/passwd", "$(id)", "`id`", "a;b", "*", "\\n"])
def test_a_library_of_the_user_that_is_not_there(container: Pod, name: str) -> None:
    assert container.run(USER_PRELOAD=name) == 1
    assert container.said.startswith("InvalidSetting|spec.postgresConfig.shared_preload_libraries: ")
    assert f"no library {name};" in container.said


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"work_mem": "abc"}, 'invalid value for parameter "work_mem": "abc"'),
        ({"wrk_mem": "1MB"}, 'unrecognized configuration parameter "wrk_mem"'),
        ({"autovacuum": "perhaps"}, 'parameter "autovacuum" requires a Boolean value'),
        ({"log_min_messages": "panic", "work_mem": "x"}, "work_mem"),
        ({"log_line_prefix": "LOG:  ", "work_mem": "x"}, "work_mem"),
        ({"work_mem": "$(id) `id` %s %n"}, "$(id) `id` %s %n"),
    ],
)
def test_postgresqls_word_on_a_setting(container: Pod, config: dict[str, str], words: str) -> None:
    assert container.run(config) == 1
    assert container.said.startswith("InvalidSetting|spec.postgresConfig: ")
    assert words in container.said
    assert "auto.conf" not in container.said
    assert str(container.root) not in container.said
    assert "\n" not in container.said


@pytest.mark.parametrize(
    "told",
    [
        "postgres (PostgreSQL) 9.6.24",
        "postgres (PostgreSQL) 99.1 (Debian 99.1-1)",
        "postgres (PostgreSQL) 19beta1",
    ],
)
def test_an_image_of_another_version(container: Pod, told: str) -> None:
    container.program("postgres", f"echo '{told}'")
    assert container.run() == 1
    assert container.said.startswith("VersionMismatch|spec.postgresVersion: ")
    assert f"PostgreSQL {told.split()[2].split('.')[0].removesuffix('beta1')};" in container.said


def test_an_image_without_postgresql(container: Pod, postgres: PrivatePostgres) -> None:
    assert container.run(path=str(container.root / "bin")) == 1
    assert container.said.startswith("UnsuitableImage|spec.image: ")


@pytest.mark.parametrize("authority", [True, False])
def test_a_certificate_is_used(container: Pod, authority: bool) -> None:
    container.give("tls.crt", "tls.key", *(["ca.crt"] if authority else []))
    assert container.run(TLS="1") == 0, container.errors
    where = container.root / "etc" / "tls"
    expected = {"ssl": "on", "ssl_cert_file": f"{where}/tls.crt", "ssl_key_file": f"{where}/tls.key"}
    assert container.tls_settings() == expected | ({"ssl_ca_file": f"{where}/ca.crt"} if authority else {})


def test_an_empty_authority_is_none(container: Pod) -> None:
    container.give("tls.crt", "tls.key")
    (container.root / "etc" / "tls" / "ca.crt").touch()
    assert container.run(TLS="1") == 0, container.errors
    assert "ssl_ca_file" not in container.tls_settings()


def test_without_tls_a_certificate_is_not_looked_at(container: Pod) -> None:
    container.give("tls.crt", "tls.key")
    assert container.run() == 0, container.errors
    assert not (container.root / "run" / "patroni" / "40-tls.yml").exists()


def test_a_certificate_that_lacks_its_key(container: Pod) -> None:
    container.give("tls.crt")
    assert container.run(TLS="1") == 1
    assert container.said.startswith("InvalidSecret|spec.tls: tls.key ")


def test_what_is_said_is_what_the_operator_reads(container: Pod) -> None:
    from ansible_collections.paradedb.db.plugins.module_utils.instances import trouble

    from .test_instances import SOON, starting
    from .test_instances import container as status

    container.run({"work_mem": "abc"})
    ended: dict[str, Any] = {"exitCode": 1, "message": container.said}
    found = trouble(starting(status("prepare", terminated=ended), init=True), SOON)
    assert found
    assert found["reason"] == "InvalidSetting"
    assert found["message"].startswith("spec.postgresConfig: ")
