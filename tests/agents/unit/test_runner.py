"""Whatever a model and its tools do, a run's events obey the grammar, and the run ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import JsonValue

from app.agents import runner as runner_module
from app.agents.dispatcher import (
    Announce,
    ToolDispatcher,
    ToolError,
    UninstrumentedDispatcher,
    require_event_emission,
)
from app.agents.events import AgentCompleted, AgentStarted, AgentThinking, ToolCompleted, ToolExecuting
from app.agents.model import Arguments, ModelError, Turn
from app.agents.tool_context import Caller, Tool
from commitstream.service.problems import Draining
from test_framework.websocket.event_path import EventPath
from tests.agents.agent_room import agent_room, kinds

THE_TYPES = (AgentStarted, AgentThinking, ToolExecuting, ToolCompleted, AgentCompleted)
STARTED, THINKING, EXECUTING, COMPLETED, ENDED = (kind.event_type for kind in THE_TYPES)
SOON_SECONDS = 3.0
ONE_CALL = [STARTED, EXECUTING, COMPLETED, ENDED]


async def double(number: int) -> int:
    return number * 2


async def break_down() -> None:
    raise RuntimeError("the tool is broken")


async def linger() -> None:
    await asyncio.Event().wait()


async def return_what_is_no_json() -> Any:
    return object()


async def cancel_itself() -> None:
    raise asyncio.CancelledError


class TestToolCalls:
    @pytest.mark.parametrize(
        ("tool", "arguments", "error"),
        [
            ("break_down", {}, "break_down raised RuntimeError: the tool is broken"),
            ("linger", {}, "linger took longer than 0.02 s"),
            ("no_such_tool", {}, "there is no tool 'no_such_tool'"),
            ("double", {"figure": 1}, "invalid arguments for tool double"),
            ("return_what_is_no_json", {}, "return_what_is_no_json raised PydanticSerializationError"),
        ],
    )
    async def test_a_call_that_fails_is_completed_and_the_model_told(
        self, path: EventPath, tool: str, arguments: Arguments, error: str
    ) -> None:
        async def act(turn: Turn) -> str:
            with pytest.raises(ToolError) as told:
                await turn.call(tool, arguments)
            return str(told.value)

        tools: list[Tool] = [double, break_down, linger, return_what_is_no_json]
        async with agent_room(path, act, tools, tool_seconds=0.02) as room:
            events = await room.carry_out()

        assert kinds(events) == ONE_CALL
        assert events[2].payload["status"] == "failed"
        assert str(events[2].payload["error"]).startswith(error)
        assert str(events[3].payload["answer"]).startswith(error)

    async def test_a_call_that_works_brings_its_result(self, path: EventPath) -> None:
        async def act(turn: Turn) -> str:
            return str(await turn.call("double", {"number": 21}))

        async with agent_room(path, act, [double]) as room:
            events = await room.carry_out()

        assert kinds(events) == ONE_CALL
        assert (events[1].payload["arguments"], events[2].payload["result"]) == ({"number": 21}, 42)
        assert events[3].payload == {"status": "completed", "answer": "42"}

    async def test_calls_at_the_same_time_are_shown_one_after_the_other(self, path: EventPath) -> None:
        async def act(turn: Turn) -> str:
            results = await asyncio.gather(*(turn.call("double", {"number": n}) for n in range(5)), turn.think("hm"))
            return str(results)

        async with agent_room(path, act, [double]) as room:
            events = await room.carry_out()

        assert kinds(events) == [STARTED, *[EXECUTING, COMPLETED] * 5, THINKING, ENDED]

    async def test_a_call_that_the_model_gives_up_is_completed_before_it_goes_on(self, path: EventPath) -> None:
        async def act(turn: Turn) -> str:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await turn.call("linger", {})
            await turn.think("so be it")
            return "done"

        async with agent_room(path, act, [linger]) as room:
            events = await room.carry_out()

        assert kinds(events) == [STARTED, EXECUTING, COMPLETED, THINKING, ENDED]
        assert events[2].payload["status"] == "cancelled"

    async def test_a_call_given_up_while_it_is_announced_is_completed_too(self, path: EventPath) -> None:
        async def act(turn: Turn) -> str:
            calling = asyncio.ensure_future(turn.call("linger", {}))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            calling.cancel()
            await asyncio.wait([calling])
            await turn.think("so be it")
            return "done"

        async with agent_room(path, act, [linger]) as room:
            events = await room.carry_out()

        assert events[-1].payload["status"] == "completed"
        assert THINKING in kinds(events)

    async def test_a_tool_that_cancels_itself_ends_no_more_than_its_run(self, path: EventPath) -> None:
        async def act(turn: Turn) -> str:
            await turn.call("cancel_itself", {})
            return "not reached"

        async with agent_room(path, act, [cancel_itself]) as room:
            events = await room.carry_out()

        assert kinds(events) == ONE_CALL

    async def test_calls_that_a_model_left_behind_are_broken_off_with_its_run(self, path: EventPath) -> None:
        async def act(turn: Turn) -> str:
            await asyncio.gather(turn.call("break_down", {}), turn.call("linger", {}), turn.call("linger", {}))
            return "not reached"

        async with agent_room(path, act, [break_down, linger]) as room:
            async with asyncio.timeout(SOON_SECONDS):
                run = await room.start()
                events = await room.ended(run)
                await room.runner.drain(1.0)
            later = await room.events(run.id)

        assert later == events
        assert events[-1].payload["status"] == "failed"

    async def test_a_turn_that_is_over_takes_no_more_acts(self, path: EventPath) -> None:
        turns: list[Turn] = []

        async def act(turn: Turn) -> str:
            turns.append(turn)
            return "done"

        async with agent_room(path, act) as room:
            run = await room.start()
            events = await room.ended(run)
            with pytest.raises(RuntimeError, match="over"):
                await turns[0].think("one more thing")

            assert await room.events(run.id) == events


class TestEndings:
    @pytest.mark.parametrize(
        ("error", "payload"),
        [
            (ModelError("out of ideas"), {"status": "failed", "error": "out of ideas"}),
            (TimeoutError(), {"status": "failed", "error": "the agent failed; the service's log says why"}),
            (ValueError("secret"), {"status": "failed", "error": "the agent failed; the service's log says why"}),
        ],
    )
    async def test_a_model_that_raises_ends_its_run_as_failed(
        self, path: EventPath, error: Exception, payload: dict[str, JsonValue]
    ) -> None:
        async def act(turn: Turn) -> str:
            await turn.think("hm")
            raise error

        async with agent_room(path, act) as room:
            events = await room.carry_out()

        assert events[-1].payload == payload

    async def test_a_run_that_takes_too_long_ends_as_failed(
        self, path: EventPath, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(runner_module, "RUN_SECONDS", 0.05)

        async def act(turn: Turn) -> str:
            await turn.call("linger", {})
            return "not reached"

        async with agent_room(path, act, [linger]) as room:
            events = await room.carry_out()

        assert kinds(events) == ONE_CALL
        assert events[-1].payload == {"status": "failed", "error": "not done within 0.05 s"}

    async def test_what_the_model_does_against_the_grammar_is_not_written(self, path: EventPath) -> None:
        async def act(turn: Turn) -> str:
            await turn.think("\ud800 is no text")
            return "not reached"

        async with agent_room(path, act) as room:
            events = await room.carry_out()

        assert kinds(events) == [STARTED, ENDED]
        assert events[-1].payload["status"] == "failed"

    async def test_a_process_that_drains_takes_no_more_runs(self, path: EventPath) -> None:
        async def act(turn: Turn) -> str:
            return "done"

        async with agent_room(path, act) as room:
            await room.runner.drain(0)
            with pytest.raises(Draining):
                await room.start()

    async def test_runs_that_end_within_the_deadline_of_a_drain_end_well(self, path: EventPath) -> None:
        go_on = asyncio.Event()

        async def act(turn: Turn) -> str:
            await go_on.wait()
            return "done"

        async with agent_room(path, act) as room:
            run = await room.start()
            draining = asyncio.create_task(room.runner.drain(5.0))
            await asyncio.sleep(0)
            go_on.set()
            await draining

            assert (await room.events(run.id))[-1].payload["status"] == "completed"


class TestInstrumentation:
    async def test_the_service_s_own_dispatcher_announces_every_call(self) -> None:
        await require_event_emission(ToolDispatcher([double]))

    async def test_a_dispatcher_that_announces_nothing_is_refused(self) -> None:
        class Mute(ToolDispatcher):
            async def call(self, tool: str, arguments: Arguments, announce: Announce, caller: Caller) -> JsonValue:
                return None

        with pytest.raises(UninstrumentedDispatcher, match="Mute announced nothing"):
            await require_event_emission(Mute([]))

    async def test_a_dispatcher_that_says_nothing_of_failures_is_refused(self) -> None:
        class Optimist(ToolDispatcher):
            async def call(self, tool: str, arguments: Arguments, announce: Announce, caller: Caller) -> JsonValue:
                await announce(ToolExecuting(run_id=caller.run_id, tool=tool, arguments=dict(arguments)))
                result = await self.tools[tool](**arguments)
                await announce(ToolCompleted(run_id=caller.run_id, status="ok", tool=tool))
                return result

        with pytest.raises(KeyError):
            await require_event_emission(Optimist([]))
