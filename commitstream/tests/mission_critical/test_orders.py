"""The order of event types is checked by the commit, for every writer; a violation leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

from commitstream.db.tables import ConsumerPosition
from commitstream.events import Event
from commitstream.tests.unit.events.auction import LOTS, BidPlaced, Chatted, RoundClosed, RoundOpened
from commitstream.topics import OrderError, Stream, user_stream
from test_framework.websocket.event_path import EventPath, thought

LOT, OTHER = LOTS.stream("42"), LOTS.stream("43")
OPENED, BID, CLOSED = (
    RoundOpened(round_id="one"),
    BidPlaced(round_id="one", amount=1),
    RoundClosed(round_id="one"),
)
ANOTHER = RoundOpened(round_id="two")
BESIDE = {"consumer": "audit", "stream": "lot:42", "seq": 0, "attempts": 0, "owner": "", "free_at": datetime.now(UTC)}


@pytest.fixture(autouse=True)
def _lots(path: EventPath) -> None:
    path.journal.topics.add(LOTS)


async def commit(path: EventPath, *events: Event, stream: Stream = LOT) -> None:
    async with path.database.transaction() as session:
        await path.journal.append(session, stream, *events)


async def types(path: EventPath, stream: Stream = LOT) -> list[str]:
    await path.settle()
    written = await path.written(str(stream))
    assert path.bus.frames(str(stream)) == written
    assert path.bus.early == []
    assert [json.loads(frame)["seq"] for frame in written] == list(range(1, len(written) + 1))
    return [json.loads(frame)["type"] for frame in written]


@pytest.mark.parametrize(
    "events",
    [
        (OPENED, BID, BID, CLOSED),
        (OPENED, ANOTHER, BID, CLOSED, RoundClosed(round_id="two")),
        (Chatted(text="before"), OPENED, Chatted(text="between"), BID, Chatted(text="again"), CLOSED, Chatted(text="")),
    ],
    ids=["one subject", "two subjects in one stream", "types outside of the order"],
)
@pytest.mark.parametrize("each", [True, False], ids=["a commit each", "one commit"])
async def test_what_the_order_allows_is_written(path: EventPath, events: tuple[Event, ...], each: bool) -> None:
    for some in [(event,) for event in events] if each else [events]:
        await commit(path, *some)

    assert await types(path) == [event.event_type for event in events]


@pytest.mark.parametrize(
    ("before", "refused", "complaint"),
    [
        ((), (BID,), "bid_placed can't follow the beginning: expected round_opened"),
        ((OPENED,), (OPENED,), "round_opened can't follow round_opened: expected bid_placed or round_closed"),
        ((OPENED, CLOSED), (BID,), "bid_placed can't follow round_closed: expected nothing more"),
        ((OPENED, ANOTHER), (CLOSED, BID), "bid_placed can't follow round_closed: expected nothing more"),
        ((OPENED,), (Chatted(text="hm"), OPENED), "round_opened can't follow round_opened"),
    ],
    ids=["no beginning", "twice", "after the end", "within one transaction", "behind another type"],
)
async def test_a_violation_rolls_the_transaction_back(
    path: EventPath, before: tuple[Event, ...], refused: tuple[Event, ...], complaint: str
) -> None:
    if before:
        await commit(path, *before)

    async def violate() -> None:
        async with path.database.transaction() as session:
            await path.journal.append(session, user_stream("ada"), thought("in the same transaction"))
            session.add(ConsumerPosition(**BESIDE))
            await path.journal.append(session, LOT, *refused)

    with pytest.raises(OrderError, match=f"stream lot:42, one: {complaint}"):
        await violate()

    assert await types(path) == [event.event_type for event in before]
    assert await types(path, user_stream("ada")) == []
    async with path.database.reading() as session:
        assert (await session.scalars(select(ConsumerPosition))).all() == []


async def test_a_stream_has_an_order_of_its_own(path: EventPath) -> None:
    await commit(path, OPENED)

    await commit(path, OPENED, stream=OTHER)
    with pytest.raises(OrderError, match="stream lot:42, one: round_opened"):
        await commit(path, OPENED)

    assert (await types(path), await types(path, OTHER)) == (["round_opened"], ["round_opened"])


async def test_of_two_writers_at_once_one_is_refused(path: EventPath) -> None:
    outcomes = await asyncio.gather(*(commit(path, OPENED) for _ in range(5)), return_exceptions=True)

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType", *["OrderError"] * 4]
    assert await types(path) == ["round_opened"]


async def test_a_session_that_is_no_transaction_block_is_checked(path: EventPath) -> None:
    async with path.database.reading() as session:
        await path.journal.append(session, LOT, BID)
        with pytest.raises(OrderError):
            await session.commit()
        await session.rollback()
        await path.journal.append(session, LOT, OPENED)
        await session.commit()

    assert await types(path) == ["round_opened"]


async def test_a_violation_in_a_savepoint_leaves_the_rest_committable(path: EventPath) -> None:
    async with path.database.transaction() as session:
        await path.journal.append(session, LOT, OPENED)
        with pytest.raises(OrderError):
            async with session.begin_nested():
                await path.journal.append(session, LOT, CLOSED, BID)
        await path.journal.append(session, LOT, BID)

    assert await types(path) == ["round_opened", "bid_placed"]


async def test_a_violation_in_a_savepoint_in_sql_leaves_the_rest(path: EventPath) -> None:
    async with path.database.transaction() as session:
        await path.journal.append(session, LOT, OPENED)
        await session.execute(text("SAVEPOINT by_hand"))
        with pytest.raises(OrderError):
            await path.journal.append(session, LOT, OPENED)
        await session.execute(text("ROLLBACK TO SAVEPOINT by_hand"))
        await path.journal.append(session, LOT, CLOSED)

    assert await types(path) == ["round_opened", "round_closed"]


Then = Callable[[AsyncSession], Awaitable[None]]


async def set_savepoint(session: AsyncSession) -> AsyncSessionTransaction:
    savepoint = await session.begin_nested()
    await session.connection()  # SQLAlchemy sets it when the session is used next
    return savepoint


async def roll_back_another_savepoint(session: AsyncSession) -> None:
    await (await set_savepoint(session)).rollback()


async def roll_back_another_savepoint_in_sql(session: AsyncSession) -> None:
    await session.execute(text("SAVEPOINT another"))
    await session.execute(text("ROLLBACK TO SAVEPOINT another"))


async def roll_back_another_of_the_same_name(session: AsyncSession) -> None:
    await session.execute(text("SAVEPOINT by_hand"))
    await session.execute(text("ROLLBACK TRANSACTION TO SAVEPOINT By_Hand"))


async def go_on(session: AsyncSession) -> None:
    """Commit as if nothing had been refused."""


@pytest.mark.parametrize(
    "then",
    [go_on, roll_back_another_savepoint, roll_back_another_savepoint_in_sql, roll_back_another_of_the_same_name],
)
@pytest.mark.parametrize("within", [False, True], ids=["before a savepoint", "within a savepoint"])
async def test_a_violation_that_is_caught_is_not_committed(path: EventPath, then: Then, within: bool) -> None:
    async def violate() -> None:
        async with path.database.transaction() as session:
            if within:
                await session.execute(text("SAVEPOINT by_hand"))
            with suppress(OrderError):
                await path.journal.append(session, LOT, OPENED, OPENED)
                await set_savepoint(session)
            await then(session)

    with pytest.raises(OrderError):
        await violate()

    assert await types(path) == []
