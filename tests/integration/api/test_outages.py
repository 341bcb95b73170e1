"""What health tells and requests get while a real Redis or a real Postgres is away, and when it is back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from redis.asyncio import Redis

from app.events.channels import Channels
from test_framework.backend_client import BackendClient
from test_framework.fixtures import MakeSettings
from test_framework.servers import InLoopServer, in_loop
from test_framework.service_pool import ServicePool
from test_framework.test_context import TestContext
from test_framework.users import TestUserContext

DEADLINE_SECONDS = 10.0
SLOWEST_PROBE = 1.5
SLOWEST_REQUEST = 0.25


async def becomes(client: BackendClient, *wanted: tuple[int, str]) -> None:
    """Wait until readiness answers so; a time-out says what it answered instead."""
    found = None
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (found := await ready(client)) not in wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not {wanted} within {DEADLINE_SECONDS:g} s, but {found}") from None


async def ready(client: BackendClient) -> tuple[int, str]:
    answer = await timed(lambda: client.request("GET", "/health/ready"), SLOWEST_PROBE)
    return answer.status_code, answer.json()["status"]


async def timed(ask: Callable[[], Awaitable[httpx.Response]], slowest: float) -> httpx.Response:
    began = time.monotonic()
    answer = await ask()
    assert time.monotonic() - began < slowest
    return answer


@pytest.fixture(scope="session")
def pool(servers_that_stay: ServicePool) -> ServicePool:
    """What is ended and begun here is nobody else's, and keeps its address."""
    return servers_that_stay


@pytest.mark.parametrize("away", ["pause", "stop"])
async def test_without_redis_the_service_is_degraded_and_serves_as_quickly(
    make_settings: MakeSettings, pool: ServicePool, away: str
) -> None:
    redis = pool.get("redis")
    async with in_loop(make_settings()) as server, TestContext(server) as ada:
        await becomes(ada.client, (200, "ready"))
        getattr(redis, away)()
        try:
            await becomes(ada.client, (200, "degraded"))

            began = time.monotonic()
            run = await ada.client.start_run("hello")
            assert time.monotonic() - began < SLOWEST_REQUEST
            await ada.wait_for_end(run.id)
            assert (await ada.client.request("GET", "/health/live")).status_code == 200
            assert (await ada.client.request("GET", "/health/startup")).status_code == 200
        finally:
            redis.ensure()
        await becomes(ada.client, (200, "ready"))
        ada.capture.assert_unbroken()


async def test_a_service_that_starts_without_redis_is_ready_and_degraded(
    make_settings: MakeSettings, pool: ServicePool
) -> None:
    redis = pool.get("redis")
    with redis.paused():
        async with in_loop(make_settings()) as server, BackendClient(server.url) as client:
            assert await ready(client) == (200, "degraded")
    redis.ensure()


@pytest.mark.parametrize("away", ["pause", "kill"])
async def test_without_postgres_the_service_is_not_ready_and_says_503_to_requests(
    make_settings: MakeSettings, pool: ServicePool, away: str
) -> None:
    postgres = pool.get("postgres")
    settings = make_settings()
    token = TestUserContext.of(settings).token
    async with in_loop(settings) as server, BackendClient(server.url, token) as ada:
        await becomes(ada, (200, "ready"))
        getattr(postgres, away)()
        try:
            await becomes(ada, (503, "failed"))

            live = await timed(lambda: ada.request("GET", "/health/live"), SLOWEST_REQUEST)
            assert live.status_code == 200
            storm = await asyncio.gather(*(ready(ada) for _ in range(50)))
            assert set(storm) == {(503, "failed")}
            if away == "kill":
                await is_told_to_come_back(ada)
        finally:
            postgres.ensure()
        await becomes(ada, (200, "ready"))
        assert (await ada.runs()) == []


async def is_told_to_come_back(client: BackendClient) -> None:
    for method, path in (("GET", "/api/runs"), ("POST", "/api/runs"), ("GET", "/api/events")):
        body = {"json": {"message": "hello"}} if method == "POST" else {}
        answer = await client.request(method, path, **body)
        assert (answer.status_code, answer.headers.get("retry-after")) == (503, "1"), answer.text


@pytest.mark.parametrize("way", ["socket", "stream"])
async def test_whoever_leaves_is_unsubscribed_from_redis(make_settings: MakeSettings, way: str) -> None:
    settings = make_settings()
    user = TestUserContext.of(settings)
    async with in_loop(settings) as server, Redis.from_url(settings.redis_url, protocol=3) as redis:
        channel = Channels(settings.channel_prefix).of_user(user.id)

        async def subscribers() -> int:
            [(_, count)] = await redis.pubsub_numsub(channel)
            return int(count)

        async with TestContext(server, user) if way == "socket" else streaming(server, user):
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
