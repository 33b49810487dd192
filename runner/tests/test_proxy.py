"""The proxy between a run and the API server, over real HTTP."""

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO

import aiohttp
import pytest
import yaml
from fakeapi import FakeCredentials
from fakeupstream import FakeUpstream, running_upstream
from paradedb_runner.kube.api import Api
from paradedb_runner.kube.objects import GroupVersionKind
from paradedb_runner.proxy import server as proxy
from paradedb_runner.proxy.ownership import Owner
from paradedb_runner.proxy.server import Proxy
from support import CONFIG_MAP, DEMO, key
from yarl import URL

ONE, TWO = Owner(key("one"), "uid-1"), Owner(key("two"), "uid-2")
MAPS = "/api/v1/namespaces/ns/configmaps"
NAMESPACE = GroupVersionKind("", "v1", "Namespace")
APPLY = {"Content-Type": "application/apply-patch+yaml"}


class Setup:
    """A proxy, what is behind it, and a client with the certificate of the first run."""

    def __init__(
        self, fake: FakeUpstream, proxy: Proxy, dependents: list[tuple[GroupVersionKind, ...]]
    ) -> None:
        self.fake, self.proxy, self.dependents = fake, proxy, dependents

    @asynccontextmanager
    async def run(self, owner: Owner = ONE, *, inject: bool = True) -> AsyncIterator["Run"]:
        with self.proxy.session(owner, inject=inject) as session:
            run = Run(session, self.fake)
            async with run.client:
                yield run


class Run:
    """A client with the token of a run."""

    def __init__(self, session, fake: FakeUpstream) -> None:
        self.session, self.fake = session, fake
        context = ssl.create_default_context(cafile=session.certificate)
        self.client = aiohttp.ClientSession(
            session.url, connector=aiohttp.TCPConnector(ssl=context, force_close=True)
        )
        self.headers = {"Authorization": f"Bearer {session.token}"}

    def ask(self, method: str, target: str, headers: dict[str, str] | None = None, **more):
        url = URL(self.session.url + target, encoded=True)
        if "json" in more:
            more["data"] = BytesIO(json.dumps(more.pop("json")).encode())
        headers = self.headers | {"Content-Type": "application/json"} | (headers or {})
        return self.client.request(method, url, headers=headers, **more)

    async def status(self, method: str, target: str, headers: dict[str, str] | None = None, **more) -> int:
        async with self.ask(method, target, headers, **more) as answer:
            await answer.read()
            return answer.status

    async def owners(
        self, method: str, target: str, headers: dict[str, str] | None = None, **more
    ) -> list[str]:
        """The owners of the body that arrived."""
        assert await self.status(method, target, headers, **more) == 200
        meta = yaml.safe_load(self.fake.sent[-1].data).get("metadata") or {}
        return [each["uid"] for each in meta.get("ownerReferences", [])]


@pytest.fixture
async def setup(tmp_path) -> AsyncIterator[Setup]:
    dependents: list[tuple[GroupVersionKind, ...]] = []
    async with (
        running_upstream() as (fake, url),
        Api(FakeCredentials(url)) as api,
        Proxy(api, 0, tmp_path / "proxy", lambda *pair: dependents.append(pair)) as proxy,
    ):
        yield Setup(fake, proxy, dependents)


@pytest.fixture
async def run(setup) -> AsyncIterator[Run]:
    async with setup.run() as run:
        yield run


# Who may ask


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Basic {}",
        "{}",
        "bearer{}",
        "Bearer {}x",
        "Bearer {} {}",
    ],
)
async def test_without_the_token_of_a_run_nothing_is_answered(setup, run, authorization):
    headers = (
        {} if authorization is None else {"Authorization": authorization.format(*[run.session.token] * 2)}
    )
    async with run.client.get(MAPS, headers=headers) as answer:
        assert answer.status == 401
        body = await answer.json()
    assert (body["kind"], body["status"], body["code"], body["reason"]) == (
        "Status",
        "Failure",
        401,
        "Unauthorized",
    )
    assert not setup.fake.sent


async def test_two_authorizations_are_as_good_as_none(setup, run):
    headers = [("Authorization", f"Bearer {run.session.token}"), ("Authorization", "Bearer other")]
    async with run.client.get(MAPS, headers=headers) as answer:
        assert answer.status == 401


