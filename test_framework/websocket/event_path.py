"""The way of an event from a transaction to the bus, wired as the service wires it, with a bus that takes notes.

`RecordingBus` asks the journal about everything it is given, so a test can say not only what was published, but that it
was already committed then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from commitstream.bus.base import BusAway, Receive
from commitstream.counters import EventCounters
from commitstream.db.database import Database
from commitstream.envelope import Batch
from commitstream.events import Event
from commitstream.journal import Journal
from commitstream.outbox import Outbox, Relay
from commitstream.topics import Topic, Topics, users
from test_framework.project import project

IDLE_SECONDS = 5.0
HEAR_SECONDS = 10.0
POOL = 5  # what a test needs at once: each connection is a process of the server's


class Thought(Event):
    """An event that may stand anywhere in a user's stream."""

    thought: str


@dataclass
class RecordingBus:
    """Writes down what is published, in which order, and whether it was published too early."""

    journal: Journal
    published: list[Batch] = field(default_factory=list)
    early: list[str] = field(default_factory=list)
    away: bool = False
    healthy: bool = True
    receive: Receive | None = None
    _heard: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self, receive: Receive) -> None:
        self.receive = receive

    async def publish(self, batches: Sequence[Batch]) -> None:
        if self.away:
            raise BusAway("told to be away")
        for batch in batches:
            committed = await self.journal.after(batch.stream, batch.first - 1, limit=len(batch.frames))
            there = set(committed.frames) if committed else set[str]()
            self.early += [frame for frame in batch.frames if frame not in there]
            self.published.append(batch)
            if self.receive is not None:
                self.receive(batch)
        self._heard.set()

    async def hear(self, event_type: str, subject: str) -> None:
        """Wait until an event of a type about a subject has been published."""
        words = f'"type":"{event_type}","subject":"{subject}"'
        try:
            async with asyncio.timeout(HEAR_SECONDS):
                while not any(words in frame for batch in self.published for frame in batch.frames):
                    self._heard.clear()
                    await self._heard.wait()
        except TimeoutError:
            came = [frame for batch in self.published for frame in batch.frames]
            raise AssertionError(f"no {event_type} of {subject} within {HEAR_SECONDS:g} s; what came: {came}") from None

    async def watch(self, stream: str) -> None: ...

    async def unwatch(self, stream: str) -> None: ...

    async def close(self) -> None: ...

    def frames(self, stream: str) -> list[str]:
        """All that was published of a stream, in the order in which it was."""
        return [frame for batch in self.published if batch.stream == stream for frame in batch.frames]


@dataclass
class EventPath:
    database: Database
    tally: EventCounters
    outbox: Outbox
    journal: Journal
    bus: RecordingBus
    relay: Relay

    async def settle(self) -> None:
        """Wait until everything committed so far is published."""
        assert await self.relay.idle(IDLE_SECONDS), f"the relay was not idle within {IDLE_SECONDS:g} s"

    async def written(self, stream: str) -> list[str]:
        """All that the journal has of a stream."""
        found = await self.journal.after(stream, 0, limit=100_000)
        return list(found.frames) if found else []


@asynccontextmanager
async def event_path(database_url: str, topics: Sequence[Topic] | None = None) -> AsyncIterator[EventPath]:
    """Wire journal, outbox and relay on a migrated database until the block ends."""
    tally = EventCounters()
    database = Database(database_url, POOL)
    outbox = Outbox(tally)
    journal = Journal(
        database, outbox, Topics([*(project().topics() if topics is None else topics), users(events=[Thought])])
    )
    bus = RecordingBus(journal)
    relay = Relay(bus, journal.after_each, tally)
    outbox.feed(relay)
    try:
        yield EventPath(database, tally, outbox, journal, bus, relay)
    finally:
        outbox.feed(None)
        await relay.close()
        await database.close()


def thought(text: str) -> Thought:
    """Return an event that its text tells from others."""
    return Thought(thought=text)
