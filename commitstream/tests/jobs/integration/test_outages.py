"""What health tells and requests get while a real Redis or a real Postgres is away, and when it is back.

How long they take is held to what the same requests took before, and to a bystander's that need neither and are made
beside them: a machine that is busy is busy for both.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import httpx
import pytest
from redis.asyncio import Redis

from commitstream.bus.channels import Channels
from commitstream.tests.jobs.client import JobsClient, JobsContext
from commitstream.tests.jobs.conftest import MakeJobsSettings
from commitstream.tests.jobs.inside import jobs_in_loop
from commitstream.topics import user_stream
from test_framework.servers import InLoopServer
from test_framework.services.service import Service
from test_framework.users import TestUserContext

DEADLINE_SECONDS = 10.0
SLOWEST_PROBE = 1.5
SLOWER_SECONDS = 0.25
CALM_REQUESTS = 5

Answer = TypeVar("Answer")


async def becomes(client: JobsClient, *wanted: tuple[int, str]) -> None:
    """Wait until readiness answers so; a time-out says what it answered instead."""
    found = None
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (found := await ready(client)) not in wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not {wanted} within {DEADLINE_SECONDS:g} s, but {found}") from None


async def probe(client: JobsClient) -> tuple[int, str]:
    answer = await client.request("GET", "/health/ready")
    return answer.status_code, answer.json()["status"]


async def ready(client: JobsClient) -> tuple[int, str]:
    return await timed(lambda: probe(client), client, SLOWEST_PROBE)


Ask = Callable[[], Awaitable[Answer]]


async def timed(ask: Ask[Answer], client: JobsClient, slowest: float) -> Answer:
    """Ask, and be answered in time, but for what a bystander had to wait too."""
    began = time.monotonic()
    asking = asyncio.ensure_future(ask())
    waited_beside = 0.0
    while not asking.done():
        lap = time.monotonic()
        await client.request("GET", "/health/live")
        waited_beside = max(waited_beside, time.monotonic() - lap)
    took = time.monotonic() - began
    answer = await asking
    assert took < slowest + 2 * waited_beside, f"it took {took:.2f} s, a bystander waited {waited_beside:.2f} s at most"
    return answer


async def slowest_of(ask: Ask[object]) -> float:
    """How long a request may take on this machine as it is now."""
    took = []
    for _ in range(CALM_REQUESTS):
        began = time.monotonic()
        await ask()
        took.append(time.monotonic() - began)
    return max(took)


@pytest.mark.parametrize("away", ["pause", "stop"])
async def test_without_redis_the_service_is_degraded_and_serves_as_quickly(
    make_settings: MakeJobsSettings, redis: Service, away: str
) -> None:
    async with jobs_in_loop(make_settings()) as server, JobsContext(server) as ada:
        await becomes(ada.client, (200, "ready"))
        before = await slowest_of(lambda: ada.client.start("hello"))
        getattr(redis, away)()
        try:
            jobs = [await timed(lambda: ada.client.start("hello"), ada.client, before + SLOWER_SECONDS)]
            await becomes(ada.client, (200, "degraded"))

            jobs += [await timed(lambda: ada.client.start("hello"), ada.client, before + SLOWER_SECONDS)]
            for job in jobs:
                await ada.wait_for_end(job.id)
            assert (await ada.client.request("GET", "/health/live")).status_code == 200
            assert (await ada.client.request("GET", "/health/startup")).status_code == 200
        finally:
            redis.ensure()
        await becomes(ada.client, (200, "ready"))
        ada.capture.assert_unbroken()


async def test_a_service_that_starts_without_redis_is_ready_and_degraded(
    make_settings: MakeJobsSettings, redis: Service
) -> None:
    with redis.paused():
        async with jobs_in_loop(make_settings()) as server, JobsClient(server.url) as client:
            assert await ready(client) == (200, "degraded")
    redis.ensure()


@pytest.mark.parametrize("away", ["pause", "kill"])
async def test_without_postgres_the_service_is_not_ready_and_says_503_to_requests(
    make_settings: MakeJobsSettings, postgres: Service, away: str
) -> None:
    settings = make_settings()
    token = TestUserContext.of(settings).token
    async with jobs_in_loop(settings) as server, JobsClient(server.url, token) as ada:
        await becomes(ada, (200, "ready"))
        before = await slowest_of(lambda: ada.request("GET", "/health/live"))
        getattr(postgres, away)()
        try:
            await becomes(ada, (503, "failed"))

            live = await timed(lambda: ada.request("GET", "/health/live"), ada, before + SLOWER_SECONDS)
            assert live.status_code == 200
            storm = await timed(lambda: asyncio.gather(*(probe(ada) for _ in range(50))), ada, SLOWEST_PROBE)
            assert set(storm) == {(503, "failed")}
            if away == "kill":
                await is_told_to_come_back(ada)
        finally:
            postgres.ensure()
        await becomes(ada, (200, "ready"))
        assert (await ada.jobs()) == []


async def is_told_to_come_back(client: JobsClient) -> None:
    for method, path in (("GET", "/api/jobs"), ("POST", "/api/jobs"), ("GET", "/api/events")):
        body = {"json": {"message": "hello"}} if method == "POST" else {}
        answer = await client.request(method, path, **body)
        assert (answer.status_code, answer.headers.get("retry-after")) == (503, "1"), answer.text


@pytest.mark.parametrize("way", ["socket", "stream"])
async def test_whoever_leaves_is_unsubscribed_from_redis(make_settings: MakeJobsSettings, way: str) -> None:
    settings = make_settings()
    user = TestUserContext.of(settings)
    async with jobs_in_loop(settings) as server, Redis.from_url(settings.redis_url, protocol=3) as asking:
        channel = Channels(settings.channel_prefix).of_stream(str(user_stream(user.id)))

        async def subscribers() -> int:
            [(_, count)] = await asking.pubsub_numsub(channel)
            return int(count)

        async with JobsContext(server, user) if way == "socket" else streaming(server, user):
            await comes_to(1, subscribers)

        await comes_to(0, subscribers)


@asynccontextmanager
async def streaming(server: InLoopServer, user: TestUserContext) -> AsyncIterator[None]:
    headers = {"Authorization": f"Bearer {user.token}"}
    async with (
        httpx.AsyncClient(base_url=server.url, headers=headers, trust_env=False) as client,
        client.stream("GET", "/api/events") as response,
    ):
        lines = response.aiter_lines()
        await anext(lines)
        yield


async def comes_to(wanted: int, count: Callable[[], Awaitable[int]]) -> None:
    found = -1
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (found := await count()) != wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{found} subscribers after {DEADLINE_SECONDS:g} s, not {wanted}") from None
