"""A small client of the Kubernetes API: requests and watches with a client certificate."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.parse
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

Object = dict[str, Any]

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
FIELD_MANAGER = "localcluster"


class ApiError(Exception):
    """The API server refused a request; `code` is the HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Client:
    """Requests to one API server. Each uses a connection of its own, so threads may share a client."""

    def __init__(self, host: str, port: int, pki: Path) -> None:
        self._host = host
        self._port = port
        self._tls = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self._tls.load_cert_chain(pki / "admin.crt", pki / "admin.key")

    def _send(
        self, method: str, path: str, body: Object | None, content: str, timeout: float
    ) -> tuple[http.client.HTTPSConnection, http.client.HTTPResponse]:
        connection = http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=self._tls)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, {"Content-Type": content, "Accept": "application/json"})
            answer = connection.getresponse()
            if answer.status >= 300:
                raise ApiError(answer.status, _message(answer.read()))
        except BaseException:
            connection.close()
            raise
        return connection, answer

    def request(
        self, method: str, path: str, body: Object | None = None, content: str = "application/json"
    ) -> Object:
        """Send one request and return the object in the answer.

        Raises ApiError when refused, OSError or http.client.HTTPException when the server cannot be reached.
        """
        connection, answer = self._send(method, path, body, content, timeout=15)
        with closing(connection):
            found: Object = json.loads(answer.read())
            return found

    def get(self, path: str) -> Object:
        """Read one object or list."""
        return self.request("GET", path)

    def text(self, path: str) -> str:
        """Read an answer that is not an object, such as a health check's."""
        connection, answer = self._send("GET", path, None, "application/json", timeout=5)
        with closing(connection):
            return answer.read().decode()

    def apply(self, path: str, body: Object) -> Object:
        """Server-side apply."""
        query = urllib.parse.urlencode({"fieldManager": FIELD_MANAGER, "force": "true"})
        return self.request("PATCH", f"{path}?{query}", body, APPLY)

    def watch(self, path: str, version: str, seconds: int = 300) -> Iterator[Object]:
        """Changes after a resource version, for at most `seconds`; bookmarks are among them.

        Raises ApiError with code 410 when the version is too old: list again.
        """
        query = urllib.parse.urlencode(
            {
                "watch": "true",
                "allowWatchBookmarks": "true",
                "resourceVersion": version,
                "timeoutSeconds": str(seconds),
            }
        )
        url = f"{path}?{query}"
        connection, answer = self._send("GET", url, None, "application/json", timeout=seconds + 15)
        with closing(connection):
            for line in answer:
                event: Object = json.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError(event["object"].get("code", 500), event["object"].get("message", ""))
                yield event


def _message(body: bytes) -> str:
    text = body.decode(errors="replace")
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text[:500]
