"""Isolation by rollback: nothing is ever committed, and nothing above the driver can tell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from commitstream.topics import user_stream
from test_framework.isolation import rollback
from test_framework.isolation.databases import Databases
from test_framework.isolation.levels import Level
from test_framework.isolation.template import connect
from test_framework.service_pool import ServicePool
from test_framework.websocket.event_path import EventPath, event_path, thought

ADA = user_stream("ada")


@pytest_asyncio.fixture
async def undone(worker: Databases, pool: ServicePool) -> AsyncIterator[EventPath]:
    """An event path whose database forgets everything."""
    async with worker.give(pool, Level.ROLLBACK, "rolls back") as given:
        outside = await connect(given.url, "somebody outside")
        async with event_path(given.url) as wired:
            yield wired
            assert await outside.fetchval("SELECT count(*) FROM commitstream_events") == 0
        await outside.close()


async def commit(path: EventPath, *texts: str) -> None:
    async with path.database.transaction() as session:
        for said in texts:
            await path.journal.append(session, ADA, thought(said))


async def test_every_commit_is_published_once_and_nobody_outside_sees_a_row(undone: EventPath) -> None:
    await commit(undone, "a")
    await commit(undone, "b", "c")
    await undone.settle()

    assert len(await undone.written(str(ADA))) == 3
    assert undone.bus.frames(str(ADA)) == await undone.written(str(ADA))
    assert undone.tally.committed == undone.tally.published == 3


async def test_a_savepoint_that_is_rolled_back_is_never_published(undone: EventPath) -> None:
    async with undone.database.transaction() as session:
        await undone.journal.append(session, ADA, thought("kept"))
        async with session.begin_nested() as savepoint:
            await undone.journal.append(session, ADA, thought("dropped"))
            await savepoint.rollback()
    await undone.settle()

    assert len(undone.bus.frames(str(ADA))) == 1
    assert undone.bus.frames(str(ADA)) == await undone.written(str(ADA))
    assert undone.bus.early == []


async def test_a_transaction_that_is_rolled_back_leaves_the_ones_before_it(undone: EventPath) -> None:
    await commit(undone, "kept")

    async def write_and_execute(statement: str) -> None:
        async with undone.database.transaction() as session:
            await undone.journal.append(session, ADA, thought("dropped"))
            await session.execute(text(statement))

    with pytest.raises(ProgrammingError, match="no_such_table"):
        await write_and_execute("SELECT * FROM no_such_table")
    with pytest.raises(DBAPIError, match="division by zero"):
        await write_and_execute("SELECT 1 / 0")
    await commit(undone, "kept too")
    await undone.settle()

    assert undone.bus.frames(str(ADA)) == await undone.written(str(ADA))
    assert len(undone.bus.frames(str(ADA))) == 2


async def test_tasks_take_turns_and_all_of_them_commit(undone: EventPath) -> None:
    await asyncio.gather(*(commit(undone, str(number)) for number in range(20)))
    await undone.settle()

    assert len(await undone.written(str(ADA))) == 20


async def test_a_transaction_within_another_s_turn_is_told_why_it_can_not_be(
    undone: EventPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollback, "TURN_SECONDS", 0.1)

    async with undone.database.transaction() as session:
        await session.execute(text("SELECT 1"))
        with pytest.raises(rollback.OneConnectionError, match=r'take turns.*the task.*\n.*isolation\("reset"\)'):
            await undone.written(str(ADA))


async def test_the_next_test_finds_nothing(worker: Databases, pool: ServicePool) -> None:
    for _ in range(3):
        async with worker.give(pool, Level.ROLLBACK, "writes") as given, event_path(given.url) as path:
            assert await path.written(str(ADA)) == []
            await commit(path, "a")
    async with worker.give(pool, Level.RESET, "next") as given, event_path(given.url) as path:
        assert await path.written(str(ADA)) == []
