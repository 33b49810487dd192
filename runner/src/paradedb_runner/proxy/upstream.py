"""
The API server as the proxy reaches it: with our credentials, nothing remembered, nothing decoded, and chunk
by chunk, so that a watch or a log is read as it comes.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from paradedb_runner.kube.api import CredentialsSource

log = logging.getLogger(__name__)

_HOP_BY_HOP = {
    *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"),
    *("te", "trailer", "transfer-encoding", "upgrade"),
}
_OF_THIS_HOP = {"host", "authorization", "expect"}  # said anew on the way to the server
_NOBODYS = ("x-remote-",)  # how a front proxy names users: never a client's to say
_WEBSOCKET = "sec-websocket-"
_CLOSE_SECONDS = 2.0  # the other side of a tunnel gets for saying goodbye
_LIMITS = aiohttp.ClientTimeout(total=None, sock_connect=10)
LONGEST_LINE = 1 << 16  # of a request or a header: selectors may be long


class Upstream:
    """Sends what the proxy lets pass. Use as an async context manager."""

    def __init__(self, credentials: CredentialsSource) -> None:
        self._credentials = credentials

    async def __aenter__(self) -> "Upstream":
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=_LIMITS,
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    @asynccontextmanager
    async def send(
        self, request: web.BaseRequest, body: bytes | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """
        Send a request on, with another body if one is given. Leaving early closes the connection.

        If the server refuses our credentials they are read anew and it is asked once more, unless the body
        has passed through and is gone.
        """
        data = request.content if body is None and request.body_exists else body
        answer = await self._request(request, data)
        if answer.status == 401 and not isinstance(data, asyncio.StreamReader | aiohttp.StreamReader):
            answer.close()
            await self._credentials.reload()
            answer = await self._request(request, data)
        try:
            yield answer
        finally:
            answer.close()

    async def _request(self, request: web.BaseRequest, data: Any) -> aiohttp.ClientResponse:
        headers = end_to_end(request.headers)
        if isinstance(data, bytes):
            headers.popall("Content-Length", None)
            data = BytesIO(data)  # written piece by piece, where bytes would block the loop
        answer = await self._session.request(
            request.method,
            self._url(request),
            data=data,
            headers=await self._with_credentials(headers),
            allow_redirects=False,
            ssl=self._credentials.ssl_context,
            server_hostname=self._credentials.server_name,
        )
        log.debug("%s %s: %d", request.method, request.raw_path, answer.status)
        return answer

    async def tunnel(self, request: web.BaseRequest) -> web.StreamResponse:
        """Join a websocket of a client with one of the server, in the protocol the server chose."""
        headers = end_to_end(request.headers)
        for name in [name for name in headers if name.lower().startswith(_WEBSOCKET)]:
            headers.popall(name, None)
        offered = request.headers.get("Sec-WebSocket-Protocol", "")
        protocols = tuple(filter(None, map(str.strip, offered.split(","))))
        try:
            server = await self._session.ws_connect(
                self._url(request),
                protocols=protocols,
                headers=await self._with_credentials(headers),
                timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_SECONDS),
                max_msg_size=0,
                ssl=self._credentials.ssl_context,
                server_hostname=self._credentials.server_name,
            )
        except aiohttp.WSServerHandshakeError:
            # Its text is lost. Asked without the upgrade, the server says the same and nothing is executed.
            async with self.send(request) as answer:
                return await copy(answer, request)
        chosen = (server.protocol,) if server.protocol else ()
        client = web.WebSocketResponse(
            protocols=chosen, timeout=_CLOSE_SECONDS, compress=False, max_msg_size=0
        )
        try:
            await client.prepare(request)
            await _join(client, server)
        finally:
            await server.close()
        return client

    def _url(self, request: web.BaseRequest) -> URL:
        return URL(self._credentials.host + request.raw_path, encoded=True)

    async def _with_credentials(self, headers: CIMultiDict[str]) -> CIMultiDict[str]:
        headers.update(await self._credentials.headers())
        return headers


def end_to_end(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """The headers that are not about one connection or about who we are."""
    named = ",".join(headers.getall("Connection", ())).lower()
    dropped = _HOP_BY_HOP | _OF_THIS_HOP | {name.strip() for name in named.split(",")}
    return CIMultiDict(
        (name, value)
        for name, value in headers.items()
        if name.lower() not in dropped and not name.lower().startswith(_NOBODYS)
    )


async def copy(answer: aiohttp.ClientResponse, request: web.BaseRequest) -> web.StreamResponse:
    """Hand an answer on. One that breaks off breaks off for the client too: it must not look complete."""
    response = web.StreamResponse(
        status=answer.status, reason=answer.reason, headers=end_to_end(answer.headers)
    )
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
    except (aiohttp.ClientError, TimeoutError, OSError):
        if request.transport:
            request.transport.abort()
    return response


async def _join(client: web.WebSocketResponse, server: aiohttp.ClientWebSocketResponse) -> None:
    """Pass messages both ways until one side closes; then the other is closed."""
    ways = [asyncio.ensure_future(_pump(client, server)), asyncio.ensure_future(_pump(server, client))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
    await asyncio.gather(client.close(), server.close(), return_exceptions=True)


async def _pump(source: Any, sink: Any) -> None:
    async for message in source:
        if message.type == aiohttp.WSMsgType.BINARY:
            await sink.send_bytes(message.data)
        elif message.type == aiohttp.WSMsgType.TEXT:
            await sink.send_str(message.data)
