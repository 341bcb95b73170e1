"""The service counts what it commits, publishes and receives, and the numbers are the same: those of a process with the bus well."""

from __future__ import annotations

import asyncio

import pytest

from commitstream.lifecycle.plan import StartupReport
from test_framework.running.telling import tell_delivery, tell_startup
from test_framework.servers import Server
from test_framework.waiting import becomes
from tests.agents.clients import isolated_users
from tests.agents.context import AgentsContext
from tests.agents.mission_critical.ways import THE_FIVE

USERS = 8


@pytest.fixture
def server_processes() -> int:
    """One, also in full: every process counts for itself."""
    return 1


async def test_what_is_committed_is_published_and_received_and_shown(server: Server) -> None:
    async with isolated_users(server, USERS) as users:
        await asyncio.gather(*(user.run_agent("how many words are these") for user in users))
        client = users[0].client

        async def counted() -> list[int]:
            told = await client.metrics()
            return [int(told[f"events_{word}_total"]) for word in ("committed", "published", "received", "delivered")]

        async def all_counted() -> bool:
            return await counted() == [USERS * len(THE_FIVE)] * 4

        try:
            await becomes(all_counted, "four equal numbers")
        finally:
            committed, published, _, _ = await counted()
            tell_delivery(committed, published, sum(len(user.capture.events) for user in users))


async def test_the_start_tells_how_long_each_phase_took(server: Server) -> None:
    async with AgentsContext(server) as ada:
        report: StartupReport = await ada.client.startup()

        tell_startup(report)
        assert report.ready
        assert all(phase.seconds >= 0 for phase in report.phases)
