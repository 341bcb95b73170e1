"""Consumers of the journal on a real Postgres, where several processes share the work."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import pytest_asyncio
from sqlalchemy import text

from app.db.schema import migrations
from commitstream.consumers.positions import Positions
from commitstream.db.database import Database
from commitstream.tests.unit.events.consumption import Counted, Keeper, Ledger, consuming, eventually, ledger
from commitstream.topics import Stream
from test_framework import CHECKOUT

HANDLES_AND_DIES = """
import asyncio, os, signal, sys
from commitstream.tests.unit.events.consumption import Ledger
from commitstream.consumers.consumer import Consumer

async def handle(stream, events):
    print([event.seq for event in events], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

async def main():
    ours = Ledger(sys.argv[1])
    await Consumer(ours.database, ours.journal, name="audit", handler=handle, handler_timeout=0.1).start()
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest_asyncio.fixture
async def ours(database_url: str) -> AsyncIterator[Ledger]:
    async with ledger(database_url) as ours:
        yield ours


async def test_the_tables_as_migrated_are_the_tables_as_declared(database_url: str) -> None:
    database = Database(database_url)

    await migrations.check(database.engine)
    await migrations.downgrade(database.engine, "0001")
    await migrations.upgrade(database.engine)
    await migrations.check(database.engine)

    await database.close()


async def test_processes_that_compete_handle_every_event_once_and_in_order(database_url: str) -> None:
    keepers = [Keeper() for _ in range(3)]
    at_work: set[str] = set()
    met: list[str] = []

    async def alone(stream: str, numbers: Sequence[int]) -> None:
        if stream in at_work:
            met.append(stream)
        at_work.add(stream)
        await asyncio.sleep(random.uniform(0, 0.003))
        at_work.discard(stream)

    streams = [f"user:{n:02}" for n in range(30)]
    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(ledger(database_url)) for _ in keepers]
        for process, keeper in zip(processes, keepers, strict=True):
            keeper.before = alone
            await stack.enter_async_context(consuming(process, keeper, batch=4, concurrency=4))
        await asyncio.gather(*(processes[n % 3].write(stream, 2) for n, stream in enumerate(streams * 5)))

        async def all_read() -> bool:
            return await processes[0].places() == {("audit", stream): 10 for stream in streams}

        await eventually(all_read, "the end of all streams")

    handled = {stream: [n for keeper in keepers for n in keeper.kept.get(stream, [])] for stream in streams}
    assert met == [], "two handled the events of these streams at once"
    assert {stream: sorted(numbers) for stream, numbers in handled.items()} == {s: list(range(1, 11)) for s in streams}
    assert all(numbers == sorted(numbers) for keeper in keepers for numbers in keeper.kept.values())
    assert all(keeper.kept for keeper in keepers), "each process did some of the work"


async def test_nothing_is_missed_while_writers_hold_their_transactions_open(ours: Ledger) -> None:
    keeper = Keeper()
    streams = ["user:ada", "user:bob", "user:eve"]

    async def write_slowly(stream: str) -> None:
        for n in range(25):
            async with ours.database.transaction() as session:
                await ours.journal.append(session, Stream.parse(stream), Counted(n=n))
                if random.random() < 0.3:
                    await asyncio.sleep(random.uniform(0, 0.003))
                if random.random() < 0.1:
                    await session.rollback()

    async with consuming(ours, keeper, batch=7):
        await asyncio.gather(*(write_slowly(stream) for stream in streams * 3))
        heads = {stream: await ours.journal.head(stream) for stream in streams}
        for stream, head in heads.items():
            await keeper.until_kept(stream, head)

    assert keeper.kept == {stream: list(range(1, head + 1)) for stream, head in heads.items()}


async def test_events_whose_process_was_killed_before_it_acknowledged_are_handled_again(
    ours: Ledger, database_url: str
) -> None:
    await ours.write("user:ada", 3)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HANDLES_AND_DIES, database_url, stdout=asyncio.subprocess.PIPE, cwd=CHECKOUT
    )
    said, _ = await asyncio.wait_for(process.communicate(), timeout=20)
    assert (process.returncode, json.loads(said)) == (-signal.SIGKILL, [1, 2, 3])
    assert await ours.places() == {("audit", "user:ada"): 0}

    keeper = Keeper()
    async with consuming(ours, keeper, handler_timeout=0.1):
        await keeper.until_kept("user:ada", 3)

    assert keeper.kept == {"user:ada": [1, 2, 3]}


