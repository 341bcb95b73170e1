"""An agent's run on the model of an endpoint: what its user is shown, and what stands in the database of it."""

from __future__ import annotations

import json
from functools import partial

from app.agents import domain as agents
from app.agents.events import AgentThinking
from app.agents.tool_context import ToolContext
from app.main import create_app
from test_framework.fixtures import MakeSettings
from test_framework.servers import in_loop
from tests.agents.context import AgentsContext
from tests.agents.full.model.endpoint import chat_server, refuses, says
from tests.agents.integration.calls import recorded


async def test_a_real_model_works_on_a_run_with_the_services_tools_and_leaves_every_request(
    make_settings: MakeSettings, database_url: str
) -> None:
    replies = refuses(503), says("Let me see.", ("count_words", '{"text": "a b c"}')), says("Three.")
    async with chat_server(*replies) as endpoint:
        settings = make_settings(model="openai", model_url=endpoint.url, model_name="tiny", model_key="secret")
        async with in_loop(settings) as server, AgentsContext(server) as ada:
            run = await ada.run_agent("count a b c")

            assert ada.capture.events[-1].payload == {"status": "completed", "answer": "Three."}
            ada.capture.assert_grammatical(run.id)

    calls = await recorded(database_url)
    assert [call.error for call in calls] == ["tiny gave no answer: its endpoint is overloaded (503)", None, None]
    assert [call.answer for call in calls[1:]] == ['Let me see.\ncount_words({"text":"a b c"})', "Three."]
    assert {(call.run_id, call.user_id) for call in calls} == {(run.id, ada.user.id)}


async def note_for_the_user(text: str, context: ToolContext) -> str:
    """Write a note."""
    await context.emit(AgentThinking(run_id=context.run_id, thought=f"{text}, {context.user_id}"))
    return context.run_id


async def test_a_real_models_tool_knows_its_run_and_emits(make_settings: MakeSettings) -> None:
    forged = '{"text": "noted", "context": {"user_id": "bob"}}'
    replies = (
        says(None, ("note_for_the_user", forged)),
        says(None, ("note_for_the_user", '{"text": "noted"}')),
        says("Done."),
    )
    async with chat_server(*replies) as endpoint:
        settings = make_settings(model="openai", model_url=endpoint.url, model_name="tiny")
        app = create_app(settings, domains=[partial(agents.create, tools=[note_for_the_user])])
        async with in_loop(settings, app) as server, AgentsContext(server) as ada:
            run = await ada.run_agent("note this")

    shown = json.dumps(endpoint.asked[0]["tools"])
    assert '"properties": {"text": ' in shown
    assert "context" not in shown
    types = [event.type for event in ada.capture.events]
    call = ["tool_executing", "tool_completed"]
    assert types == ["agent_started", *call, *call, "agent_thinking", "agent_completed"]
    refused, worked, thought = (event.payload for event in ada.capture.events[2:6] if event.type != "tool_executing")
    assert refused["status"] == "failed"
    assert worked["result"] == run.id
    assert thought == {"thought": f"noted, {ada.user.id}"}
    ada.capture.assert_grammatical(run.id)


async def test_a_run_on_a_model_that_lets_nobody_in_fails_and_says_why(make_settings: MakeSettings) -> None:
    async with chat_server(refuses(401)) as endpoint:
        settings = make_settings(model="openai", model_url=endpoint.url, model_name="tiny")
        async with in_loop(settings) as server, AgentsContext(server) as ada:
            await ada.run_agent("hello")

    assert ada.capture.events[-1].payload == {
        "status": "failed",
        "error": "tiny gave no answer: its endpoint refused the key: check APP_MODEL_KEY (401)",
    }