async def test_a_token_ends_with_its_run(setup):
    async with setup.run() as other:
        with setup.proxy.session(ONE) as session:
            headers = {"Authorization": f"Bearer {session.token}"}
            async with other.client.get(MAPS, headers=headers) as answer:
                assert answer.status == 200
        async with other.client.get(MAPS, headers=headers) as answer:
            assert answer.status == 401


async def test_what_a_run_left_behind_is_cut_off_when_it_ends(setup):
    with contextlib.suppress(aiohttp.ClientError):
        async with setup.run() as other, other.client:
            with setup.proxy.session(ONE) as session:
                headers = {"Authorization": f"Bearer {session.token}"}
                answer = await other.client.get(MAPS + "?watch=1", headers=headers)
            async with asyncio.timeout(10):
                await answer.read()
    await asyncio.wait_for(setup.fake.left.wait(), 10)


async def test_the_server_sees_our_credentials_not_the_runs(setup, run):
    await run.status("GET", MAPS)
    assert setup.fake.sent[-1].headers.getall("Authorization") == ["Bearer 0"]
    assert run.session.token not in str(setup.fake.sent[-1].headers)


async def test_credentials_the_server_refuses_are_read_anew(setup, run):
    setup.fake.answers = [401]
    assert await run.status("POST", MAPS, json={}) == 200
    assert [sent.headers["Authorization"] for sent in setup.fake.sent] == ["Bearer 0", "Bearer 1"]
    assert setup.fake.sent[0].body == setup.fake.sent[1].body


async def test_all_runs_use_one_url(setup):
    with setup.proxy.session(ONE) as one, setup.proxy.session(TWO) as two:
        assert one.url == two.url
        assert one.token != two.token


@pytest.mark.parametrize("name", ["Impersonate-User", "impersonate-group", "Impersonate-Extra-Scopes"])
async def test_a_run_cannot_be_somebody_else(setup, run, name):
    assert await run.status("GET", MAPS, {name: "system:masters"}) == 403
    assert not setup.fake.sent


async def test_headers_of_a_front_proxy_or_a_hop_go_no_further(setup, run):
    dropped = {"X-Remote-User": "admin", "Proxy-Authorization": "x", "TE": "trailers", "X-Odd": "1"}
    kept = {"User-Agent": "curl/1", "Accept": "application/json;as=Table", "X-Fine": "1"}
    await run.status("GET", MAPS, dropped | kept | {"Connection": "close, x-odd"})
    headers = setup.fake.sent[-1].headers
    assert not set(dropped) & set(headers)
    assert {name: headers[name] for name in kept} == kept


async def raw_status(run: Run, line: str, *headers: str) -> int:
    """The status of a request that no client library would send."""
    url = URL(run.session.url)
    context = ssl.create_default_context(cafile=run.session.certificate)
    reader, writer = await asyncio.open_connection(url.host, url.port, ssl=context)
    token = f"Authorization: Bearer {run.session.token}"
    writer.write("\r\n".join([line, "Host: x", token, *headers, "", ""]).encode())
    status = int((await reader.readline()).split()[1])
    writer.close()
    await writer.wait_closed()
    return status


@pytest.mark.parametrize(
    ("line", "header"),
    [
        (f"GET {MAPS} HTTP/1.1", "X-Fine: 1\nImpersonate-User: admin"),
        (f"GET {MAPS} HTTP/1.1", "X-Fine: 1\rImpersonate-User: admin"),
        (f"GET {MAPS}\nImpersonate-User: admin HTTP/1.1", "X-Fine: 1"),
        (f"GET {MAPS} HTTP/1.1", "Impersonate-User : admin"),
        (f"POST {MAPS} HTTP/1.1", "Transfer-Encoding: chunked\r\nContent-Length: 4"),
    ],
)
async def test_a_header_cannot_be_smuggled_into_a_request(setup, run, line, header):
    assert await raw_status(run, line, header) in (400, 403)
    assert not setup.fake.sent


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/../../etc",
        "/api/v1/namespaces/%2e%2e/secrets",
        "/api/v1/..%2f..%2fother",
        "/api/v1/./pods",
        "/api/v1/nodes/n/proxy/..%5c..",
        "http://evil.example/api/v1",
        "/api/v1/caf\u00e9",
        "*",
    ],
)
async def test_a_path_leads_nowhere_but_into_the_api(setup, run, target):
    assert await raw_status(run, f"GET {target} HTTP/1.1") == 400
    assert not setup.fake.sent


