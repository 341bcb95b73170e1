"""A tool's context has the user and the run, adds events, and is hidden from the model."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from pydantic import JsonValue

from app.agents import domain as agents
from app.agents.dispatcher import ToolDispatcher, ToolError, arguments_of
from app.agents.events import AgentCompleted, AgentStarted, AgentThinking, RunEvent, ToolCompleted, ToolExecuting
from app.agents.tool_context import Caller, ToolContext
from app.main import create_app
from test_framework.fixtures import MakeSettings
from test_framework.servers import in_loop
from tests.agents.context import AgentsContext

THE_TYPES = (AgentStarted, AgentThinking, ToolExecuting, ToolCompleted, AgentCompleted)
STARTED, THINKING, EXECUTING, COMPLETED, ENDED = (kind.event_type for kind in THE_TYPES)
OF_THE_RUNNER: dict[str, RunEvent] = {
    STARTED: AgentStarted(run_id="run-1", message=""),
    EXECUTING: ToolExecuting(run_id="run-1", tool="", arguments={}),
    COMPLETED: ToolCompleted(run_id="run-1", status="ok"),
    ENDED: AgentCompleted(run_id="run-1", status="completed"),
}
ADA = Caller("ada", "run-1")
kept: list[ToolContext] = []


async def whose(text: str, context: ToolContext) -> JsonValue:
    """Say whose run this is."""
    for number in (1, 2):
        await context.emit(AgentThinking(run_id=context.run_id, thought=f"{text} {number}"))
    return [context.user_id, context.run_id]


async def fail(context: ToolContext) -> None:
    await context.emit(AgentThinking(run_id=context.run_id, thought="before"))
    raise LookupError("not found")


async def take_anything(context: ToolContext, **rest: JsonValue) -> JsonValue:
    return [context.user_id, rest]


async def emit(kind: str, context: ToolContext) -> None:
    await context.emit(OF_THE_RUNNER[kind])


async def keep(context: ToolContext) -> None:
    kept.append(context)


async def wait(context: ToolContext) -> None:
    await context.emit(AgentThinking(run_id=context.run_id, thought="never shown"))
    await asyncio.Event().wait()


async def call(tool: str, arguments: dict[str, JsonValue]) -> tuple[JsonValue, list[str]]:
    """Call a tool; returns its result or its failure, and what was announced."""
    announced: list[str] = []

    async def announce(event: RunEvent) -> None:
        announced.append(event.event_type)

    dispatcher = ToolDispatcher([whose, fail, take_anything, emit, keep, wait])
    try:
        return await dispatcher.call(tool, arguments, announce, ADA), announced
    except ToolError as error:
        return str(error), announced


async def test_a_tool_knows_its_user_and_run() -> None:
    result, announced = await call("whose", {"text": "hm"})

    assert result == ["ada", "run-1"]
    assert announced == [EXECUTING, COMPLETED, THINKING, THINKING]


async def test_what_a_failing_tool_emitted_is_written() -> None:
    result, announced = await call("fail", {})

    assert result == "fail raised LookupError: not found"
    assert announced == [EXECUTING, COMPLETED, THINKING]


@pytest.mark.parametrize("tool", ["whose", "take_anything"])
async def test_a_model_can_not_fill_the_context(tool: str) -> None:
    result, announced = await call(tool, {"text": "hm", "context": {"user_id": "bob"}})

    assert result == f"invalid arguments for tool {tool}: context is not an argument"
    assert announced == [EXECUTING, COMPLETED]


def test_the_context_is_no_part_of_the_schema() -> None:
    schema = arguments_of(whose).json_schema()

    assert schema["properties"].keys() == {"text"}
    assert schema["required"] == ["text"]


@pytest.mark.parametrize("kind", OF_THE_RUNNER)
async def test_a_tool_can_not_write_what_only_the_runner_may(kind: str) -> None:
    result, announced = await call("emit", {"kind": kind})

    assert str(result).startswith(f"emit raised OrderError: a tool can't emit {kind}")
    assert announced == [EXECUTING, COMPLETED]


async def test_a_context_that_outlives_its_call_emits_nothing() -> None:
    await call("keep", {})

    with pytest.raises(RuntimeError, match="the call of this tool in run run-1 has ended"):
        await kept.pop().emit(AgentThinking(run_id="run-1", thought="late"))


async def test_a_scripted_run_shows_what_its_tool_emitted(make_settings: MakeSettings) -> None:
    settings = make_settings()
    async with (
        in_loop(settings, create_app(settings, domains=[partial(agents.create, tools=[whose, wait])])) as server,
        AgentsContext(server) as ada,
    ):
        run = await ada.run_agent('!call whose {"text": "hm"}')

        completed, first, second = (event.payload for event in ada.capture.events[2:5])
        assert completed["result"] == [ada.user.id, run.id]
        assert [first, second] == [{"thought": "hm 1"}, {"thought": "hm 2"}]
        ada.capture.assert_grammatical(run.id)


async def test_without_count_words_a_scripted_run_completes(make_settings: MakeSettings) -> None:
    settings = make_settings()
    async with (
        in_loop(settings, create_app(settings, domains=[partial(agents.create, tools=[whose])])) as server,
        AgentsContext(server) as ada,
    ):
        run = await ada.run_agent("hello")

        ended = ada.capture.events[-1]
        assert ended.payload["status"] == "completed"
        assert "there is no tool 'count_words'; there are whose" in str(ended.payload)
        ada.capture.assert_grammatical(run.id)


async def test_a_cancelled_call_writes_nothing_after_its_end(make_settings: MakeSettings) -> None:
    settings = make_settings()
    async with (
        in_loop(settings, create_app(settings, domains=[partial(agents.create, tools=[wait])])) as server,
        AgentsContext(server) as ada,
    ):
        run = await ada.client.start_run("!call wait {}")
        await ada.receive()
        await ada.receive()
        await ada.client.cancel(run.id)
        await ada.wait_for_end(run.id)

        assert ada.capture.kinds(run.id) == [STARTED, EXECUTING, COMPLETED, ENDED]