async def test_a_handler_that_is_overtaken_acknowledges_nothing(ours: Ledger) -> None:
    await ours.write("user:ada", 2)
    slow, quick = Positions(ours.database, "audit"), Positions(ours.database, "audit")
    (lost,) = await slow.claim(["user:ada"], lease=0)
    (taken,) = await quick.claim(["user:ada"], lease=60)

    assert not await slow.move(lost, 1, attempts=0, lease=0)
    assert not await slow.store_dead_letter(lost, "{}", "too late")
    assert await quick.move(taken, 2, attempts=0, lease=0)

    assert await ours.places() == {("audit", "user:ada"): 2}
    assert await quick.dead_letters(10) == []


async def test_a_place_is_given_to_one_of_many_who_ask_at_once(ours: Ledger) -> None:
    streams = [f"user:{n}" for n in range(20)]
    for stream in streams:
        await ours.write(stream)

    claims = await asyncio.gather(
        *(Positions(ours.database, "audit").claim(streams[::step], 60) for step in (1, -1) * 4)
    )

    assert sorted(claim.stream for some in claims for claim in some) == sorted(streams)


async def test_an_event_that_always_fails_is_put_aside_after_its_attempts_whoever_makes_them(
    database_url: str,
) -> None:
    tried = 0

    async def fail_on_two(stream: str, numbers: Sequence[int]) -> None:
        nonlocal tried
        if 2 in numbers:
            tried += numbers == [2]
            raise ValueError("two")

    here, there = Keeper(before=fail_on_two), Keeper(before=fail_on_two)
    async with ledger(database_url) as one, ledger(database_url) as other:
        await one.write("user:ada", 3)
        async with consuming(one, here, attempts=4) as subscriber, consuming(other, there, attempts=4):

            async def past_it() -> bool:
                return await one.places() == {("audit", "user:ada"): 3}

            await eventually(past_it, "the event after the poison")
            (letter,) = await subscriber.dead_letters()

    assert (letter.seq, letter.attempts, letter.reason) == (2, 4, "ValueError: two")
    assert tried == 4
    assert sorted([*here.kept.get("user:ada", []), *there.kept.get("user:ada", [])]) == [1, 3]


async def test_no_connection_is_held_while_events_are_handled(ours: Ledger) -> None:
    gate = asyncio.Event()

    async def wait(stream: str, numbers: Sequence[int]) -> None:
        await gate.wait()

    keeper = Keeper(before=wait)
    for n in range(40):
        await ours.write(f"user:{n}")

    async with consuming(ours, keeper, concurrency=40, poll_interval=60):
        await keeper.until(lambda: len(keeper.batches) == 40, "forty handlers at work")
        async with ours.database.reading() as session:
            busy = await session.scalar(
                text(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND state LIKE 'idle in transaction%'"
                )
            )
        gate.set()
        await keeper.until(lambda: len(keeper.kept) == 40, "forty handled events")

    assert busy == 0


async def test_a_round_over_ten_thousand_streams_takes_a_moment(ours: Ledger) -> None:
    async with ours.database.transaction() as session:
        for statement in (
            "INSERT INTO commitstream_streams SELECT 'user:' || n, 1 FROM generate_series(1, 10000) AS n",
            "INSERT INTO commitstream_consumer_positions SELECT 'audit', stream, 1, 0, '', now() FROM commitstream_streams "
            "WHERE stream <> 'user:777'",
            "ANALYZE commitstream_streams",
            "ANALYZE commitstream_consumer_positions",
        ):
            await session.execute(text(statement))
    positions = Positions(ours.database, "audit")
    await positions.due(8)

    started = time.monotonic()
    found = await positions.due(8)
    seconds = time.monotonic() - started

    assert found == ["user:777"]
    assert seconds < 0.5
