"""Ten users at work on two processes, and something breaks that is neither Redis nor Postgres: a process, a client, a clock.

What breaks in Redis is in `test_redis_fails.py`, what breaks in Postgres, on its disk or in both in `test_postgres_fails.py`;
what is held against the service is the same everywhere and stands in `ordeal.py`.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import psutil
import pytest

from app.settings import Settings
from test_framework.faults.skewed_clock import Clock
from test_framework.faults.slow_proxy import break_off, slow_proxy
from test_framework.servers import ProcessServer
from test_framework.waiting import becomes
from tests.agents.clients import slow_reader
from tests.agents.performance.crowd import Crowd, gathered
from tests.agents.performance.ordeal import (
    CALM_SECONDS,
    ENDED_SECONDS,
    LEASE_SECONDS,
    PAUSE,
    SHARING,
    SHOWN_SECONDS,
    SLOWER_SECONDS,
    USERS,
    assert_answered_in_good_order,
    in_process_with_rooms,
    listening,
    ready_again,
    slowest,
    urls,
    work_while,
)

pytestmark = pytest.mark.timeout(90)

DRAINED_SECONDS = 5.0
SOCKETS = 1_000
CONNECTING_AT_ONCE = 200
GONE_SECONDS = 15.0
POOLED = 20
UNREAD_RUNS = 20
AN_HOUR = 3600.0
FEW_USERS = 4  # a process with a clock to be skewed reads a file whenever it asks for the time, and is slow
HANDSHAKE = (
    "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def test_nothing_is_lost_when_a_process_is_killed_in_the_middle_of_its_runs(
    pair: list[ProcessServer], bystander: ProcessServer, shared: Settings
) -> None:
    victim, survivor = pair
    async with gathered(shared, urls(pair), USERS, sharing=SHARING) as crowd:
        await crowd.work(CALM_SECONDS, PAUSE)
        await _survive(crowd, victim, survivor, bystander)

        interrupted = sum(frame.count('"interrupted"') for frame in crowd.watches[0].frames)
        print(f"{interrupted} runs of one user were interrupted")


async def test_nothing_is_lost_when_a_process_is_killed_between_its_commits_and_what_it_would_have_published(
    shared: Settings, bystander: ProcessServer
) -> None:
    async with AsyncExitStack() as stack:
        way = await stack.enter_async_context(slow_proxy(lambda: shared.redis_url))
        with_a_way_of_its_own = shared.model_copy(update={"redis_url": way.url})
        victim = await stack.enter_async_context(in_process_with_rooms(with_a_way_of_its_own))
        survivor = await stack.enter_async_context(in_process_with_rooms(shared))
        crowd = await stack.enter_async_context(gathered(shared, urls([victim, survivor]), USERS, sharing=SHARING))
        await crowd.work(CALM_SECONDS, PAUSE)

        way.shut = True
        way.cut()
        unpublished = await _survive(crowd, victim, survivor, bystander)

        assert unpublished >= USERS


async def _survive(crowd: Crowd, victim: ProcessServer, survivor: ProcessServer, bystander: ProcessServer) -> int:
    """Have all work on a process that is killed, and then on the other; tell how many events only the victim's had seen."""
    crowd.urls[:] = [victim.url]
    async with asyncio.TaskGroup() as group:
        group.create_task(crowd.work(1.0, PAUSE / 4))
        await _kill(victim, after=0.7)
        unpublished = sum(max(seen) - min(seen) for seen in crowd.cursors())

    crowd.urls[:] = [survivor.url]
    async with gathered(crowd.settings, [bystander.url], 2) as others, listening([survivor]) as heard:
        async with asyncio.TaskGroup() as group:
            working = group.create_task(crowd.work(2.0, PAUSE))
            standing_by = group.create_task(others.work(2.0, PAUSE / 4))
        await crowd.runs_ended(LEASE_SECONDS)
    shown = await crowd.assert_all_shown(SHOWN_SECONDS)

    after = [answer for answer in working.result() if answer.alone]
    beside = standing_by.result()
    print(
        f"\n{len(crowd.watches)} sockets were shown {shown} events, {unpublished} of which the other process had not been "
        f"told; slowest request after it {slowest(after) * 1000:.0f} ms, a bystander's {slowest(beside) * 1000:.0f} ms"
    )
    assert {answer.status for answer in crowd.answers} <= {202, 0}
    assert {answer.status for answer in after} == {202}
    assert slowest(after) <= slowest(beside) + SLOWER_SECONDS
    heard.assert_honest("ready", may_fail=False)
    return unpublished


async def _kill(server: ProcessServer, after: float) -> None:
    await asyncio.sleep(after)
    server.process.kill()
    await server.process.wait()


