"""
The API server as Ansible sees it: what a run creates through it gets the run's resource as its owner.

One server for all runs, at one URL, so that clients share what they discover about the API. Who asks is told
by a token that each run gets and that ends with it; the run never sees our credentials.
"""

import asyncio
import logging
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.client import responses
from pathlib import Path
from typing import Any, Protocol

import aiohttp
from aiohttp import web

from paradedb_runner.kube.api import Api, ApiError
from paradedb_runner.kube.objects import GroupVersionKind, Key
from paradedb_runner.logs import fields
from paradedb_runner.observe.metrics_server import write_self_signed
from paradedb_runner.proxy.api_paths import ApiPath, Catalog, Served, is_plain, parse_path
from paradedb_runner.proxy.manifests import add_owner
from paradedb_runner.proxy.ownership import ManifestError, Owner, is_ownable
from paradedb_runner.proxy.upstream import LONGEST_LINE, Upstream, copy

log = logging.getLogger(__name__)

_LARGEST_MANIFEST = 4 << 20  # bytes; the server itself takes 3 MiB
_QUICK = 1 << 16  # bytes that are parsed at once; YAML takes seconds for a MiB
_WATCHABLE = {"list", "watch"}
_APPLY = "apply-patch+yaml"


class DependentObserver(Protocol):
    """Told that resources of a kind have dependents of another, so that those can be watched."""

    def __call__(self, owner: GroupVersionKind, dependent: GroupVersionKind) -> None: ...


@dataclass
class Session:
    """What a run needs to reach the proxy. ``certificate`` is the file that the server's must match."""

    url: str
    token: str
    certificate: Path
    owner: Owner
    inject: bool
    reported: set[GroupVersionKind] = field(default_factory=set)
    requests: set[asyncio.Task[Any]] = field(default_factory=set)


class Proxy:
    """The server. Use as an async context manager. ``directory`` is a private one, for the certificate."""

    def __init__(self, api: Api, port: int, directory: Path, on_dependent: DependentObserver) -> None:
        """``port`` 0 takes any that is free."""
        self._upstream = Upstream(api.credentials)
        self._catalog = Catalog(api)
        self._port, self._directory, self._on_dependent = port, directory, on_dependent
        self._sessions: dict[str, Session] = {}

    async def __aenter__(self) -> "Proxy":
        """Raises OSError if the port is taken."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._upstream)
            self._directory.mkdir(mode=0o700, exist_ok=True)
            write_self_signed(self._directory)
            self._certificate = self._directory / "tls.crt"
            port = await stack.enter_async_context(_serving(self._handle, self._port, self._directory))
            self._url = f"https://127.0.0.1:{port}"
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @contextmanager
    def session(self, owner: Owner, *, inject: bool = True) -> Iterator[Session]:
        """Let a run in while the block lasts; then its token is void and what it still asks is ended."""
        token = secrets.token_urlsafe(32)
        session = Session(self._url, token, self._certificate, owner, inject)
        self._sessions[token] = session
        try:
            yield session
        finally:
            del self._sessions[token]
            for task in session.requests:
                task.cancel()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        session = self._sessions.get(_token(request))
        if session is None:
            return refusal(401, "this is the proxy of an Ansible run, which needs the token of a run")
        task = asyncio.current_task()
        assert task
        session.requests.add(task)
        try:
            return await self._answer(request, session)
        except ApiError as error:
            return refusal(error.status, error.message)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("a run's request failed: %r", error, extra=fields(session.owner.key))
            return refusal(502, f"the API server cannot be reached: {error or type(error).__name__}")
        finally:
            session.requests.discard(task)

    async def _answer(self, request: web.BaseRequest, session: Session) -> web.StreamResponse:
        if not is_plain(request.raw_path):
            return refusal(400, "the path of the request is not one of the API")
        if any(name.lower().startswith("impersonate-") for name in request.headers):
            return refusal(403, "a run cannot impersonate others")
        if request.headers.get("Upgrade", "").lower() == "websocket":  # any other is answered like none
            return await self._upstream.tunnel(request)
        path = parse_path(request.raw_path.partition("?")[0])
        kind = await self._catalog.find(path) if path and session.inject and _matters(request, path) else None
        if path is None or kind is None or not is_ownable(kind.gvk, kind.verbs):
            async with self._upstream.send(request) as answer:
                return await copy(answer, request)
        body, owned = None, request.method == "GET" and kind.gvk != session.owner.key.gvk
        if request.method != "GET":
            body, owned = await _claimed(request, session, path, kind)
        async with self._upstream.send(request, body) as answer:
            if answer.ok and owned and kind.verbs >= _WATCHABLE and not request.query.get("dryRun"):
                self._report(session, kind.gvk)
            if answer.status == 404 and request.method == "POST":
                self._catalog.forget(path)  # its definition is gone, and the next one may differ
            return await copy(answer, request)

    def _report(self, session: Session, dependent: GroupVersionKind) -> None:
        if dependent not in session.reported:
            session.reported.add(dependent)
            self._on_dependent(session.owner.key.gvk, dependent)


def refusal(status: int, message: str) -> web.Response:
    """An answer of our own, in the form in which clients expect the server to refuse."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": responses.get(status, "Unknown").replace(" ", ""),
        "code": status,
    }
    return web.json_response(body, status=status)


def _matters(request: web.BaseRequest, path: ApiPath) -> bool:
    """
    Whether a request is one that gives an object its owner, or a read: that a run looks at a kind is how we
    learn after a restart what it created before.

    A patch other than apply is how a run changes a part of what may be somebody else's.
    """
    if path.subresource:
        return False
    if request.method == "PATCH":
        return _APPLY in request.headers.get("Content-Type", "")
    return request.method in ("GET", "PUT") or (request.method == "POST" and not path.name)


async def _claimed(
    request: web.BaseRequest, session: Session, path: ApiPath, kind: Served
) -> tuple[bytes, bool]:
    """The body to send, and whether the object in it belongs to the owner."""
    data = await _read(request)
    dependent = Key(kind.gvk, path.namespace if kind.namespaced else "", path.name)
    arguments = data, request.headers.get("Content-Type", ""), session.owner, dependent
    try:
        changed = (
            await asyncio.to_thread(add_owner, *arguments) if len(data) > _QUICK else add_owner(*arguments)
        )
    except ManifestError as error:
        about = fields(session.owner.key, dependent=str(dependent))
        log.warning("a run writes an object that gets no owner: %s", error, extra=about)
        return data, False
    return (data, False) if changed is None else (changed, True)


async def _read(request: web.BaseRequest) -> bytes:
    data = bytearray()
    async for chunk in request.content.iter_any():
        data += chunk
        if len(data) > _LARGEST_MANIFEST:
            raise ApiError(413, f"the object is larger than {_LARGEST_MANIFEST} bytes")
    return bytes(data)


def _token(request: web.BaseRequest) -> str:
    """The bearer token; empty unless there is exactly one Authorization header, and it holds one."""
    headers = request.headers.getall("Authorization", [])
    scheme, _, token = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    return token.strip() if scheme.lower() == "bearer" else ""


@asynccontextmanager
async def _serving(
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], port: int, certificate: Path
) -> AsyncIterator[int]:
    """Serve on the loopback device while the block runs; the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate / "tls.crt", certificate / "tls.key")
    server = web.Server(
        handler,
        handler_cancellation=True,  # who goes away no longer waits for the answer
        access_log=None,
        auto_decompress=False,
        max_line_size=LONGEST_LINE,
        max_field_size=LONGEST_LINE,
    )
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context, reuse_address=True).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
