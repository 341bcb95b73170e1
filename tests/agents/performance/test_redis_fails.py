"""Ten users at work on two processes, and Redis breaks: nobody should notice, because the journal delivers without it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from app.settings import Settings
from test_framework.faults.breakable import Breakable
from test_framework.fixtures import MakeSettings
from test_framework.servers import ProcessServer
from tests.agents.performance.crowd import gathered
from tests.agents.performance.ordeal import (
    SHARING,
    USERS,
    Breakables,
    Scenario,
    flapping,
    held,
    in_process_with_rooms,
    logged_in_as,
    urls,
    work_while,
)

pytestmark = pytest.mark.timeout(90)


async def flush_again_and_again(breakables: Breakables) -> None:
    async with Redis.from_url(breakables.redis.url) as client:
        for _ in range(4):
            await client.flushall()
            await asyncio.sleep(0.5)


async def fill_up(breakables: Breakables) -> None:
    async with Redis.from_url(breakables.redis.url) as client:
        await client.config_set("maxmemory-policy", "noeviction")
        await client.config_set("maxmemory", 1)
        try:
            with pytest.raises(OutOfMemoryError):
                await client.set("one", "more")
            await asyncio.sleep(2.0)
        finally:
            await client.config_set("maxmemory", 0)


SCENARIOS = {
    "is frozen for five seconds": Scenario(lambda on: held(on.redis.paused(), 5.0), 6.0, "degraded"),
    "is killed and comes back": Scenario(lambda on: held(on.redis.killed(), 2.0), 3.0, "degraded"),
    "is restarted": Scenario(lambda on: held(on.redis.restarted(), 1.5), 2.5),
    "is cut off": Scenario(lambda on: held(on.network.cut("redis"), 2.0), 3.0, "degraded"),
    "comes and goes": Scenario(lambda on: flapping(lambda: on.network.cut("redis")), 4.0, "degraded"),
    "answers 200 ms late": Scenario(lambda on: held(on.network.delayed(200, 0, "redis"), 2.5), 3.5),
    "is out of memory": Scenario(fill_up, 3.0, "ready"),
    "is flushed": Scenario(flush_again_and_again, 3.0),
}


@pytest.mark.parametrize("what", SCENARIOS)
async def test_nothing_is_lost_or_late_when_redis(
    what: str,
    breakables: Breakables,
    pair: list[ProcessServer],
    bystander: ProcessServer,
    shared: Settings,
) -> None:
    scenario = SCENARIOS[what]
    async with gathered(shared, urls(pair), USERS, sharing=SHARING) as crowd:
        breaking = lambda: scenario.breaking(breakables)  # noqa: E731
        await work_while(crowd, pair, bystander, breaking, scenario.seconds, scenario.says)


async def test_nothing_is_lost_while_redis_takes_our_password_no_more(
    redis: Breakable, make_settings: MakeSettings, bystander: ProcessServer
) -> None:
    async with AsyncExitStack() as stack:
        account = await stack.enter_async_context(an_account(redis))
        settings = make_settings(redis_url=account.url, requests_per_minute=bystander.settings.requests_per_minute)
        pair = [await stack.enter_async_context(in_process_with_rooms(settings)) for _ in range(2)]
        crowd = await stack.enter_async_context(gathered(settings, urls(pair), USERS, sharing=SHARING))

        await work_while(crowd, pair, bystander, account.refused, 3.5, "degraded")


class Account:
    """A user of Redis's whose password is changed behind the service's back."""

    def __init__(self, admin: Redis, url: str) -> None:
        self._admin = admin
        self.name, self._password = "service", secrets.token_hex(16)
        self.url = logged_in_as(url, self.name, self._password)

    async def set(self, password: str) -> None:
        """Take this password from now on, and begin by breaking off whoever came with another."""
        rights = ("on", "resetpass", f">{password}", "allkeys", "allchannels", "+@all")
        await command(self._admin, "ACL", "SETUSER", self.name, *rights)
        await command(self._admin, "CLIENT", "KILL", "USER", self.name)

    async def open(self) -> None:
        await self.set(self._password)

    async def refused(self) -> None:
        await self.set(secrets.token_hex(16))
        try:
            await asyncio.sleep(2.0)
        finally:
            await self.open()


@asynccontextmanager
async def an_account(redis: Breakable) -> AsyncIterator[Account]:
    async with Redis.from_url(redis.url) as admin:
        account = Account(admin, redis.url)
        await account.open()
        try:
            yield account
        finally:
            await command(admin, "ACL", "DELUSER", account.name)


async def command(client: Redis, *words: str) -> None:
    await client.execute_command(*words)  # type: ignore[no-untyped-call]


async def test_nothing_is_lost_when_redis_was_absent_at_the_start_and_comes_later(
    redis: Breakable, shared: Settings, bystander: ProcessServer
) -> None:
    comes, gone = asyncio.Event(), asyncio.Event()

    async def absent() -> None:
        async with redis.killed():
            gone.set()
            await comes.wait()

    async def come() -> None:
        await asyncio.sleep(1.5)
        comes.set()
        await absence

    absence = asyncio.create_task(absent(), name="Redis is absent")
    try:
        await gone.wait()
        async with in_process_with_rooms(shared) as one, in_process_with_rooms(shared) as other:
            pair = [one, other]
            async with gathered(shared, urls(pair), USERS, sharing=SHARING) as crowd:
                await work_while(crowd, pair, bystander, come, 3.0, "degraded")
    finally:
        comes.set()
        await absence