async def test_a_path_and_its_query_arrive_as_they_were_sent(setup, run):
    target = "/apis/example.com/v1/namespaces/ns/demos?labelSelector=a%3Db%2Cc&x=%20+%2B"
    await run.status("GET", target)
    assert setup.fake.sent[-1].target == target


# What is owned


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("POST", MAPS, {}),
        ("POST", MAPS + "?dryRun=All", {}),
        ("PUT", MAPS + "/a", {}),
        ("PATCH", MAPS + "/a?fieldManager=x&force=true", APPLY),
        ("POST", "/" + MAPS, {}),
        ("POST", "/apis/example.com/v1/namespaces/ns/demos", {}),
        ("POST", MAPS, {"Content-Type": "application/json; charset=utf-8"}),
    ],
)
async def test_a_written_object_gets_its_owner(run, method, target, headers):
    assert await run.owners(method, target, headers, data=b'{"metadata": {"name": "a"}}') == ["uid-1"]


async def test_yaml_gets_its_owner_too(run):
    assert await run.owners("PATCH", MAPS + "/a", APPLY, data=b"metadata:\n  name: a\n") == ["uid-1"]
    yaml_type = {"Content-Type": "application/yaml"}
    assert await run.owners("POST", MAPS, yaml_type, data=b"metadata: {name: a}") == ["uid-1"]


async def test_a_replaced_object_keeps_the_owners_it_comes_with(run):
    body = {"metadata": {"name": "a", "ownerReferences": [{"uid": "other"}, {"uid": "uid-1"}]}}
    assert await run.owners("PUT", MAPS + "/a", json=body) == ["other", "uid-1"]


@pytest.mark.parametrize(
    "target", ["/api/v1/namespaces", "/api/v1/namespaces/other/configmaps", "/api/v1/namespaces?dryRun=All"]
)
async def test_what_cannot_have_a_reference_is_annotated(setup, run, target):
    assert await run.owners("POST", target, json={"metadata": {"name": "a"}}) == []
    annotations = setup.fake.sent[-1].body["metadata"]["annotations"]
    assert annotations["operator-sdk/primary-resource"] == "ns/one"


@pytest.mark.parametrize(
    ("method", "target", "content_type"),
    [
        ("PATCH", MAPS + "/a", "application/merge-patch+json"),
        ("PATCH", MAPS + "/a", "application/json-patch+json"),
        ("PATCH", MAPS + "/a", "application/strategic-merge-patch+json"),
        ("PATCH", MAPS + "/a", "application/apply-patch+cbor"),
        ("POST", MAPS, "application/vnd.kubernetes.protobuf"),
        ("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", "application/json"),
        ("POST", "/api/v1/namespaces/ns/bindings", "application/json"),
        ("POST", "/api/v1/namespaces/ns/events", "application/json"),
        ("POST", "/api/v1/namespaces/ns/pods/a/eviction", "application/json"),
        ("POST", "/api/v1/namespaces/ns/serviceaccounts/a/token", "application/json"),
        ("PUT", "/api/v1/namespaces/ns/finalize", "application/json"),
        ("PUT", "/apis/example.com/v1/namespaces/ns/demos/other/status", "application/json"),
        ("PATCH", "/apis/example.com/v1/namespaces/ns/demos/other/status", "application/apply-patch+yaml"),
        ("PUT", "/apis/example.com/v1/namespaces/ns/demos/one", "application/json"),
        ("PATCH", "/apis/example.com/v1/namespaces/ns/demos/one", "application/apply-patch+yaml"),
        ("DELETE", MAPS + "/a", "application/json"),
        ("POST", "/apis/nowhere.example/v1/things", "application/json"),
        ("POST", "/api/v1/namespaces/ns/unheardof", "application/json"),
    ],
)
async def test_what_is_not_an_object_of_a_run_passes_unchanged(setup, run, method, target, content_type):
    data = b'{ "spec":  {"odd": "spacing"} }'
    assert await run.status(method, target, {"Content-Type": content_type}, data=data) == 200
    assert setup.fake.sent[-1].data == data
    assert setup.fake.sent[-1].headers["Content-Type"] == content_type
    assert setup.dependents == []


