"""A turn that is broken off at its most awkward moment."""

from __future__ import annotations

import asyncio
import gc

from app.agents.dispatcher import ToolDispatcher
from app.agents.events import RunEvent
from app.agents.model import ModelCall
from app.agents.tool_context import Caller
from app.agents.tools import TOOLS
from app.agents.turn import JournaledTurn


async def write(event: RunEvent) -> None:
    raise AssertionError(f"{event!r} was written after its end")


async def record(call: ModelCall) -> None:
    raise AssertionError(f"{call} was never made")


async def test_an_act_that_is_cancelled_before_it_began_leaves_nothing_behind() -> None:
    turn = JournaledTurn(ToolDispatcher(TOOLS), write, record, Caller("ada", "a run"))
    thinking = asyncio.create_task(turn.think("too late"))
    await asyncio.sleep(0)  # the act is there, and has its first turn of the loop still before it

    thinking.cancel()
    await asyncio.wait([thinking])

    assert thinking.cancelled()
    gc.collect()  # a coroutine that was never awaited warns when it is collected, and a warning fails the test
