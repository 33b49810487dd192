"""What answers over HTTP: metrics with its guard, probes, addresses; and log lines, flags and CPU limits."""

import asyncio
import json
import logging
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from fakeapi import until
from kubernetes.config import incluster_config
from paradedb_runner import cli
from paradedb_runner.api import ApiError
from paradedb_runner.cgroup import cpu_limit, default_run_slots
from paradedb_runner.credentials import Credentials, find_kubeconfig
from paradedb_runner.health import health_app
from paradedb_runner.http_server import parse_address, serving
from paradedb_runner.informer import Informer
from paradedb_runner.inputdir import private_base
from paradedb_runner.logs import JsonFormatter, fields
from paradedb_runner.metrics_server import Certificate, Reviewer, metrics_app
from support import DEMO, key, make_settings


class ReviewApi:
    """Knows the tokens "good" and "known", and lets "good" read metrics."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.down = False

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(path.rsplit("/", 1)[1])
        if self.down:
            raise ApiError(500, "down")
        if "tokenreviews" in path:
            token = body["spec"]["token"]
            return {"status": {"authenticated": token in ("good", "known"), "user": {"username": token}}}
        assert body["spec"]["nonResourceAttributes"] == {"path": "/metrics", "verb": "get"}
        return {"status": {"allowed": body["spec"]["user"] == "good"}}


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("", 401),
        ("Bearer ", 401),
        ("Basic good", 401),
        ("Bearer bad", 401),
        ("Bearer known", 403),
        ("Bearer good", 200),
    ],
)
async def test_metrics_are_for_those_who_may_read_them(header, status):
    assert await Reviewer(ReviewApi()).status(header) == status


@pytest.mark.looptime
async def test_a_decision_is_remembered_for_ten_seconds():
    api = ReviewApi()
    reviewer = Reviewer(api)
    for _ in range(3):
        assert await reviewer.status("Bearer good") == 200
    assert api.asked == ["tokenreviews", "subjectaccessreviews"]
    await asyncio.sleep(10.1)
    await reviewer.status("Bearer good")
    assert len(api.asked) == 4
    assert "good" not in repr(vars(reviewer)["_decisions"])


async def test_metrics_over_tls_with_a_self_signed_certificate(tmp_path, client, unused_tcp_port):
    certificate = Certificate(None, tmp_path)
    assert (tmp_path / "tls.key").stat().st_mode & 0o777 == 0o600
    api = ReviewApi()
    app = metrics_app(lambda: b"m 1\n", Reviewer(api).status)
    trust = ssl.create_default_context(cafile=tmp_path / "tls.crt")
    url = f"https://localhost:{unused_tcp_port}/metrics"
    async with serving(app, f"127.0.0.1:{unused_tcp_port}", certificate.context):
        async with client.get(url, ssl=trust) as response:
            assert response.status == 401
        async with client.get(url, ssl=trust, headers={"Authorization": "Bearer good"}) as response:
            assert (response.status, await response.text()) == (200, "m 1\n")
        api.down = True
        async with client.get(url, ssl=trust, headers={"Authorization": "Bearer other"}) as response:
            assert response.status == 503, "nobody is let in because nobody can be asked"


async def test_a_certificate_that_is_mounted_is_used_and_renewed(tmp_path):
    for name in ("one", "two", "private"):
        (tmp_path / name).mkdir()
    Certificate(None, tmp_path / "one")
    certificate = Certificate(tmp_path / "one", tmp_path / "private")
    assert list((tmp_path / "private").iterdir()) == []
    loaded = certificate._loaded
    os.utime(tmp_path / "one" / "tls.crt", (1, 1))
    task = asyncio.create_task(certificate.keep_fresh(0.01))
    await until(lambda: certificate._loaded != loaded)
    task.cancel()


async def test_probes(client, unused_tcp_port):
    informer = Informer(None, DEMO, "", dict, None)
    root = f"http://127.0.0.1:{unused_tcp_port}"
    async with serving(health_app([informer]), f"127.0.0.1:{unused_tcp_port}"):
        async with client.get(f"{root}/healthz") as response:
            assert response.status == 200
        async with client.get(f"{root}/readyz") as response:
            assert (response.status, await response.text()) == (500, "not in sync: Demo")
        informer.synced.set()
        async with client.get(f"{root}/readyz") as response:
            assert response.status == 200
        informer.heard -= 901
        async with client.get(f"{root}/healthz") as response:
            assert (response.status, await response.text()) == (500, "no word from the API server about Demo")


@pytest.mark.parametrize(
    ("text", "address"),
    [(":8443", (None, 8443)), ("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:1", ("::1", 1)), ("0", None)],
)
def test_addresses(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "8443", "host:", "host:x"])
def test_what_is_no_address(text):
    with pytest.raises(ValueError, match="not an address"):
        parse_address(text)


def test_log_lines_are_json_and_name_the_resource():
    extra = fields(key("a"), run="r1")
    record = logging.makeLogRecord({"name": "n", "levelname": "INFO", "msg": "two\nlines", **extra})
    text = JsonFormatter().format(record)
    assert "\n" not in text
    line = json.loads(text)
    assert (line["msg"], line["kind"], line["namespace"], line["name"], line["run"]) == (
        "two\nlines",
        "Demo",
        "ns",
        "a",
        "r1",
    )


def parse(*arguments: str) -> Any:
    return cli.settings_from(cli._parser().parse_args(["run", *arguments]))


def test_flags_as_operator_sdk_names_them(monkeypatch, tmp_path):
    monkeypatch.delenv("K8S_AUTH_KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "k"))
    monkeypatch.setenv("WATCH_NAMESPACE", " one, two,")
    settings = parse(
        "--leader-elect",
        "--leader-election-id=x",
        "--max-concurrent-reconciles=7",
        "--reconcile-period=1h",
        "--ansible-args='--vault-password-file /p --diff'",
        "--metrics-bind-address=127.0.0.1:1",
        "--metrics-secure=false",
        "--graceful-shutdown-timeout=5s",
    )
    assert (settings.leader_elect, settings.leader_election_id, settings.run_slots) == (True, "x", 7)
    assert (settings.reconcile_period, settings.graceful_shutdown_timeout) == (3600, 5)
    assert settings.ansible_arguments == ("--vault-password-file", "/p", "--diff")
    assert settings.namespaces == ("one", "two")
    assert settings.kubeconfig == tmp_path / "k"
    assert not settings.metrics_secure


def test_defaults_of_flags():
    settings = parse()
    assert (settings.metrics_address, settings.health_address) == (":8443", ":8081")
    assert (settings.reconcile_period, settings.run_timeout, settings.graceful_shutdown_timeout) == (
        60,
        1800,
        30,
    )
    assert settings.metrics_secure
    assert settings.metrics_require_rbac
    assert not settings.leader_elect
    assert settings.run_slots >= 2


@pytest.mark.parametrize(
    "flag",
    ["--reconcile-period=5", "--metrics-bind-address=x", "--leader-elect=maybe", "--ansible-verbosity=9"],
)
def test_bad_flags_are_refused(flag, capsys):
    with pytest.raises(SystemExit):
        parse(flag)
    assert flag.split("=")[0] in capsys.readouterr().err


def test_what_cannot_start_says_why(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run"]) == 1
    assert "cannot read watches.yaml" in capsys.readouterr().err
    assert cli.main(["version"]) == 0


def test_limits_and_verbosity_of_one_kind():
    environ = {"MAX_CONCURRENT_RECONCILES_DEMO_EXAMPLE_COM": "3", "ANSIBLE_VERBOSITY_DEMO_EXAMPLE_COM": "4"}
    settings = make_settings(environ=environ)
    assert (settings.kind_limit(DEMO), settings.kind_verbosity(DEMO)) == (3, 4)
    assert (make_settings().kind_limit(DEMO), make_settings().kind_verbosity(DEMO)) == (2, 0)


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_run_slots_follow_the_cpu_limit_of_the_container(files, limit, tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(16)))
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cpu_limit(tmp_path) == (limit or 16)
    assert default_run_slots(tmp_path) == (2 if limit else 16)


def test_where_the_kubeconfig_comes_from():
    assert find_kubeconfig("/flag", {"KUBECONFIG": "/env"}) == Path("/flag")
    assert find_kubeconfig("", {"KUBECONFIG": "/env"}) == Path("/env")
    assert find_kubeconfig("", {}) == Path("~/.kube/config").expanduser()


async def test_a_kubeconfig_with_a_token(tmp_path):
    text = """
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: k, user: u}}]
clusters: [{name: k, cluster: {server: "https://127.0.0.1:6443", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: TOKEN}}]
"""
    path = tmp_path / "config"
    path.write_text(text.replace("TOKEN", "first"))
    credentials = Credentials(path)
    assert credentials.host == "https://127.0.0.1:6443"
    assert await credentials.headers() == {"Authorization": "Bearer first"}
    assert credentials.ssl_context.verify_mode is ssl.CERT_NONE
    path.write_text(text.replace("TOKEN", "second"))
    await credentials.reload()
    assert await credentials.headers() == {"Authorization": "Bearer second"}


async def test_the_account_of_a_pod(tmp_path, monkeypatch):
    private = tmp_path / "tls"
    private.mkdir()
    Certificate(None, private)
    (tmp_path / "token").write_text("pod")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(private / "tls.crt"))
    credentials = Credentials(None)
    assert credentials.host == "https://10.0.0.1:443"
    assert await credentials.headers() == {"Authorization": "bearer pod"}
    (tmp_path / "token").write_text("rotated")
    await credentials.reload()
    assert await credentials.headers() == {"Authorization": "bearer rotated"}


def test_a_temporary_directory_too_deep_for_sockets_is_refused_at_start(tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 60)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(OSError, match="too long"), private_base():
        pass
    assert list(deep.iterdir()) == []
