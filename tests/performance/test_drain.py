"""What a process does when it is told to end: it says so, ends its runs, shows their end, and goes."""

from __future__ import annotations

import asyncio
import signal
import time

from app.events.kinds import EventKind
from test_framework.fixtures import MakeSettings
from test_framework.servers import in_process
from test_framework.test_context import TestContext
from test_framework.waiting import becomes

GONE_SECONDS = 8.0
PATIENT_SECONDS = 20.0


async def test_a_process_that_ends_shows_the_end_of_its_runs_before_it_lets_sockets_go(
    make_settings: MakeSettings,
) -> None:
    async with in_process(make_settings()) as server, TestContext(server) as ada:
        run = await ada.client.start_run("!think going on\n!stall 60")
        await ada.wait_for_seq(2)

        server.process.send_signal(signal.SIGTERM)
        closed = await ada.wait_for_close(GONE_SECONDS)
        code = await asyncio.wait_for(server.process.wait(), GONE_SECONDS)

        ada.capture.assert_grammatical(run.id)
        ada.capture.assert_kinds(run.id, [EventKind.AGENT_STARTED, EventKind.AGENT_THINKING, EventKind.AGENT_COMPLETED])
        assert ada.capture.events[-1].payload["status"] == "interrupted"
        assert (closed.code, code) == (1012, 0)


async def test_a_second_signal_ends_a_patient_process_at_once(make_settings: MakeSettings) -> None:
    patient = make_settings(environment="production", drain_seconds=PATIENT_SECONDS)
    async with in_process(patient) as server, TestContext(server) as ada:
        await ada.client.start_run("!stall 60")

        async def draining() -> bool:
            return (await ada.client.ready()).status == "draining"

        began = time.monotonic()

        server.process.send_signal(signal.SIGTERM)
        await becomes(draining, "the process draining")
        server.process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(server.process.wait(), GONE_SECONDS)

        assert time.monotonic() - began < PATIENT_SECONDS / 2