async def test_fifty_users_who_come_and_go_are_shown_all_of_theirs_and_nothing_else(
    pair: list[ProcessServer], shared: Settings
) -> None:
    chance = random.Random(7)

    async def come_and_go(crowd: Crowd) -> None:
        for _ in range(150):
            await chance.choice(crowd.watches).hang_up()
            await asyncio.sleep(0.03)

    async with gathered(shared, urls(pair), 50, watches_each=1, sharing=SHARING) as crowd:
        async with asyncio.TaskGroup() as group:
            group.create_task(come_and_go(crowd))
            group.create_task(crowd.work(5.0, PAUSE * 5))
        await crowd.runs_ended(ENDED_SECONDS)
        shown = await crowd.assert_all_shown(SHOWN_SECONDS)

        cut = sum(sum(watch.closes.values()) for watch in crowd.watches)
        print(f"\n50 users were shown {shown} events, and came back {cut} times")
        assert cut >= 100
        assert {answer.status for answer in crowd.answers} == {202}


async def test_a_process_told_to_end_under_load_drains_loses_nothing_and_exits_with_zero(
    pair: list[ProcessServer], shared: Settings
) -> None:
    leaving, staying = pair
    async with gathered(shared, urls(pair), USERS, sharing=SHARING) as crowd:
        await crowd.work(CALM_SECONDS, PAUSE)

        async with asyncio.TaskGroup() as group:
            group.create_task(crowd.work(3.0, PAUSE))
            told = time.monotonic()
            leaving.process.terminate()
            code = await asyncio.wait_for(leaving.process.wait(), shared.shutdown_timeout + DRAINED_SECONDS)
            took = time.monotonic() - told
            crowd.urls.remove(leaving.url)
        await crowd.runs_ended(ENDED_SECONDS)
        shown = await crowd.assert_all_shown(SHOWN_SECONDS)

        restarts = sum(watch.closes[1012] for watch in crowd.watches)
        print(f"\ndrained in {took:.2f} s, {restarts} sockets were told to come back, {shown} events shown")
        assert code == 0, leaving.said
        assert took < shared.shutdown_timeout + DRAINED_SECONDS
        assert restarts >= USERS
        assert {answer.status for answer in crowd.answers} <= {202, 503, 0}
        assert "Traceback" not in leaving.said, leaving.said
        assert staying.process.returncode is None


async def test_a_client_that_stops_reading_holds_up_nobody(
    pair: list[ProcessServer], bystander: ProcessServer, shared: Settings
) -> None:
    async with gathered(shared, urls(pair), USERS, sharing=SHARING) as crowd, slow_reader(pair[0]) as stuck:

        async def say_much_to_who_does_not_read() -> None:
            for _ in range(UNREAD_RUNS):
                await stuck.client.start_run("!think " + "x" * 300_000)

        await work_while(crowd, pair, bystander, say_much_to_who_does_not_read, 3.0, "ready")


async def test_a_thousand_sockets_that_connect_at_once_and_vanish_leave_nothing_and_hold_up_nobody(
    pair: list[ProcessServer], bystander: ProcessServer, shared: Settings
) -> None:
    processes = [psutil.Process(server.process.pid) for server in pair]

    async with gathered(shared, urls(pair), USERS, sharing=SHARING) as crowd:
        await crowd.work(CALM_SECONDS, PAUSE)
        before = [process.num_fds() for process in processes]

        async def come_and_vanish() -> None:
            await asyncio.gather(*(vanish(server.url, SOCKETS // 2) for server in pair))

        await work_while(crowd, pair, bystander, come_and_vanish, 3.0, "ready")

        def let_go() -> bool:
            now = [process.num_fds() for process in processes]
            return all(left <= had + POOLED for had, left in zip(before, now, strict=True))

        await becomes(let_go, "the descriptors of a thousand sockets given back", GONE_SECONDS)


async def vanish(url: str, count: int) -> None:
    """Open so many sockets, half of which say something, and be gone without a word."""
    address = urlsplit(url)
    door = asyncio.Semaphore(CONNECTING_AT_ONCE)

    async def come(number: int) -> asyncio.StreamWriter:
        async with door:
            _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(HANDSHAKE.encode() if number % 2 else HANDSHAKE[: number % 100].encode())
        return writer

    for writer in await asyncio.gather(*map(come, range(count))):
        break_off(writer)


@pytest.mark.parametrize("jump", [AN_HOUR, -AN_HOUR], ids=["ahead", "back"])
async def test_nothing_is_lost_when_the_clock_jumps_an_hour(shared: Settings, clock: Clock, jump: float) -> None:
    async with AsyncExitStack() as stack:
        pair = [await stack.enter_async_context(in_process_with_rooms(shared, clock.environment)) for _ in range(2)]
        crowd = await stack.enter_async_context(gathered(shared, urls(pair), FEW_USERS, sharing=2))
        await crowd.work(CALM_SECONDS, PAUSE)

        async with listening(pair) as heard:
            async with clock.skewed(jump):
                during = await crowd.work(2.0, PAUSE)
            after = await crowd.work(1.0, PAUSE)
        await ready_again(pair)
        await crowd.runs_ended(LEASE_SECONDS)
        shown = await crowd.assert_all_shown(SHOWN_SECONDS)

        print(f"\n{shown} events shown, the slowest of {len(crowd.answers)} requests {slowest(crowd.answers):.2f} s")
        heard.assert_honest("ready", may_fail=True)
        assert {answer.status for answer in [*during, *after]} == {202}
        await assert_answered_in_good_order(crowd)