@pytest.mark.parametrize("data", [b"{", b"", b"[1]", b'{"metadata": 7}', b"\xff\xff"])
async def test_a_malformed_body_is_the_servers_to_refuse(setup, run, data):
    setup.fake.answers = [400]
    async with run.ask("POST", MAPS, {"Content-Type": "application/json"}, data=data) as answer:
        assert (await answer.json())["message"] == "told to 400"
    assert setup.fake.sent[-1].data == data


async def test_a_huge_body_is_refused_before_it_is_kept(setup, run):
    async with run.ask("POST", MAPS, data=BytesIO(b"x" * (5 << 20))) as answer:
        assert answer.status == 413
        assert (await answer.json())["kind"] == "Status"
    assert not setup.fake.sent


async def test_an_object_as_large_as_the_server_takes_passes(setup, run):
    body = {"metadata": {"name": "a"}, "data": {"x": "y" * (3 << 19)}}
    async with run.ask("POST", MAPS, json=body) as answer:
        assert (await answer.json())["data"] == body["data"]


@pytest.mark.parametrize(("size", "aside"), [(10, False), (1 << 17, True)])
async def test_a_large_object_does_not_hold_up_the_others(run, monkeypatch, size, aside):
    threads = []
    add_owner = proxy.add_owner

    def spy(*arguments):
        threads.append(threading.current_thread())
        return add_owner(*arguments)

    monkeypatch.setattr(proxy, "add_owner", spy)
    await run.status("POST", MAPS, json={"data": "x" * size})
    assert (threads[0] is not threading.main_thread()) is aside


async def test_runs_at_the_same_time_keep_their_owners_apart(setup):
    async with setup.run(ONE) as one, setup.run(TWO) as two:
        runs = [one, two] * 10
        await asyncio.gather(
            *(run.status("POST", MAPS, json={"metadata": {"name": run.session.owner.uid}}) for run in runs)
        )
    named = [sent.body["metadata"] for sent in setup.fake.sent]
    assert [[meta["name"]] for meta in named] == [
        [ref["uid"] for ref in meta["ownerReferences"]] for meta in named
    ]


async def test_without_injection_everything_passes_unchanged(setup):
    async with setup.run(inject=False) as run:
        assert await run.owners("POST", MAPS, json={"metadata": {"name": "a"}}) == []
        await run.status("GET", MAPS)
    assert setup.dependents == []
    assert setup.fake.discoveries == []


async def test_kinds_are_discovered_once_and_again_for_a_new_one(setup, run):
    for _ in range(3):
        await run.status("POST", MAPS, json={})
    assert setup.fake.discoveries == ["/api/v1"]
    new = "/apis/new.example/v1"
    assert await run.owners("POST", f"{new}/things", json={}) == []
    setup.fake.kinds[new] = [("things", "Thing", False, ["get", "delete", "create"])]
    await run.owners("POST", f"{new}/things", json={})
    assert "operator-sdk/primary-resource" in setup.fake.sent[-1].body["metadata"]["annotations"]


async def test_a_group_the_server_does_not_know_is_the_servers_to_refuse(setup, run):
    setup.fake.answers = [404, 404]
    async with run.ask("POST", "/apis/nowhere.example/v1/things", json={}) as answer:
        assert (answer.status, (await answer.json())["message"]) == (404, "told to 404")
    assert [sent.method for sent in setup.fake.sent] == ["GET", "POST"]


async def test_a_kind_that_is_gone_is_discovered_again(setup, run):
    demos = "/apis/example.com/v1/namespaces/ns/demos"
    await run.status("POST", demos, json={})
    setup.fake.answers = [404]
    await run.status("POST", demos, json={})
    await run.status("POST", demos, json={})
    assert setup.fake.discoveries == ["/apis/example.com/v1"] * 2


# What is reported


