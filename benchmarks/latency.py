"""From the commit to the socket: our hook and relay, against a plain commit and broadcaster's publish

Both commit to one Postgres and publish by one Redis, from one process, in turns, a few milliseconds apart. The clock
starts when the commit returns and stops when a client reads the event; every delivery counts. Each round has its own
percentiles, and the median round is shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import median
from time import perf_counter

from broadcaster import Broadcast
from broadcaster._backends.redis import RedisBackend

from app.db.schema import migrations
from app.settings import Settings
from benchmarks.contenders import Broadcaster, Ours, event, event_text
from benchmarks.events import TOPICS
from benchmarks.measure import Row, percentile, say
from benchmarks.peers import USER
from benchmarks.stage import OTHER_CORE, Audience, pin, raise_limits, stage
from benchmarks.writing import create_plain_table, plain_row
from commitstream.bus.redis import RedisBus
from commitstream.counters import EventCounters
from commitstream.db.database import Database
from commitstream.journal import Journal
from commitstream.outbox import Outbox, Relay
from commitstream.topics import Topics, user_stream
from test_framework.service_pool import ServicePool
from test_framework.waiting import becomes

COMMITS = {1: 300, 100: 100}
ROUNDS = 7
NO_WORSE = 1.0
START_SECONDS = 10.0
SHARES = {"half": 0.5, "99 of 100": 0.99}

Commit = Callable[[int], Awaitable[float]]


def run() -> list[Row]:
    """Measure one socket and a hundred."""
    pin(OTHER_CORE)
    raise_limits()
    with ServicePool("bundled", say=say) as pool:
        return asyncio.run(_measure(pool.get("redis").url, pool.get("postgres").url))


async def _measure(redis_url: str, database_url: str) -> list[Row]:
    database = Database(database_url)
    await migrations.upgrade(database.engine)
    await create_plain_table(database.engine)
    rows = []
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        ours = await stack.enter_async_context(stage(Ours(redis_url, database_url), redis_url))
        theirs = await stack.enter_async_context(stage(Broadcaster(redis_url), redis_url))
        their_commit = await stack.enter_async_context(_their_commit(database, redis_url))
        for sockets, commits in COMMITS.items():
            say(f"{sockets} sockets")
            user = f"ada-{sockets}"
            async with (
                ours.audience(sockets, user, warm_up=False) as our_audience,
                theirs.audience(sockets, USER, warm_up=False) as their_audience,
                _our_commit(database, redis_url, user) as our_commit,
            ):
                contenders = {"ours": (our_commit, our_audience), "theirs": (their_commit, their_audience)}
                rounds = [await _round(contenders, commits) for _ in range(ROUNDS + 1)][1:]
            for name, share in SHARES.items():
                us, them = (median(percentile(taken[n], share) for taken in rounds) for n in contenders)
                claim = f"{sockets} socket{'s' * (sockets > 1)}, {name} of all deliveries within"
                rows.append(Row.within(claim, us, them, "ms", NO_WORSE))
    return rows


@asynccontextmanager
async def _our_commit(database: Database, redis_url: str, user: str) -> AsyncIterator[Commit]:
    """An event through journal, hook, relay and bus, as a service's process has them."""
    tally = EventCounters()
    outbox = Outbox(tally)
    journal = Journal(database, outbox, Topics(TOPICS))
    bus = RedisBus(redis_url, Settings.model_fields["channel_prefix"].default, "benchmark")
    relay = Relay(bus, journal.after_each, tally)
    outbox.feed(relay)
    await bus.start(lambda _: None)
    await becomes(lambda: bus.healthy, "the bus healthy", START_SECONDS)

    async def commit(number: int) -> float:
        async with database.transaction() as session:
            await journal.append(session, user_stream(user), event(number))
        return perf_counter()

    try:
        yield commit
    finally:
        outbox.feed(None)
        await relay.close()
        await bus.close()


@asynccontextmanager
async def _their_commit(database: Database, redis_url: str) -> AsyncIterator[Commit]:
    """A plain row, and its event published after the commit."""
    broadcast = Broadcast(backend=RedisBackend(redis_url))

    async def commit(number: int) -> float:
        async with database.transaction() as session:
            session.add(plain_row(USER))
        committed = perf_counter()
        await broadcast.publish(USER, event_text(number))
        return committed

    async with broadcast:
        yield commit


async def _round(contenders: Mapping[str, tuple[Commit, Audience]], commits: int) -> dict[str, list[float]]:
    """Commit by turns; each event is awaited everywhere before the next one is committed. The milliseconds of each delivery."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(commits):
        for name, (commit, audience) in contenders.items():
            committed = await commit(number)
            await audience.arrived(1)
            taken[name] += [(moment - committed) * 1000 for moment in await audience.moments()]
    return taken
