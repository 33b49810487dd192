"""/healthz and /readyz, which say something: that watches live, and that they are in sync."""

import asyncio
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from paradedb_runner.informer import Informer

_DEAD_AFTER = 900.0  # seconds; a healthy watch says something every minute


def health_app(informers: Iterable[Informer[Any]]) -> web.Application:
    """
    The application. /healthz fails when a watch heard nothing for 15 minutes; that the event loop still turns
    is shown by answering at all. /readyz fails until every watch holds the current state.
    """

    def live(informer: Informer[Any]) -> bool:
        return asyncio.get_running_loop().time() - informer.heard < _DEAD_AFTER

    async def healthz(_: web.Request) -> web.Response:
        return _answer("no word from the API server about", [each for each in informers if not live(each)])

    async def readyz(_: web.Request) -> web.Response:
        return _answer("not in sync:", [each for each in informers if not each.synced.is_set()])

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app


def _answer(complaint: str, bad: list[Informer[Any]]) -> web.Response:
    if not bad:
        return web.Response(text="ok")
    names = ", ".join(sorted({informer.gvk.kind for informer in bad}))
    return web.Response(status=500, text=f"{complaint} {names}")
