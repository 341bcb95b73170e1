"""A model's turn on one run; each event is checked and written before the turn continues.

A thought or a tool call can be cancelled between its events, never within a write: a write that has started is
completed, so that the journal and the order agree. When the turn is closed, calls that still run are cancelled first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine

from pydantic import JsonValue

from app.agents.dispatcher import Dispatcher
from app.agents.events import RUN_ORDER, AgentStarted, AgentThinking, RunEvent
from app.agents.model import Arguments, ModelCall
from app.agents.tool_context import Caller
from commitstream.service.tracing import tracer

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 5.0

Write = Callable[[RunEvent], Coroutine[object, object, None]]
Record = Callable[[ModelCall], Awaitable[None]]


class JournaledTurn:
    def __init__(self, dispatcher: Dispatcher, write: Write, record: Record, caller: Caller) -> None:
        self._dispatcher = dispatcher
        self._write = write
        self._record = record
        self._caller = caller
        self._last = AgentStarted.event_type
        self._one_act = asyncio.Lock()
        self._acts: set[asyncio.Task[JsonValue]] = set()
        self._over = False

    async def think(self, thought: str) -> None:
        await self._act(self._announce(AgentThinking(run_id=self._caller.run_id, thought=thought)))

    async def call(self, tool: str, arguments: Arguments) -> JsonValue:
        about = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool}
        with tracer.start_as_current_span("execute_tool", attributes=about):
            return await self._act(self._dispatcher.call(tool, arguments, self._announce, self._caller))

    async def record(self, call: ModelCall) -> None:
        await self._record(call)

    async def close(self) -> None:
        """Cancel the calls that the model has left running, and wait for their last events."""
        self._over = True
        for act in self._acts:
            act.cancel()
        if self._acts:
            _, stuck = await asyncio.wait(self._acts, timeout=CLOSE_SECONDS)
            for act in stuck:
                logger.error("%s still runs after its run ended; further events are discarded", act.get_name())

    async def _act(self, act: Coroutine[object, object, JsonValue]) -> JsonValue:
        task = asyncio.create_task(self._in_turn(act), name="an act of a run")
        self._acts.add(task)
        task.add_done_callback(self._acts.discard)
        task.add_done_callback(
            lambda _: act.close()
        )  # a task that is cancelled before its first step never closes its coroutine
        return await task

    async def _in_turn(self, act: Coroutine[object, object, JsonValue]) -> JsonValue:
        async with self._one_act:
            if self._over:
                raise RuntimeError("the run is over: the model may not act any more")
            return await act

    async def _announce(self, event: RunEvent) -> None:
        RUN_ORDER.check(self._last, event.event_type)
        await _complete(self._write_down(event))

    async def _write_down(self, event: RunEvent) -> None:
        await self._write(event)
        self._last = event.event_type


async def _complete(work: Coroutine[object, object, None]) -> None:
    """Complete a coroutine; a cancellation that comes meanwhile is raised at the next await after it."""
    task = asyncio.create_task(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    me = asyncio.current_task()
    if cancelled and me is not None:
        me.uncancel()
        me.cancel()
    task.result()
