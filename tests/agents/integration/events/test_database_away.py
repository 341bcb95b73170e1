"""Postgres breaks connections, shuts its doors and goes away in the middle of runs: every event is written once all the same."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from app.agents.model import Turn
from commitstream.hub import Hub
from commitstream.watchers import Live, QueueWatcher
from test_framework.faults.lost_connections import allow_connections, end_connections, maintenance
from test_framework.services.service import Service
from test_framework.websocket.event_path import EventPath
from tests.agents.agent_room import agent_room

# server and database are both ours to break
pytestmark = [pytest.mark.usefixtures("postgres"), pytest.mark.isolation("clone")]

THOUGHTS = 30
DEADLINE_SECONDS = 15.0


async def think(turn: Turn) -> str:
    for number in range(THOUGHTS):
        await turn.think(str(number))
        await asyncio.sleep(0.01)
    return "done"


@pytest.mark.parametrize("breaks", [1, 10])
async def test_a_run_outlives_connections_that_break(path: EventPath, database_url: str, breaks: int) -> None:
    async with agent_room(path, think) as room:
        run = await room.start()
        for _ in range(breaks):
            await end_connections(database_url)
            await asyncio.sleep(0.03)
        events = await room.ended(run)

    assert [event.payload.get("thought") for event in events[1:-1]] == [str(number) for number in range(THOUGHTS)]
    assert events[-1].payload["status"] == "completed"


async def test_a_run_waits_at_a_shut_door(path: EventPath, database_url: str) -> None:
    async with agent_room(path, think) as room:
        run = await room.start()
        await allow_connections(database_url, allowed=False)
        await end_connections(database_url)
        await asyncio.sleep(0.5)
        await allow_connections(database_url, allowed=True)
        events = await room.ended(run)

    assert [event.payload.get("thought") for event in events[1:-1]] == [str(number) for number in range(THOUGHTS)]
    assert events[-1].payload["status"] == "completed"


async def test_a_run_outlives_a_server_that_is_killed_and_comes_back(
    path: EventPath, database_url: str, postgres: Service
) -> None:
    async with maintenance(database_url) as (connection, name):
        await connection.execute(text(f'ALTER DATABASE "{name}" SET synchronous_commit = on'))  # as in production
    async with agent_room(path, think) as room:
        run = await room.start()
        await asyncio.to_thread(postgres.kill)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(postgres.ensure)
        events = await room.ended(run)

    assert [event.payload.get("thought") for event in events[1:-1]] == [str(number) for number in range(THOUGHTS)]
    assert events[-1].payload["status"] == "completed"


async def test_watchers_are_shown_everything_when_the_database_is_back(path: EventPath, database_url: str) -> None:
    path.bus.healthy = False
    hub, box = Hub(path.journal, path.bus, path.tally), QueueWatcher(0)
    await hub.start()
    await hub.attach(box, "user:ada")
    async with agent_room(path, think) as room:
        run = await room.start()
        await allow_connections(database_url, allowed=False)
        await end_connections(database_url)
        await asyncio.sleep(0.5)
        await allow_connections(database_url, allowed=True)
        events = await room.ended(run)

    shown: list[str] = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        while len(shown) < len(events) and (batch := await box.get()):
            shown += [] if isinstance(batch, Live) else batch.frames
    await hub.close()
    assert shown == await path.written("user:ada")
