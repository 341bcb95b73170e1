"""What a process does when it is told to end: it says so, ends its runs, shows their end, and goes."""

from __future__ import annotations

import asyncio
import signal

from app.agents.events import AgentCompleted, AgentStarted, AgentThinking
from test_framework.fixtures import MakeSettings
from test_framework.servers import in_process
from test_framework.services.service import Service
from tests.agents.context import AgentsContext

GONE_SECONDS = 8.0
REST_SECONDS = 15.0


async def test_a_process_that_ends_shows_the_end_of_its_runs_before_it_lets_sockets_go(
    make_settings: MakeSettings,
) -> None:
    async with in_process(make_settings()) as server, AgentsContext(server) as ada:
        run = await ada.client.start_run("!think going on\n!stall 60")
        await ada.wait_for_seq(2)

        server.process.send_signal(signal.SIGTERM)
        closed = await ada.wait_for_close(GONE_SECONDS)
        code = await asyncio.wait_for(server.process.wait(), GONE_SECONDS)

        ada.capture.assert_grammatical(run.id)
        ada.capture.assert_kinds(run.id, [kind.event_type for kind in (AgentStarted, AgentThinking, AgentCompleted)])
        assert ada.capture.events[-1].payload["status"] == "interrupted"
        assert (closed.code, code) == (1012, 0)


async def test_a_process_whose_database_has_frozen_ends_in_its_time_and_says_what_it_left(
    make_settings: MakeSettings, postgres: Service
) -> None:
    async with in_process(make_settings(shutdown_timeout_seconds=0.2)) as server, AgentsContext(server) as ada:
        run = await ada.client.start_run("!think going on\n!stall 60")
        await ada.wait_for_seq(2)

        with postgres.paused():
            server.process.send_signal(signal.SIGTERM)
            closed = await ada.wait_for_close(REST_SECONDS)
            code = await asyncio.wait_for(server.process.wait(), REST_SECONDS)

        assert (closed.code, code) == (1012, 1)
        assert "1 runs could not be ended" in server.said
        assert run.id in server.said
        assert "Traceback" not in server.said.partition("could not be ended")[0]
