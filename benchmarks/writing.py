"""What it costs to write an event: the journal beside a plain ORM row, with any number of writers at once."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from time import perf_counter

from pydantic import JsonValue
from sqlalchemy import JSON, Index, Text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base
from app.db.schema import migrations
from benchmarks.events import TOPICS, Started
from commitstream.bus.base import MemoryBus
from commitstream.counters import EventCounters
from commitstream.db.base import Moment
from commitstream.db.database import Database
from commitstream.journal import Journal
from commitstream.outbox import Outbox, Relay
from commitstream.topics import Topics, user_stream

MESSAGE = "a message of a user, who asks for what the service can look up for them"

Write = Callable[[str], Awaitable[None]]


class PlainEvent(Base):
    """An event as an ORM writes it, with the journal's columns and no number in its stream."""

    __tablename__ = "plain_events"
    __table_args__ = (Index(None, "stream", "id"), Index(None, "stream", "subject", "id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    stream: Mapped[str] = mapped_column(Text)
    type: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    payload: Mapped[dict[str, JsonValue]] = mapped_column(JSON)
    at: Mapped[datetime] = mapped_column(Moment)


@asynccontextmanager
async def desk(url: str) -> AsyncIterator[tuple[Database, Journal]]:
    """A migrated database with a journal whose events go by the hook and the relay to a bus."""
    database, tally = Database(url), EventCounters()
    await migrations.upgrade(database.engine)
    await create_plain_table(database.engine)
    outbox = Outbox(tally)
    journal = Journal(database, outbox, Topics(TOPICS))
    relay = Relay(MemoryBus(), journal.after_each, tally)
    outbox.feed(relay)
    try:
        yield database, journal
    finally:
        outbox.feed(None)
        await relay.close()
        await database.close()


async def create_plain_table(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(PlainEvent.metadata.tables["plain_events"].create)


def plain_row(user_id: str) -> PlainEvent:
    return PlainEvent(
        stream=str(user_stream(user_id)),
        type=Started.event_type,
        subject=uuid.uuid4().hex,
        payload={"message": MESSAGE},
        at=datetime.now(UTC),
    )


def plain(database: Database) -> Write:
    """One ORM insert and its commit."""

    async def write(user_id: str) -> None:
        async with database.transaction() as session:
            session.add(plain_row(user_id))

    return write


def journaled(database: Database, journal: Journal, streams: int = 1) -> Write:
    """One event in each of some streams: numbered, its order checked, journaled, committed, handed to the relay."""

    async def write(user_id: str) -> None:
        async with database.transaction() as session:
            for name in (user_id, *(f"{user_id}-{number}" for number in range(1, streams))):
                event = Started(run_id=uuid.uuid4().hex, message=MESSAGE)
                await journal.append(session, user_stream(name), event, metadata={"request_id": "r" * 32})

    return write


async def seconds_each(write: Write, users: list[str], events: int) -> list[float]:
    """How long each of so many transactions took, with a writer for every user named."""
    taken: list[float] = []

    async def writer(user_id: str) -> None:
        for _ in range(events // len(users)):
            began = perf_counter()
            await write(user_id)
            taken.append(perf_counter() - began)

    await asyncio.gather(*map(writer, users))
    return taken


async def seconds_in_all(write: Write, users: list[str], events: int) -> float:
    """How long so many transactions take together."""
    began = perf_counter()
    await seconds_each(write, users, events)
    return perf_counter() - began
