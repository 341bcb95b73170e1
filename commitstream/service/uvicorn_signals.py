"""Drain before uvicorn closes connections, where it is the server (`uvicorn auction:app`).

uvicorn waits for open responses before it ends the lifespan, and a stream of events never ends: without this the
process would hang for as long as one client watches. `commitstream.service.server` routes its signals itself.
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
async def drained_on_signal(engine: Engine) -> AsyncIterator[None]:
    """Drain at the first signal to uvicorn, then pass it on; pass a second one on at once."""
    if not _uvicorn_listens():
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


def _uvicorn_listens() -> bool:
    if threading.current_thread() is not threading.main_thread():
        return False
    return isinstance(getattr(signal.getsignal(signal.SIGTERM), "__self__", None), uvicorn.Server)
