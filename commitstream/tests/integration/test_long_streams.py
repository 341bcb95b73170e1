"""The database's work for an append or a subscription doesn't grow with the events of a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, nullcontext
from types import SimpleNamespace
from typing import cast

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncSession

from commitstream import Event, Order, Topic
from commitstream.db.database import Database
from commitstream.journal import Journal
from commitstream.topics import Stream, Topics
from test_framework.websocket.event_path import EventPath, event_path

EVENTS = 2_000
FEW = 10


class OrderPlaced(Event, subject="order_id"):
    order_id: str


class Noted(Event):
    note: str


SHOPS = Topic(
    "shop",
    events=[OrderPlaced, Noted],
    may_watch=lambda user, key: True,
    order=Order(first=[OrderPlaced, Noted], follows={OrderPlaced: [], Noted: [Noted]}),
)
OF_ORDERS, OF_NOTES = SHOPS.stream("orders"), SHOPS.stream("notes")


@pytest.fixture
async def path(database_url: str) -> AsyncIterator[EventPath]:
    async with event_path(database_url, [SHOPS]) as path:
        async with path.database.transaction() as session:
            orders = (OrderPlaced(order_id=str(number)) for number in range(EVENTS))
            await path.journal.append(session, OF_ORDERS, *orders)
            await path.journal.append(session, OF_NOTES, *[Noted(note="")] * EVENTS)
        yield path


async def rows_read(session: AsyncSession) -> int:
    """How many events Postgres has read on the connection of a session."""
    read = "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relname = 'commitstream_events'"
    return int(await session.scalar(text(read)) or 0)


@pytest.mark.parametrize(
    ("stream", "written"),
    [(OF_ORDERS, OrderPlaced(order_id="new")), (OF_ORDERS, Noted(note="first")), (OF_NOTES, Noted(note="next"))],
    ids=["a new subject", "the first without a subject", "one more without a subject"],
)
async def test_the_order_is_checked_without_reading_the_stream(path: EventPath, stream: Stream, written: Event) -> None:
    async with path.database.transaction() as session:
        before = await rows_read(session)
        async with session.begin_nested():
            await path.journal.append(session, stream, written)

        assert await rows_read(session) - before <= FEW


async def test_heads_are_found_without_reading_the_streams(path: EventPath) -> None:
    async with path.database.reading() as session:

        def reading() -> AbstractAsyncContextManager[AsyncSession]:
            return nullcontext(session)

        database = cast("Database", SimpleNamespace(dialect="postgresql", reading=reading))
        journal, before = Journal(database, path.outbox, Topics([SHOPS])), await rows_read(session)

        assert await journal.heads([str(OF_ORDERS), "shop:none"]) == {str(OF_ORDERS): EVENTS}
        assert await rows_read(session) - before <= FEW


async def test_events_of_any_number_of_streams_take_one_statement(path: EventPath) -> None:
    executed: list[Connection] = []

    def record(connection: Connection, *_: object) -> None:
        executed.append(connection)

    async def statements(streams: int) -> int:
        async with path.database.transaction() as session:
            for number in range(streams):
                await path.journal.append(session, SHOPS.stream(f"new {streams} {number}"), Noted(note=""))
            written_by = (await session.connection()).sync_connection
        return sum(connection is written_by for connection in executed)

    engine = path.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", record)
    try:
        assert [await statements(1), await statements(3)] == [1, 1]
    finally:
        event.remove(engine, "before_cursor_execute", record)
