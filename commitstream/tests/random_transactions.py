"""Many transactions at once, each of which appends to some of the same streams in an order of its own."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from itertools import count

from commitstream import Event, Topic
from commitstream.bus.base import MemoryBus
from commitstream.counters import EventCounters
from commitstream.db.database import Database
from commitstream.envelope import Batch
from commitstream.journal import Journal
from commitstream.outbox import Outbox, Relay
from commitstream.topics import Topics
from test_framework.waiting import becomes

STREAMS = 20
WRITERS = 16
MOST_STREAMS = 5
PUBLISH_SECONDS = 30.0


class Noted(Event):
    transaction: int


async def write_at_random(database_url: str, transactions: int) -> None:
    """Write so many transactions, and check every stream: no deadlock, no gap, nothing lost, everything published."""
    topic = Topic("note", events=[Noted], may_watch=lambda user, key: True)
    database = Database(database_url, pool=WRITERS + 1)
    counters = EventCounters()
    outbox = Outbox(counters)
    journal = Journal(database, outbox, Topics([topic]))
    bus = MemoryBus()
    published = defaultdict[str, list[str]](list)

    def receive(batch: Batch) -> None:
        published[batch.stream] += batch.frames

    await bus.start(receive)
    relay = Relay(bus, journal.after_each, counters)
    outbox.feed(relay)
    numbers = count(1)
    written = Counter[str]()

    async def write(seed: int) -> None:
        chance = random.Random(seed)
        while (number := next(numbers)) <= transactions:
            keys = chance.sample(range(STREAMS), chance.randint(1, MOST_STREAMS))
            async with database.transaction() as session:
                for key in keys:
                    await journal.append(session, topic.stream(str(key)), Noted(transaction=number))
            written.update(str(topic.stream(str(key))) for key in keys)

    try:
        async with asyncio.TaskGroup() as writers:
            for seed in range(WRITERS):
                writers.create_task(write(seed), name=f"writer {seed}")
        total = written.total()
        await becomes(lambda: counters.published + counters.left_to_journal >= total, "the publishing", PUBLISH_SECONDS)
        assert (counters.committed, counters.published) == (total, total)
        for stream in written:
            batch = await journal.after(stream, 0, limit=total)
            assert batch is not None
            # a batch holds consecutive numbers alone, so this one has no gap
            assert (batch.first, len(batch.frames)) == (1, written[stream]), stream
            assert sorted(published[stream]) == sorted(batch.frames), stream
    finally:
        outbox.feed(None)
        await relay.close()
        await database.close()
