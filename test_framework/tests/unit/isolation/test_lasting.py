"""What is made in a fixture's context for somebody who no longer waits for it is lost to nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import pytest

from test_framework.isolation.lasting import Lasting


async def make() -> str:
    return "it"


async def never() -> str:
    await asyncio.Event().wait()
    return "it"


async def undone(work: Coroutine[None, None, str], turns: int) -> list[str]:
    """What is undone where whoever waits is cancelled after so many turns of the loop."""
    found: list[str] = []
    waiting = asyncio.create_task(Lasting()(work, found.append))
    for _ in range(turns):
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    return found


async def test_what_is_done_when_whoever_waits_is_cancelled_is_undone() -> None:
    assert await undone(make(), 2) == ["it"]


async def test_work_that_is_cancelled_with_whoever_waits_leaves_nothing_to_undo() -> None:
    assert await undone(never(), 2) == []


async def test_what_whoever_waits_could_take_stays() -> None:
    found: list[str] = []

    assert await Lasting()(make(), found.append) == "it"
    assert found == []
