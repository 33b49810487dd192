"""Awaiting what must not be cut short."""

import asyncio


async def outlast[T](task: "asyncio.Future[T]") -> T:
    """
    Wait for a task to its end, however often the waiter is cancelled meanwhile, and only then be cancelled.

    Cleaning up after a run is such a task: a second SIGTERM or a lost lease must not leave processes behind.
    """
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled:
        raise cancelled
    return task.result()
