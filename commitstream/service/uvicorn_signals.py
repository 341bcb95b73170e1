"""Drain before uvicorn closes connections, and end it after a failed start (`uvicorn auction:app`).

uvicorn waits for open responses before it ends the lifespan, and a stream of events never ends: without this the
process would hang for as long as one client watches. `commitstream.service.server` routes its signals itself, and ends
after a failed start by itself.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn

from commitstream.engine import Engine
from commitstream.lifecycle.signals import SignalRoute, signals_routed


@asynccontextmanager
async def drained_on_signal(engine: Engine, server: uvicorn.Server | None) -> AsyncIterator[None]:
    """Drain at the first signal to uvicorn, then pass it on; pass a second one on at once."""
    if server is None:
        yield
        return
    draining: set[asyncio.Task[None]] = set()

    def drain(number: signal.Signals) -> None:
        draining.add(asyncio.create_task(_drain(engine, route, number), name="drain"))

    def force(number: signal.Signals) -> None:
        route.pass_on(number)

    with signals_routed(drain, force) as routed:
        assert routed is not None  # this is the main thread
        route = routed
        yield
        for task in draining:
            task.cancel()
        if draining:
            await asyncio.wait(draining)


async def _drain(engine: Engine, route: SignalRoute, number: signal.Signals) -> None:
    try:
        await engine.drain()
    finally:
        route.pass_on(number)


def signalled_server() -> uvicorn.Server | None:
    """Return the server that this process's stop signals go to, where that is uvicorn's."""
    if threading.current_thread() is not threading.main_thread():
        return None
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return server if isinstance(server, uvicorn.Server) else None
