"""A way to an S3 server that can be made to fail:  gate.py PORT HOST PORT ORDERS

Passes TCP connections on, from the first port to the host and its port. The file ORDERS says how, and is read
again for every piece that passes:

    open             everything passes (also when there is no file)
    cut BYTES        when clients have sent so many since the order, connections are reset, new ones too
    hold BYTES       then nothing passes any more, and no connection ends, until there is another order

When an order has taken effect there is a file ORDERS.done; it goes with the next order.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from pathlib import Path

PIECE = 262144  # bytes
PAUSE = 0.1  # seconds
# Closing with this option resets the connection: struct linger of socket(7), on, 0 seconds.
RESET = struct.pack("ii", 1, 0)


class Gate:
    """The connections and the order that holds for them."""

    def __init__(self, orders: Path, host: str, port: int) -> None:
        self._orders = orders
        self._done = orders.with_name(f"{orders.name}.done")
        self._target = (host, port)
        self._present = ("open", 0)
        self._sent = 0
        self._connections: set[asyncio.StreamWriter] = set()

    def _order(self) -> tuple[str, int]:
        """What the file says now; another order begins to count anew."""
        try:
            word, _, number = self._orders.read_text().strip().partition(" ")
        except FileNotFoundError:
            word, number = "open", ""
        order = (word or "open", int(number or 0))
        if order != self._present:
            self._present, self._sent = order, 0
            self._done.unlink(missing_ok=True)
        return order

    async def _may_pass(self, size: int) -> None:
        """Wait until a piece of a client's may go on; ConnectionError when it may not."""
        self._order()
        self._sent += size
        while True:
            word, limit = self._order()
            if word == "open" or self._sent <= limit:
                return
            self._done.touch()
            if word == "cut":
                for writer in list(self._connections):
                    reset(writer)
                raise ConnectionResetError
            await asyncio.sleep(PAUSE)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counted: bool) -> None:
        while piece := await reader.read(PIECE):
            await self._may_pass(len(piece) if counted else 0)
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client to its end."""
        self._connections.add(writer)
        try:
            await self._may_pass(0)
            there, back = await asyncio.open_connection(*self._target)
            self._connections.add(back)
            try:
                await asyncio.gather(self._pass(reader, back, True), self._pass(there, writer, False))
            finally:
                self._connections.discard(back)
                back.close()
        except OSError:
            reset(writer)
        finally:
            self._connections.discard(writer)
            writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as a server does that has died."""
    with contextlib.suppress(OSError, AttributeError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


async def serve(port: int, host: str, target: int, orders: Path) -> None:
    gate = Gate(orders, host, target)
    server = await asyncio.start_server(gate.connected, None, port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])))
