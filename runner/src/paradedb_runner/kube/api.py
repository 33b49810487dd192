"""A thin asyncio client for the Kubernetes API: raw dicts in and out, errors with their status code."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

import aiohttp

from paradedb_runner.kube.objects import GroupVersionKind, Object
from paradedb_runner.version import VERSION

log = logging.getLogger(__name__)

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
PAGE_SIZE = 500
_JSON = "application/json"
_METADATA = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1,application/json"
_REQUEST = aiohttp.ClientTimeout(total=30, sock_connect=10)
_TRIES = 4
_LONGEST_PAUSE = 30.0


class ApiError(Exception):
    """The server refused. ``retry_after`` is in seconds, when the server said."""

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"HTTP {status}: {message}")
        self.status = status
        self.message = message
        self.retry_after = retry_after


class CredentialsSource(Protocol):
    """What the client needs to know about the server and about us."""

    host: str
    server_name: str | None

    @property
    def ssl_context(self) -> Any:
        """TLS settings; anything aiohttp takes as ``ssl``."""

    async def headers(self) -> dict[str, str]:
        """Headers that prove who we are."""

    async def reload(self) -> None:
        """Read the credentials again."""


class RequestObserver(Protocol):
    """Told about every answer, for metrics."""

    def __call__(self, method: str, status: int) -> None: ...


@dataclass(frozen=True)
class Resource:
    """How a kind is reached over HTTP."""

    gvk: GroupVersionKind
    plural: str
    namespaced: bool
    has_status: bool

    @property
    def hides_status(self) -> bool:
        """
        Whether metadata alone cannot tell a change of the status from any other: most core kinds with a
        status carry no generation.
        """
        return self.has_status and not self.gvk.group

    def collection(self, namespace: str = "") -> str:
        """The path of all objects, in one namespace if one is given and the kind has namespaces."""
        group, version, _ = self.gvk
        prefix = f"/apis/{group}/{version}" if group else f"/api/{version}"
        inside = f"/namespaces/{quote(namespace)}" if namespace and self.namespaced else ""
        return f"{prefix}{inside}/{self.plural}"

    def path(self, namespace: str, name: str) -> str:
        """The path of one object."""
        return f"{self.collection(namespace)}/{quote(name, safe='')}"


class Api:
    """The client. Use as an async context manager; requests may run at the same time."""

    def __init__(self, credentials: CredentialsSource, observe: RequestObserver | None = None) -> None:
        self.credentials = credentials
        self._observe = observe or (lambda method, status: None)
        self._resources: dict[GroupVersionKind, Resource] = {}

    async def __aenter__(self) -> "Api":
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), headers={"User-Agent": f"paradedb-runner/{VERSION}"}
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def get(self, path: str, **params: str | int) -> Object:
        """Read one object or one page."""
        return await self.request("GET", path, params=params)

    async def create(self, path: str, body: Object) -> Object:
        """POST to a collection."""
        return await self.request("POST", path, body=body)

    async def replace(self, path: str, body: Object) -> Object:
        """PUT one object; its resourceVersion makes the write conditional."""
        return await self.request("PUT", path, body=body)

    async def patch(self, path: str, body: Any, content_type: str = MERGE_PATCH) -> Object:
        """PATCH one object."""
        return await self.request("PATCH", path, body=body, content_type=content_type)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: Any = None,
        content_type: str = _JSON,
        accept: str = _JSON,
    ) -> Object:
        """
        Send one request and decode the answer. Raises ApiError, aiohttp.ClientError or TimeoutError.

        Only what the server surely did not act on is sent again: 429 after the pause it asked for, and 401
        once, with credentials read anew.
        """
        data = None if body is None else json.dumps(body).encode()
        refused = False
        for attempt in range(_TRIES):
            try:
                async with self._send(method, path, params, data, content_type, accept, _REQUEST) as response:
                    return await response.json(content_type=None)  # type: ignore[no-any-return]
            except ApiError as error:
                if error.status == 429 and attempt < _TRIES - 1:
                    await asyncio.sleep(min(_LONGEST_PAUSE, error.retry_after or 1.0))
                elif error.status == 401 and not refused:
                    refused = True
                    await self.credentials.reload()
                else:
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def pages(
        self, path: str, page_size: int = PAGE_SIZE, *, selector: str = "", metadata_only: bool = False
    ) -> AsyncIterator[Object]:
        """
        All pages of a list; ``page_size`` 0 asks for everything in one. ``metadata_only`` asks for objects
        without spec, status and data, which a server that cannot do that ignores.
        """
        params: dict[str, str | int] = _selected(selector) | ({"limit": page_size} if page_size else {})
        accept = _METADATA.format("List") if metadata_only else _JSON
        while True:
            page = await self.request("GET", path, params=params, accept=accept)
            yield page
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return
            params["continue"] = token

    async def watch(
        self,
        path: str,
        resource_version: str,
        *,
        server_timeout: int,
        read_timeout: float,
        selector: str = "",
        metadata_only: bool = False,
    ) -> AsyncGenerator[Object]:
        """
        Events from ``resource_version`` on, until the server ends the stream.

        ``read_timeout`` seconds without a byte end it with TimeoutError: a connection whose other side
        vanished looks exactly like a quiet one, and bookmarks make a healthy one never quiet.
        """
        params: dict[str, str | int] = _selected(selector) | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": server_timeout,
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=read_timeout)
        accept = _METADATA.format("") if metadata_only else _JSON
        try:
            async with self._send("GET", path, params, None, _JSON, accept, timeout) as response:
                rest = b""
                async for chunk in response.content.iter_any():  # lines may be longer than any readline takes
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        yield json.loads(line)
        except ApiError as error:
            if error.status == 401:
                await self.credentials.reload()  # for whoever watches again
            raise

    async def resource(self, gvk: GroupVersionKind) -> Resource:
        """Find how the server serves a kind. Raises ApiError 404 if it does not (yet)."""
        if gvk not in self._resources:
            prefix = f"/apis/{gvk.api_version}" if gvk.group else f"/api/{gvk.version}"
            listing = (await self.get(prefix))["resources"]
            names = {item["name"] for item in listing}
            served = [item for item in listing if item["kind"] == gvk.kind and "/" not in item["name"]]
            if not served:
                raise ApiError(404, f"the server has no kind {gvk.kind} in {gvk.api_version}")
            plural = served[0]["name"]
            self._resources[gvk] = Resource(gvk, plural, served[0]["namespaced"], f"{plural}/status" in names)
        return self._resources[gvk]

    def known_namespaced(self, gvk: GroupVersionKind) -> bool:
        """Whether objects of the kind live in namespaces; taken for granted while it was not discovered."""
        return gvk not in self._resources or self._resources[gvk].namespaced

    def forget_resource(self, gvk: GroupVersionKind) -> None:
        """Discover the kind again next time: its definition may have been replaced."""
        self._resources.pop(gvk, None)

    @asynccontextmanager
    async def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] | None,
        data: bytes | None,
        content_type: str,
        accept: str,
        limits: aiohttp.ClientTimeout,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One exchange. Leaving early closes the connection, so an abandoned watch does not linger."""
        headers = await self.credentials.headers() | {"Accept": accept}
        if data is not None:
            headers["Content-Type"] = content_type
        response = await self._session.request(
            method,
            self.credentials.host + path,
            params=params,
            data=data,
            headers=headers,
            timeout=limits,
            ssl=self.credentials.ssl_context,
            server_hostname=self.credentials.server_name,
        )
        try:
            self._observe(method, response.status)
            if response.status > 299:
                raise await _error(response)
            yield response
        finally:
            response.close()


def _selected(selector: str) -> dict[str, str | int]:
    return {"labelSelector": selector} if selector else {}


async def _error(response: aiohttp.ClientResponse) -> ApiError:
    text = await response.text(errors="replace")
    try:
        message = json.loads(text).get("message") or text
    except (ValueError, AttributeError):
        message = text
    pause = response.headers.get("Retry-After", "")
    return ApiError(response.status, message[:1024], float(pause) if pause.isdigit() else None)
