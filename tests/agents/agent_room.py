"""A runner on a test's own database, with a model that does what the test tells it, act by act."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from app.agents.dispatcher import ToolDispatcher
from app.agents.events import AgentCompleted
from app.agents.model import Turn
from app.agents.runner import Runner
from app.agents.runs import Origin, Runs
from app.agents.tables import Run
from app.agents.tool_context import Tool
from commitstream.envelope import Envelope
from test_framework.websocket.event_path import EventPath
from test_framework.websocket_capture import WebSocketEventCapture

Act = Callable[[Turn], Awaitable[str]]


@dataclass
class ToldModel:
    """A model whose answer is a function of the test's."""

    act: Act
    name: str = "told"

    async def answer(self, message: str, turn: Turn) -> str:
        return await self.act(turn)

    async def close(self) -> None:
        """Nothing to let go of."""


@dataclass
class AgentRoom:
    """One process that works on runs, as far as the database can tell."""

    path: EventPath
    runs: Runs
    runner: Runner
    origin: Origin = field(default_factory=lambda: Origin("ada"))

    async def start(self, message: str = "go", key: str | None = None) -> Run:
        return await self.runner.start(self.origin, message, key)

    async def carry_out(self) -> list[Envelope]:
        """Start a run, and give its events once it is over."""
        return await self.ended(await self.start())

    async def ended(self, run: Run) -> list[Envelope]:
        """Wait until a run is over; its events obey the grammar, to the end, and its row says what the last one does."""
        await self.path.bus.hear(AgentCompleted.event_type, run.id)
        row = await self.row(run.id)
        events = await self.events(run.id)
        capture = WebSocketEventCapture(events=events)
        capture.assert_grammatical(run.id)
        assert events[-1].payload["status"] == row.status
        return events

    async def row(self, run_id: str) -> Run:
        run = await self.runs.get(self.origin.user_id, run_id)
        assert run is not None
        return run

    async def events(self, run_id: str) -> list[Envelope]:
        page = await self.path.journal.about(self.runs.stream_of(self.origin.user_id), run_id)
        return [Envelope.model_validate_json(frame) for frame in page.frames]


@asynccontextmanager
async def agent_room(
    path: EventPath, act: Act, tools: Iterable[Tool] = (), *, owner: str = "here", tool_seconds: float = 5.0
) -> AsyncIterator[AgentRoom]:
    """Open a runner until the block ends."""
    runs = Runs(path.database, path.journal, owner)
    runner = Runner(runs, ToldModel(act), ToolDispatcher(tools, timeout=tool_seconds))
    await runner.open()
    try:
        yield AgentRoom(path, runs, runner)
    finally:
        await runner.close()


def kinds(events: Sequence[Envelope]) -> list[str]:
    return [event.type for event in events]
