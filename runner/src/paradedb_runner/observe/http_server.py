"""Starting a small HTTP server on an address as Go programs write it."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


def parse_address(text: str) -> tuple[str | None, int] | None:
    """
    ``:8443``, ``127.0.0.1:8443`` or ``[::1]:8443``; None for ``0``, which turns a server off. Raises
    ValueError.
    """
    if text == "0":
        return None
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError(f"{text!r} is not an address such as :8443")
    return host.strip("[]") or None, int(port)


@asynccontextmanager
async def serving(
    app: web.Application, address: str, context: ssl.SSLContext | None = None
) -> AsyncIterator[None]:
    """Serve while the block runs."""
    place = parse_address(address)
    if place is None:
        yield
        return
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, *place, ssl_context=context, reuse_address=True).start()
        yield
    finally:
        await runner.cleanup()
