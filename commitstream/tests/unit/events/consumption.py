"""What tests of consumers share: a journal to write to, and a handler that keeps what it was given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sqlalchemy import select

from commitstream.consumers.consumer import Consumer
from commitstream.counters import EventCounters
from commitstream.db.database import Database
from commitstream.db.tables import ConsumerPosition
from commitstream.envelope import Envelope
from commitstream.events import Event
from commitstream.journal import Journal
from commitstream.outbox import Outbox
from commitstream.topics import Stream, Topics, users
from test_framework.websocket.event_path import POOL

DEADLINE_SECONDS = 10.0


class Counted(Event):
    """An event that has its place among those of its transaction."""

    n: int


class Ledger:
    """A journal on a database, without anything else of the service."""

    def __init__(self, url: str) -> None:
        self.database = Database(url, POOL)
        self.journal = Journal(self.database, Outbox(EventCounters()), Topics([users(events=[Counted])]))

    async def write(self, stream: str, count: int = 1) -> None:
        """Commit events of a stream, in one transaction."""
        async with self.database.transaction() as session:
            await self.journal.append(session, Stream.parse(stream), *(Counted(n=n) for n in range(count)))

    async def places(self) -> dict[tuple[str, str], int]:
        """How far each consumer is with each stream."""
        async with self.database.reading() as session:
            return {(p.consumer, p.stream): p.seq for p in await session.scalars(select(ConsumerPosition))}


@dataclass
class Keeper:
    """Handles events by keeping their numbers; `before` may fail, stall or count first."""

    before: Callable[[str, Sequence[int]], Awaitable[None]] | None = None
    kept: dict[str, list[int]] = field(default_factory=dict)
    batches: list[tuple[str, list[int]]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, stream: str, events: Sequence[Envelope]) -> None:
        numbers = [event.seq for event in events]
        self.batches.append((stream, numbers))
        self.changed.set()
        if self.before is not None:
            await self.before(stream, numbers)
        self.kept.setdefault(stream, []).extend(numbers)
        self.changed.set()

    async def until(self, there: Callable[[], bool], what: str) -> None:
        """Wait until something is true of what was kept."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not there():
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise AssertionError(f"{what} did not come; what came: {self.batches[-20:]}") from None

    async def until_kept(self, stream: str, count: int) -> None:
        await self.until(lambda: len(self.kept.get(stream, ())) >= count, f"{count} events of {stream}")


async def eventually(true: Callable[[], Awaitable[bool]], what: str) -> None:
    """Look at the world again and again, until something is true of it."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not await true():  # noqa: ASYNC110 - a database tells nobody
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"{what} did not come within {DEADLINE_SECONDS:g} s") from None


@asynccontextmanager
async def ledger(url: str) -> AsyncIterator[Ledger]:
    ours = Ledger(url)
    try:
        yield ours
    finally:
        await ours.database.close()


@asynccontextmanager
async def consuming(
    ours: Ledger,
    keeper: Keeper,
    *,
    name: str = "audit",
    batch: int = 100,
    concurrency: int = 8,
    attempts: int = 5,
    handler_timeout: float = 30.0,
    backoff: float = 0.01,
    poll_interval: float = 0.02,
) -> AsyncIterator[Consumer]:
    """A consumer at work until the block ends, and impatient."""
    subscriber = Consumer(
        ours.database,
        ours.journal,
        name=name,
        handler=keeper.handle,
        batch=batch,
        concurrency=concurrency,
        attempts=attempts,
        handler_timeout=handler_timeout,
        backoff=backoff,
        poll_interval=poll_interval,
    )
    await subscriber.start()
    try:
        yield subscriber
    finally:
        await subscriber.close(timeout=0.0)
