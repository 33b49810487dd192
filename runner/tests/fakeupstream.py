"""An API server that does nothing but remember what it was sent, and answer as a test tells it."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from multidict import CIMultiDictProxy

STORED = ["create", "delete", "get", "list", "patch", "update", "watch"]
KINDS: dict[str, list[tuple[str, str, bool, list[str]]]] = {
    "/api/v1": [
        ("configmaps", "ConfigMap", True, STORED),
        ("pods", "Pod", True, STORED),
        ("pods/log", "Pod", True, ["get"]),
        ("events", "Event", True, STORED),
        ("namespaces", "Namespace", False, STORED),
        ("bindings", "Binding", True, ["create"]),
    ],
    "/apis/example.com/v1": [
        ("demos", "Demo", True, STORED),
        ("demos/status", "Demo", True, ["get", "patch"]),
    ],
    "/apis/authorization.k8s.io/v1": [("subjectaccessreviews", "SubjectAccessReview", False, ["create"])],
}


@dataclass
class Sent:
    """One request as it arrived, discovery excepted."""

    method: str
    target: str
    headers: CIMultiDictProxy[str]
    data: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.data)


class FakeUpstream:
    """``answers`` are statuses for the next requests; then it is 200."""

    def __init__(self) -> None:
        self.kinds = {prefix: list(kinds) for prefix, kinds in KINDS.items()}
        self.sent: list[Sent] = []
        self.discoveries: list[str] = []
        self.answers: list[int] = []
        self.chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.left = asyncio.Event()  # a client of a stream is gone
        self.websockets = True

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path in self.kinds and request.method == "GET":
            self.discoveries.append(request.path)
            return web.json_response({"resources": self._resources(request.path)})
        data = await _whole(request)
        self.sent.append(Sent(request.method, request.raw_path, request.headers, data))
        if self.answers:
            status = self.answers.pop(0)
            return web.json_response({"kind": "Status", "message": f"told to {status}"}, status=status)
        if (
            request.path.endswith("/exec")
            and request.headers.get("Upgrade") == "websocket"
            and self.websockets
        ):
            return await self._exec(request)
        if request.path.endswith("/exec"):
            return web.json_response({"kind": "Status", "message": "no such container"}, status=400)
        if "watch" in request.query or "follow" in request.query:
            return await self._stream(request)
        if "zip" in request.query:
            return web.Response(body=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"})
        return web.Response(body=data or b"{}", content_type="application/json", headers={"X-Kept": "yes"})

    def _resources(self, prefix: str) -> list[dict[str, Any]]:
        return [
            {"name": name, "kind": kind, "namespaced": namespaced, "verbs": verbs}
            for name, kind, namespaced, verbs in self.kinds[prefix]
        ]

    async def _stream(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while chunk := await self.chunks.get():
                await response.write(chunk)
        except asyncio.CancelledError:
            self.left.set()
            raise
        if request.transport:
            request.transport.abort()
        return response

    async def _exec(self, request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",), max_msg_size=0)
        await socket.prepare(request)
        async for message in socket:
            if message.data == b"bye":
                break
            await socket.send_bytes(b"said " + message.data)
        self.left.set()
        return socket


@asynccontextmanager
async def running_upstream() -> AsyncIterator[tuple[FakeUpstream, str]]:
    """The server and its URL."""
    fake = FakeUpstream()
    server = web.Server(fake.handle, handler_cancellation=True, access_log=None, max_field_size=1 << 16)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    try:
        yield fake, f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def _whole(request: web.BaseRequest) -> bytes:
    return b"".join([chunk async for chunk in request.content.iter_any()])
