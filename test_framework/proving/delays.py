"""Small delays at await points, drawn from a seed: whatever relies on who is sooner shows it.

A task that could go on is now and then held back for a moment; its own steps keep their order, and so do plain callbacks.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any

import pytest
import pytest_asyncio

SHARE = 0.1


@contextmanager
def delayed(loop: asyncio.AbstractEventLoop, longest_ms: float, seed: str) -> Iterator[None]:
    """Hold back some steps of tasks until the block ends."""
    chance = random.Random(seed)
    call_soon = loop.call_soon

    def call_soon_or_later(callback: Callable[..., object], *given: Any, context: Context | None = None) -> Any:
        if isinstance(getattr(callback, "__self__", None), asyncio.Task) and chance.random() < SHARE:
            return loop.call_later(chance.uniform(0, longest_ms / 1000), callback, *given, context=context)
        return call_soon(callback, *given, context=context)

    loop.call_soon = call_soon_or_later  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        del loop.call_soon


@pytest_asyncio.fixture(autouse=True, scope="session", loop_scope="session")
async def _delays(pytestconfig: pytest.Config) -> AsyncIterator[None]:
    worker = getattr(pytestconfig, "workerinput", {}).get("workerid", "")
    seed = f"{pytestconfig.getoption('randomly_seed')}{worker}"
    with delayed(asyncio.get_running_loop(), pytestconfig.getoption("--delays"), seed):
        yield
