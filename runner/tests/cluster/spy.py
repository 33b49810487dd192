"""The API server over plain HTTP, with a memory of what was asked."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client

_DISCOVERY = re.compile(r"/apis?(/[^/]+){0,2}")
_OURS = {"connection", "transfer-encoding"}  # headers of one connection, not of the answer


class Spy(ThreadingHTTPServer):
    """Forwards everything with the rights of ``api``; ``asked`` lists method and path of every request."""

    daemon_threads = True

    def __init__(self, api: client.ApiClient) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pool, self.host = api.rest_client.pool_manager, api.configuration.host
        self.asked: list[tuple[str, str]] = []

    def handle_error(self, *_: Any) -> None:
        """Who asked has hung up."""

    def discoveries(self) -> list[str]:
        """The requests that ask which kinds there are."""
        return [path for method, path in self.asked if method == "GET" and _DISCOVERY.fullmatch(path)]

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig that leads here."""
        path.write_text(
            yaml.safe_dump(
                {
                    "clusters": [
                        {"name": "spy", "cluster": {"server": f"http://127.0.0.1:{self.server_port}"}}
                    ],
                    "users": [{"name": "spy", "user": {}}],
                    "contexts": [{"name": "spy", "context": {"cluster": "spy", "user": "spy"}}],
                    "current-context": "spy",
                }
            )
        )
        return path


class _Handler(BaseHTTPRequestHandler):
    server: Spy

    def do_GET(self) -> None:
        self.server.asked.append((self.command, self.path.partition("?")[0]))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {
            name: value for name, value in self.headers.items() if name.lower() not in {"host", *_OURS}
        }
        answer = self.server.pool.request(
            self.command,
            self.server.host + self.path,
            body=body,
            headers=headers,
            preload_content=False,
            redirect=False,
        )
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in _OURS:
                self.send_header(name, value)
        self.end_headers()
        for chunk in answer.stream(1 << 16, decode_content=False):
            self.wfile.write(chunk)
        answer.release_conn()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def spying(api: client.ApiClient) -> Iterator[Spy]:
    """A spy for as long as the block lasts."""
    with Spy(api) as spy:
        threading.Thread(target=spy.serve_forever, daemon=True).start()
        yield spy
        spy.shutdown()
