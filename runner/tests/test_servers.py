"""What answers over HTTP: metrics with its guard, probes, addresses."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from fakeapi import until
from paradedb_runner.control.inputdir import private_base
from paradedb_runner.kube.api import ApiError
from paradedb_runner.kube.informer import Informer
from paradedb_runner.observe.health import health_app
from paradedb_runner.observe.http_server import parse_address, serving
from paradedb_runner.observe.metrics_server import Certificate, Reviewer, metrics_app
from support import DEMO


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
    complaints: list[str] = []
    root = f"http://127.0.0.1:{unused_tcp_port}"

    async def answer(path: str) -> tuple[int, str]:
        async with client.get(root + path) as response:
            return response.status, await response.text()

    async with serving(health_app(lambda: [informer], lambda: complaints), f"127.0.0.1:{unused_tcp_port}"):
        assert await answer("/healthz") == (200, "ok"), "a watch that has not begun is not dead"
        assert await answer("/readyz") == (500, "not in sync: Demo")
        informer.synced.set()
        assert await answer("/readyz") == (200, "ok")
        informer.heard = asyncio.get_running_loop().time() - 901
        complaints.append("a run hangs")
        assert await answer("/healthz") == (500, "no word from the API server about Demo; a run hangs")


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


def test_a_temporary_directory_too_deep_for_sockets_is_refused_at_start(tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 60)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(OSError, match="too long"), private_base():
        pass
    assert list(deep.iterdir()) == []
