"""Two processes, one Postgres, one Redis, ten users at work without pause, and something breaks.

Whatever it is: what was committed is shown to every socket once and in order, counted against the database, at most a second late, no request
fails, and none is slower by more than a quarter of a second than those of a bystander: a process beside the two, on the same
Postgres and the same machine, to which nothing happens. A machine that is busy is busy for both.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from app.settings import Settings
from test_framework.fixtures import MakeSettings
from test_framework.servers import ProcessServer, in_process
from test_framework.service_pool import Service
from test_framework.slow_proxy import SlowProxy, slow_proxy
from tests.performance.crowd import Answer, Crowd, gathered

pytestmark = pytest.mark.timeout(90)

USERS = 10
PAUSE = 0.4
CALM_SECONDS = 2.0
SLOWER_SECONDS = 0.25
BEHIND_SECONDS = 1.0
SHOWN_SECONDS = 5.0
ENDED_SECONDS = 5.0
LEASE_SECONDS = 25.0
DRAINED_SECONDS = 5.0


@pytest_asyncio.fixture
async def proxy(redis: Service) -> AsyncIterator[SlowProxy]:
    """The way to Redis, which can be made slow, and leads there also when a restart has changed its address."""
    async with slow_proxy(lambda: redis.url) as between:
        yield between


@pytest.fixture
def shared(make_settings: MakeSettings, proxy: SlowProxy) -> Settings:
    """The settings of both processes."""
    return make_settings(redis_url=proxy.url, requests_per_minute=100_000)


@pytest_asyncio.fixture
async def pair(shared: Settings) -> AsyncIterator[list[ProcessServer]]:
    """Two processes of the service, on the same database and Redis."""
    async with AsyncExitStack() as stack:
        yield await asyncio.gather(*(stack.enter_async_context(in_process(shared)) for _ in range(2)))


@pytest_asyncio.fixture
async def bystander(make_settings: MakeSettings) -> AsyncIterator[ProcessServer]:
    """A process of its own on the same database, which needs no Redis: what it takes is what the machine gives."""
    async with in_process(make_settings(redis_url="", requests_per_minute=100_000)) as server:
        yield server


def urls(pair: Sequence[ProcessServer]) -> list[str]:
    return [server.url for server in pair]


def slowest(answers: Sequence[Answer]) -> float:
    return max(answer.seconds for answer in answers)


async def work_while(
    crowd: Crowd, bystander: ProcessServer, seconds: float, breaking: Callable[[], Coroutine[object, object, None]]
) -> None:
    """Work while something breaks; hold every request to what a bystander's took, and count what was shown."""
    await crowd.work(CALM_SECONDS, PAUSE)
    async with gathered(crowd.settings, [bystander.url], 2) as others:
        await others.work(CALM_SECONDS / 4, PAUSE / 4)
        async with asyncio.TaskGroup() as group:
            group.create_task(breaking())
            working = group.create_task(crowd.work(seconds, PAUSE))
            standing_by = group.create_task(others.work(seconds, PAUSE / 4))
        await crowd.runs_ended(ENDED_SECONDS)
        shown = await crowd.assert_all_shown(SHOWN_SECONDS)
        await others.assert_all_shown(SHOWN_SECONDS)

    answers, beside = working.result(), standing_by.result()
    wait = max(watch.longest_wait for watch in crowd.watches)
    wait_beside = max(watch.longest_wait for watch in others.watches)
    print(
        f"\n{len(crowd.watches)} sockets were shown {shown} events, the latest after {wait:.2f} s; slowest of "
        f"{len(answers)} requests {slowest(answers) * 1000:.0f} ms. A bystander: {wait_beside:.2f} s, "
        f"{slowest(beside) * 1000:.0f} ms of {len(beside)}"
    )
    assert {answer.status for answer in crowd.answers} == {202}
    assert slowest(answers) <= slowest(beside) + SLOWER_SECONDS
    assert wait <= wait_beside + BEHIND_SECONDS


