"""The service with a real model behind it: what a user is shown, whatever words the model finds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from app.agents.events import AgentCompleted, AgentStarted, ToolCompleted
from test_framework.fixtures import MakeSettings
from test_framework.servers import Server, in_process
from tests.agents.context import AgentsContext

pytestmark = [pytest.mark.needs("model"), pytest.mark.timeout(180)]

ANSWER_SECONDS = 120.0
TASK = "Call the tool count_words with the text 'one two three four' and answer with the number that it gives, nothing else."


@pytest_asyncio.fixture
async def server(make_settings: MakeSettings, real_model: dict[str, Any]) -> AsyncIterator[Server]:
    async with in_process(make_settings(**real_model)) as running:
        yield running


async def test_a_run_shows_its_events_in_order_and_the_tools_it_called(server: Server) -> None:
    async with AgentsContext(server) as ada:
        run = await ada.run_agent(TASK, deadline=ANSWER_SECONDS)

        ada.capture.assert_grammatical(run.id)
        ada.capture.assert_unbroken()
        shown = ada.capture.of_run(run.id)
        called = [event.payload for event in shown if event.type == ToolCompleted.event_type]
        assert shown[0].type == AgentStarted.event_type
        assert ("count_words", "ok") in [(call["tool"], call["status"]) for call in called]
        assert shown[-1].payload["status"] == "completed"
        assert "4" in str(shown[-1].payload["answer"])


async def test_the_journal_holds_what_the_socket_was_shown(server: Server) -> None:
    async with AgentsContext(server) as ada:
        run = await ada.run_agent("Say hello.", deadline=ANSWER_SECONDS)

        assert await ada.client.events(run.id) == ada.capture.of_run(run.id)
        assert (await ada.client.run(run.id)).status == "completed"


async def test_a_key_that_is_not_accepted_fails_the_run_and_is_shown_to_nobody(
    make_settings: MakeSettings, real_model: dict[str, Any]
) -> None:
    wrong = real_model | {"model_key": "sk-nobody-accepts-this"}
    async with in_process(make_settings(**wrong)) as server, AgentsContext(server) as ada:
        run = await ada.run_agent("Say hello.", deadline=ANSWER_SECONDS)

        last = ada.capture.of_run(run.id)[-1]
        assert (last.type, last.payload["status"]) == (AgentCompleted.event_type, "failed")
        assert "sk-nobody-accepts-this" not in str([event.payload for event in ada.capture.events])
