"""A tool call that nobody would see never happens: the service does not start with a dispatcher that keeps it quiet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import JsonValue

from app.agents import domain as agents
from app.agents.dispatcher import Announce, ToolDispatcher, ToolError
from app.agents.events import AgentThinking, RunEvent, ToolCompleted, ToolExecuting
from app.agents.model import Arguments, Turn
from app.agents.tool_context import Caller
from app.main import create_app
from app.settings import Settings
from commitstream.lifecycle.startup import StartupError
from test_framework.websocket.event_path import EventPath
from tests.agents.agent_room import agent_room, kinds
from tests.agents.mission_critical.ways import CALL, ENDED, STARTED

CALLED = ToolExecuting(run_id="a run", tool="a tool", arguments={})
RETURNED = ToolCompleted(run_id="a run", status="ok")


def announcing(*told: RunEvent, raises: bool = True) -> type[ToolDispatcher]:
    """A dispatcher that announces just this of a call to a tool that is not there."""

    class Careless(ToolDispatcher):
        async def call(self, tool: str, arguments: Arguments, announce: Announce, caller: Caller) -> JsonValue:
            for event in told:
                await announce(event)
            if raises:
                raise ToolError(f"there is no tool {tool!r}")
            return None

    return Careless


CARELESS = {
    "announces nothing": (announcing(), "announced nothing"),
    "announces only that it calls": (announcing(CALLED), r"announced \['tool_executing'\]"),
    "announces only that it called": (announcing(RETURNED), r"announced \['tool_completed'\]"),
    "announces the end first": (announcing(RETURNED, CALLED), r"announced \['tool_completed', 'tool_executing'\]"),
    "announces the call twice": (
        announcing(CALLED, CALLED, RETURNED),
        r"announced \['tool_executing', 'tool_executing', ",
    ),
    "announces the end twice": (
        announcing(CALLED, RETURNED, RETURNED),
        r"announced \['tool_executing', 'tool_completed', 'tool_completed'\]",
    ),
    "announces it as a thought": (
        announcing(AgentThinking(run_id="a run", thought="hm")),
        r"announced \['agent_thinking'\]",
    ),
    "is quiet and content": (announcing(raises=False), "announced nothing"),
}


@pytest.mark.parametrize(("dispatcher", "complaint"), CARELESS.values(), ids=CARELESS)
async def test_a_service_does_not_start_with_one_that(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, dispatcher: type[ToolDispatcher], complaint: str
) -> None:
    monkeypatch.setattr(agents, "ToolDispatcher", dispatcher)
    app = create_app(settings)

    async with app.router.lifespan_context(app):
        with pytest.raises(StartupError, match=f"(?s)runner.*Careless {complaint}.*for a tool call"):
            await app.state.startup.wait_ready(10)

        readiness = await app.state.health.assess()
        assert (readiness.status, app.state.startup.report().ready) == ("failed", False)


async def test_a_service_starts_with_one_that_tells_everything(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "ToolDispatcher", announcing(CALLED, RETURNED))
    app = create_app(settings)

    async with app.router.lifespan_context(app):
        await app.state.startup.wait_ready(10)

        assert app.state.startup.report().ready


async def fine() -> str:
    return "fine"


async def raise_at_once() -> None:
    raise RuntimeError("at once")


async def raise_later() -> None:
    await asyncio.sleep(0)
    raise LookupError("later")


async def raise_a_group() -> None:
    raise ExceptionGroup("several", [ValueError("one"), TypeError("another")])


async def run_out_of_time_by_itself() -> None:
    raise TimeoutError("its own")


async def assert_something() -> None:
    raise AssertionError("it is not so")


async def take_for_ever() -> None:
    await asyncio.Event().wait()


async def return_no_json() -> Any:
    return {1, object()}


async def raise_what_has_no_words() -> None:
    raise KeyError


async def have_its_task_cancelled() -> None:
    raise asyncio.CancelledError


FAILING: dict[Callable[[], Awaitable[JsonValue]], str] = {
    raise_at_once: "raise_at_once raised RuntimeError: at once",
    raise_later: "raise_later raised LookupError: later",
    raise_a_group: "raise_a_group raised ExceptionGroup: several (2 sub-exceptions)",
    run_out_of_time_by_itself: "run_out_of_time_by_itself took longer than 0.05 s",
    assert_something: "assert_something raised AssertionError: it is not so",
    take_for_ever: "take_for_ever took longer than 0.05 s",
    return_no_json: "return_no_json raised PydanticSerializationError",
    raise_what_has_no_words: "raise_what_has_no_words raised KeyError: ",
}


@pytest.mark.parametrize("tool", FAILING, ids=lambda tool: tool.__name__)
async def test_both_events_are_told_of_a_tool_that_fails_so(
    path: EventPath, tool: Callable[[], Awaitable[JsonValue]]
) -> None:
    async def act(turn: Turn) -> str:
        with pytest.raises(ToolError):
            await turn.call(tool.__name__, {})
        return str(await turn.call("fine", {}))

    async with agent_room(path, act, [tool, fine], tool_seconds=0.05) as room:
        events = await room.carry_out()

    assert kinds(events) == [STARTED, *CALL, *CALL, ENDED]
    assert events[1].payload["tool"] == events[2].payload["tool"] == tool.__name__
    assert events[2].payload["status"] == "failed"
    assert str(events[2].payload["error"]).startswith(FAILING[tool])
    assert (events[4].payload["status"], events[4].payload["result"]) == ("ok", "fine")
    assert path.bus.early == []


async def test_both_events_are_told_of_a_tool_that_cancels_its_run(path: EventPath) -> None:
    async def act(turn: Turn) -> str:
        return str(await turn.call("have_its_task_cancelled", {}))

    async with agent_room(path, act, [have_its_task_cancelled]) as room:
        events = await room.carry_out()

    assert kinds(events) == [STARTED, *CALL, ENDED]
    assert [event.payload["status"] for event in events[2:]] == ["cancelled", "interrupted"]


async def test_a_tool_that_fails_without_the_model_heeding_it_ends_the_run_as_failed(path: EventPath) -> None:
    async def act(turn: Turn) -> str:
        return str(await turn.call("raise_at_once", {}))

    async with agent_room(path, act, [raise_at_once]) as room:
        events = await room.carry_out()

    assert kinds(events) == [STARTED, *CALL, ENDED]
    assert [event.payload["status"] for event in events[2:]] == ["failed", "failed"]