async def test_nothing_is_lost_while_redis_is_frozen_for_five_seconds(
    pair: list[ProcessServer], bystander: ProcessServer, shared: Settings, redis: Service
) -> None:
    async def freeze() -> None:
        await asyncio.to_thread(redis.pause)
        await asyncio.sleep(5.0)
        await asyncio.to_thread(redis.unpause)

    async with gathered(shared, urls(pair), USERS) as crowd:
        await work_while(crowd, bystander, 6.0, freeze)


async def test_nothing_is_lost_when_redis_is_killed_and_comes_back(
    pair: list[ProcessServer], bystander: ProcessServer, shared: Settings, redis: Service
) -> None:
    async def kill() -> None:
        await asyncio.to_thread(redis.kill)
        await asyncio.sleep(2.0)
        await asyncio.to_thread(redis.ensure)

    async with gathered(shared, urls(pair), USERS) as crowd:
        await work_while(crowd, bystander, 4.0, kill)


async def test_nothing_is_lost_when_redis_is_flushed(
    pair: list[ProcessServer], bystander: ProcessServer, shared: Settings, redis: Service
) -> None:
    from redis.asyncio import Redis

    async def flush() -> None:
        async with Redis.from_url(redis.url) as client:
            for _ in range(4):
                await client.flushall()
                await asyncio.sleep(0.5)

    async with gathered(shared, urls(pair), USERS) as crowd:
        await work_while(crowd, bystander, 3.0, flush)


async def test_nothing_is_lost_while_redis_answers_200_ms_late(
    pair: list[ProcessServer], bystander: ProcessServer, shared: Settings, proxy: SlowProxy
) -> None:
    async def dawdle() -> None:
        proxy.delay = 0.2
        await asyncio.sleep(3.0)
        proxy.delay = 0.0

    async with gathered(shared, urls(pair), USERS) as crowd:
        await work_while(crowd, bystander, 4.0, dawdle)


async def test_nothing_is_lost_when_a_process_is_killed_in_the_middle_of_its_runs(
    pair: list[ProcessServer], shared: Settings
) -> None:
    victim, survivor = pair
    async with gathered(shared, urls(pair), USERS) as crowd:
        await crowd.work(CALM_SECONDS, PAUSE)
        crowd.urls.remove(survivor.url)
        async with asyncio.TaskGroup() as group:
            group.create_task(crowd.work(1.0, PAUSE / 4))
            group.create_task(_kill(victim, after=0.7))
        crowd.urls[:] = [survivor.url]
        after = await crowd.work(2.0, PAUSE)
        await crowd.runs_ended(LEASE_SECONDS)
        shown = await crowd.assert_all_shown(SHOWN_SECONDS)
        interrupted = sum(frame.count('"interrupted"') for frame in crowd.watches[0].frames)

        print(
            f"\n{len(crowd.watches)} sockets were shown {shown} events; {interrupted} runs of one user were interrupted"
        )
        assert {answer.status for answer in crowd.answers} <= {202, 0}
        assert {answer.status for answer in after} == {202}


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

    async with gathered(shared, urls(pair), 50, watches_each=1) as crowd:
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
    async with gathered(shared, urls(pair), USERS) as crowd:
        await crowd.work(CALM_SECONDS, PAUSE)

        async with asyncio.TaskGroup() as group:
            group.create_task(crowd.work(3.0, PAUSE))
            told = time.monotonic()
            leaving.process.terminate()
            code = await asyncio.wait_for(leaving.process.wait(), shared.drain_deadline + DRAINED_SECONDS)
            took = time.monotonic() - told
            crowd.urls.remove(leaving.url)
        await crowd.runs_ended(ENDED_SECONDS)
        shown = await crowd.assert_all_shown(SHOWN_SECONDS)

        restarts = sum(watch.closes[1012] for watch in crowd.watches)
        print(f"\ndrained in {took:.2f} s, {restarts} sockets were told to come back, {shown} events shown")
        assert code == 0, leaving.said
        assert took < shared.drain_deadline + DRAINED_SECONDS
        assert restarts >= USERS
        assert {answer.status for answer in crowd.answers} <= {202, 503, 0}
        assert "Traceback" not in leaving.said, leaving.said
        assert staying.process.returncode is None