async def test_a_written_kind_is_reported_once_a_run(setup, run):
    for _ in range(2):
        await run.status("POST", MAPS, json={})
        await run.status("PUT", MAPS + "/a", json={})
    assert setup.dependents == [(DEMO, CONFIG_MAP)]
    async with setup.run(TWO) as other:
        await other.status("POST", MAPS, json={})
    assert setup.dependents == [(DEMO, CONFIG_MAP)] * 2


@pytest.mark.parametrize("target", [MAPS, MAPS + "/a", "/api/v1/configmaps?limit=5", MAPS + "?watch=1"])
async def test_a_kind_that_a_run_looks_at_is_reported(setup, run, target):
    setup.fake.chunks.put_nowait(None)
    with contextlib.suppress(aiohttp.ClientError):
        await run.status("GET", target)
    assert setup.dependents == [(DEMO, CONFIG_MAP)]


async def test_a_kind_with_annotated_objects_is_reported(setup, run):
    await run.status("POST", "/api/v1/namespaces", json={})
    assert setup.dependents == [(DEMO, NAMESPACE)]


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("POST", MAPS, 409),
        ("GET", MAPS + "/a", 404),
        ("POST", MAPS + "?dryRun=All", 200),
        ("GET", "/apis/example.com/v1/namespaces/ns/demos/two", 200),
        ("PUT", "/apis/example.com/v1/namespaces/ns/demos/one", 200),
        ("GET", "/api/v1/namespaces/ns/pods/a/log", 200),
        ("GET", "/api/v1/namespaces/ns/events", 200),
        ("DELETE", MAPS + "/a", 200),
        ("GET", "/api/v1", 200),
        ("GET", "/version", 200),
    ],
)
async def test_what_tells_of_no_dependent_is_not_reported(setup, run, method, target, status):
    setup.fake.answers = [status]
    await run.status(method, target, **({"json": {}} if method != "GET" else {}))
    assert setup.dependents == []


async def test_the_owners_own_kind_is_reported_if_the_run_creates_one(setup, run):
    await run.status("POST", "/apis/example.com/v1/namespaces/ns/demos", json={"metadata": {"name": "two"}})
    assert setup.dependents == [(DEMO, DEMO)]


async def test_a_kind_that_cannot_be_watched_is_not_reported(setup, run):
    setup.fake.kinds["/api/v1"].append(("metrics", "Metric", True, ["get", "delete", "list"]))
    await run.status("GET", "/api/v1/namespaces/ns/metrics")
    assert setup.dependents == []


# How it passes


async def test_answers_pass_as_they_are(setup, run):
    async with run.ask("GET", MAPS) as answer:
        assert answer.headers["X-Kept"] == "yes"
        assert await answer.read() == b"{}"
    setup.fake.answers = [422]
    async with run.ask("DELETE", MAPS + "/a", json={"gracePeriodSeconds": 1}) as answer:
        assert (answer.status, (await answer.json())["message"]) == (422, "told to 422")
    assert setup.fake.sent[-1].body == {"gracePeriodSeconds": 1}


