"""
A TCP relay between the runner and the API server, to do to connections what networks do.

It passes TLS through: its kubeconfig names the server that the certificate is for.
"""

import socket
import struct
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends RST


class Relay:
    """Forwards every connection, until told otherwise."""

    def __init__(self, kubeconfig: Path) -> None:
        self._config: dict[str, Any] = yaml.safe_load(kubeconfig.read_text())
        self._cluster = self._config["clusters"][0]["cluster"]
        server = urllib.parse.urlsplit(self._cluster["server"])
        assert server.hostname
        self._upstream = (server.hostname, server.port or 443)
        self._connections: list[_Connection] = []
        self._frozen = False
        self._open(0)
        self._port = self._listener.getsockname()[1]

    def kubeconfig(self, path: Path, user: dict[str, Any] | None = None) -> Path:
        """Write a kubeconfig that leads here, as the same user or as ``user``."""
        cluster = {"server": f"https://127.0.0.1:{self._port}", "tls-server-name": self._upstream[0]}
        config = self._config | {
            "clusters": [{"name": "relay", "cluster": self._cluster | cluster}],
            "users": [{"name": "relay", "user": user or self._config["users"][0]["user"]}],
            "contexts": [{"name": "relay", "context": {"cluster": "relay", "user": "relay"}}],
            "current-context": "relay",
        }
        path.write_text(yaml.safe_dump(config))
        return path

    def freeze(self) -> None:
        """
        Let all connections go half open, for good: no byte, no end, as if the other side had lost its power.
        Until ``mend`` new ones are accepted and no more.
        """
        self._frozen = True
        for connection in self._connections:
            connection.dead = True

    def refuse(self) -> None:
        """Reset all connections, and until ``mend`` refuse new ones."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def mend(self) -> None:
        """Forward new connections again."""
        self._frozen = False
        if self._listener.fileno() < 0:
            self._open(self._port)

    def cut(self) -> None:
        """Reset all connections."""
        while self._connections:
            self._connections.pop().reset()

    def close(self) -> None:
        with suppress(OSError):
            self.refuse()

    def _open(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # raised when the listener is closed
            while True:
                near, _ = listener.accept()
                connection = _Connection(near, socket.create_connection(self._upstream))
                connection.dead = self._frozen
                self._connections.append(connection)
                connection.start()


class _Connection:
    """A pair of sockets, a thread for each direction. A dead one swallows all, its end included."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self._near, self._far = near, far
        self.dead = False

    def start(self) -> None:
        for source, target in ((self._near, self._far), (self._far, self._near)):
            threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def reset(self) -> None:
        for end in (self._near, self._far):
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if not self.dead:
                    target.sendall(data)
            if not self.dead:
                target.shutdown(socket.SHUT_WR)


@contextmanager
def relaying(kubeconfig: str) -> Iterator[Relay]:
    """A relay for as long as the block lasts."""
    relay = Relay(Path(kubeconfig))
    try:
        yield relay
    finally:
        relay.close()
