"""Waiting for the world: where nothing tells a test that a state is reached, it looks again and again, until a deadline."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

LOOK_SECONDS = 0.01
DEADLINE_SECONDS = 5.0


async def becomes(there: Callable[[], bool | Awaitable[bool]], what: str, deadline: float = DEADLINE_SECONDS) -> float:
    """Wait until something is so, and tell how long it took; a time-out says what was awaited."""
    began = time.monotonic()
    while True:
        found = there()
        if await found if inspect.isawaitable(found) else found:
            return time.monotonic() - began
        if time.monotonic() - began > deadline:
            raise AssertionError(f"{what} was awaited for {deadline:g} s in vain")
        await asyncio.sleep(LOOK_SECONDS)


def comes_true(there: Callable[[], bool], what: str, deadline: float = DEADLINE_SECONDS) -> float:
    """The same where there is no loop."""
    began = time.monotonic()
    while not there():
        if time.monotonic() - began > deadline:
            raise AssertionError(f"{what} was awaited for {deadline:g} s in vain")
        time.sleep(LOOK_SECONDS)
    return time.monotonic() - began