async def test_a_compressed_answer_stays_compressed(setup, run):
    async with run.ask("GET", MAPS + "?zip", {"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert await answer.read() == b"{}"


async def test_a_read_always_reaches_the_server(setup, run):
    for _ in range(3):
        await run.status("GET", MAPS + "/a")
    assert len(setup.fake.sent) == 3


@pytest.mark.parametrize("target", [MAPS + "?watch=1", "/api/v1/namespaces/ns/pods/a/log?follow=true"])
async def test_a_stream_is_read_as_it_comes(setup, run, target):
    async with asyncio.timeout(10), run.ask("GET", target) as answer:
        for text in (b"one\n", b"two\n"):
            setup.fake.chunks.put_nowait(text)
            assert await answer.content.readline() == text


async def test_a_stream_that_breaks_does_not_look_complete(setup, run):
    async with run.ask("GET", MAPS + "?watch=1") as answer:
        setup.fake.chunks.put_nowait(b"half a li")
        await answer.content.readany()
        setup.fake.chunks.put_nowait(None)
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.content.readany()


async def test_a_client_that_leaves_ends_its_request_at_the_server(setup, run):
    answer = await run.ask("GET", MAPS + "?watch=1")
    answer.close()
    await asyncio.wait_for(setup.fake.left.wait(), 10)


async def test_a_server_that_is_down_is_reported_as_such(tmp_path):
    async with (
        Api(FakeCredentials("http://127.0.0.1:1")) as api,
        Proxy(api, 0, tmp_path / "proxy", lambda *_: None) as proxy,
    ):
        setup = Setup(FakeUpstream(), proxy, [])
        async with setup.run() as run:
            for method, target in (("GET", "/version"), ("GET", MAPS), ("POST", MAPS)):
                async with run.ask(method, target) as answer:
                    body = await answer.json()
                assert (answer.status, body["kind"], body["reason"]) == (502, "Status", "BadGateway")
                assert "cannot be reached" in body["message"]


async def test_a_write_whose_kind_cannot_be_discovered_is_refused(setup, run):
    setup.fake.kinds.clear()
    setup.fake.answers = [503]
    async with run.ask("POST", MAPS, json={}) as answer:
        assert (answer.status, (await answer.json())["message"]) == (503, "told to 503")
    assert [sent.method for sent in setup.fake.sent] == ["GET"]


async def test_a_taken_port_fails_at_the_start(setup, tmp_path):
    with setup.proxy.session(ONE) as session:
        port = URL(session.url).port
    async with Api(FakeCredentials("http://127.0.0.1:1")) as api:
        with pytest.raises(OSError, match="address already in use"):
            async with Proxy(api, port, tmp_path / "other", lambda *_: None):
                pass


# Websockets

EXEC = "/api/v1/namespaces/ns/pods/a/exec?command=ls"


@asynccontextmanager
async def connected(run: Run, *protocols: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with run.client.ws_connect(
        run.session.url + EXEC, headers=run.headers, protocols=protocols, max_msg_size=0
    ) as socket:
        yield socket


async def test_a_websocket_is_tunnelled_in_the_protocol_the_server_chose(setup, run):
    async with connected(run, "v5.channel.k8s.io", "v4.channel.k8s.io") as socket:
        assert socket.protocol == "v4.channel.k8s.io"
        for data in (b"\x00hello", b"\x00" * (5 << 20)):
            await socket.send_bytes(data)
            assert await socket.receive_bytes() == b"said " + data
    sent = setup.fake.sent[-1]
    assert sent.headers["Sec-WebSocket-Protocol"] == "v5.channel.k8s.io,v4.channel.k8s.io"
    assert sent.headers["Authorization"] == "Bearer 0"
    await asyncio.wait_for(setup.fake.left.wait(), 10)


async def test_a_server_that_says_goodbye_closes_the_clients_websocket(run):
    async with connected(run) as socket:
        await socket.send_bytes(b"bye")
        assert (await socket.receive()).type == aiohttp.WSMsgType.CLOSE


async def test_a_client_that_drops_a_websocket_ends_it_at_the_server(setup, run):
    async with connected(run) as socket:
        await socket.send_bytes(b"x")
        await socket.receive_bytes()
        await run.client.close()
        await asyncio.wait_for(setup.fake.left.wait(), 10)


async def test_a_refused_websocket_says_why(setup, run):
    setup.fake.websockets = False
    headers = run.headers | {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    async with run.client.get(EXEC, headers=headers | {"Sec-WebSocket-Key": "x" * 22 + "=="}) as answer:
        assert (answer.status, (await answer.json())["message"]) == (400, "no such container")


async def test_a_websocket_needs_a_token_too(setup, run):
    run.headers = {}
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with connected(run):
            pass
    assert refused.value.status == 401


async def test_a_websocket_ends_with_its_run(setup):
    async with setup.run() as other:
        with setup.proxy.session(ONE) as session:
            other.headers = {"Authorization": f"Bearer {session.token}"}
            tunnel = connected(other)
            socket = await tunnel.__aenter__()
        assert (await asyncio.wait_for(socket.receive(), 10)).type != aiohttp.WSMsgType.BINARY
        await tunnel.__aexit__(None, None, None)
    await asyncio.wait_for(setup.fake.left.wait(), 10)


async def test_any_other_upgrade_is_answered_like_a_plain_request(run):
    assert await run.status("POST", EXEC, {"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}) == 400
