"""The few requests that the benchmark itself makes, cheap enough not to disturb what it measures."""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import urllib3

Object = dict[str, Any]


class ApiRefused(Exception):
    """The API server answered with an error."""


class Api:
    """A client for the administrator of a kubeconfig that tools/localcluster wrote."""

    def __init__(self, kubeconfig: Path) -> None:
        config = json.loads(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        context = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
        )
        with tempfile.NamedTemporaryFile() as both:  # what loads it takes only files
            for field in ("client-certificate-data", "client-key-data"):
                both.write(base64.b64decode(user[field]))
            both.flush()
            context.load_cert_chain(both.name)
        self._server = cluster["server"]
        self._pool = urllib3.PoolManager(maxsize=20, ssl_context=context, retries=False)

    def ready(self) -> bool:
        """Whether the API server serves."""
        try:
            return self._pool.request("GET", f"{self._server}/readyz", timeout=5).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def request(
        self, method: str, path: str, body: Object | None = None, content_type: str = "application/json"
    ) -> Object:
        """One request. Raises ApiRefused."""
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type}
        answer = self._pool.request(method, self._server + path, body=data, headers=headers, timeout=30)
        if answer.status >= 300:
            raise ApiRefused(f"{method} {path}: {answer.status} {answer.data.decode()[:500]}")
        found: Object = json.loads(answer.data)
        return found

    def watch(self, path: str, version: str) -> Iterator[Object]:
        """The events of a collection after a resource version, until the server hangs up."""
        url = f"{self._server}{path}?watch=1&resourceVersion={version}"
        timeout = urllib3.Timeout(connect=5, read=None)
        answer = self._pool.request("GET", url, preload_content=False, timeout=timeout)
        buffered = b""
        for chunk in answer.stream(1 << 16):
            *lines, buffered = (buffered + chunk).split(b"\n")
            yield from map(json.loads, filter(None, lines))
