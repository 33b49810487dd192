"""/healthz and /readyz, which say something: that watches live, and that they are in sync."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web

from paradedb_runner.kube.informer import Informer

_DEAD_AFTER = 900.0  # seconds; a healthy watch says something every minute


def health_app(
    informers: Callable[[], Iterable[Informer[Any]]], complaints: Callable[[], Iterable[str]]
) -> web.Application:
    """
    The application. /healthz fails when a watch heard nothing for 15 minutes, or with the ``complaints`` of
    others; that the event loop still turns is shown by answering at all. An answer that refuses counts as
    heard: no restart gives us a right. /readyz fails until every watch holds the current state.
    """

    def live(informer: Informer[Any]) -> bool:
        return asyncio.get_running_loop().time() - informer.heard < _DEAD_AFTER

    async def healthz(_: web.Request) -> web.Response:
        dead = [each for each in informers() if not live(each)]
        return _answer([*_about("no word from the API server about", dead), *complaints()])

    async def readyz(_: web.Request) -> web.Response:
        return _answer(_about("not in sync:", [each for each in informers() if not each.synced.is_set()]))

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app


def _about(complaint: str, bad: list[Informer[Any]]) -> list[str]:
    return [f"{complaint} {', '.join(sorted({informer.gvk.kind for informer in bad}))}"] if bad else []


def _answer(complaints: list[str]) -> web.Response:
    if not complaints:
        return web.Response(text="ok")
    return web.Response(status=500, text="; ".join(complaints))
