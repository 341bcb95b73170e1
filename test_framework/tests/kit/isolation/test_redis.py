"""A test's keys and channels are its own; what it leaves elsewhere is named, and what others have there stays."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from test_framework.isolation.redis import Keyspace
from test_framework.isolation.worker_database import IsolationError
from test_framework.service_pool import ServicePool

OURS = "test-0123456789ab"


@pytest.fixture(scope="module")
def own_url() -> Iterator[str]:
    """A Redis that nobody else uses."""
    with ServicePool("bundled") as pool:
        yield pool.get("redis").url


@pytest_asyncio.fixture
async def redis(own_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(own_url) as redis:
        yield redis


@pytest.fixture(params=[True, False], ids=["of its own", "shared"])
def space(redis: Redis, request: pytest.FixtureRequest) -> Keyspace:
    return Keyspace(redis, private=request.param)


async def leave(space: Keyspace, redis: Redis) -> None:
    """Play a test that leaves a key outside its namespace."""
    async with space.lend(OURS):
        await redis.set("stray", 1)


async def test_keys_within_the_namespace_are_gone_afterwards(space: Keyspace) -> None:
    async with space.lend(OURS):
        await space.redis.set(f"{OURS}:a", 1)
        await space.redis.rpush(f"{OURS}:b", 1)

    assert await space.redis.keys(f"{OURS}*") == []


@pytest.mark.parametrize("database", [0, 3])
async def test_a_key_elsewhere_fails_the_test_and_is_named(own_url: str, redis: Redis, database: int) -> None:
    space = Keyspace(redis, private=True)
    async with Redis.from_url(own_url, db=database) as other:
        with pytest.raises(IsolationError, match="key stray") as caught:
            await leave(space, other)

        assert OURS in str(caught.value)
        assert "redis_namespace" in str(caught.value)
        assert await other.exists("stray") == 0


async def test_on_a_shared_redis_nobody_else_s_keys_are_touched_or_blamed(redis: Redis) -> None:
    space = Keyspace(redis, private=False)
    await redis.set("theirs", 1)
    await space.remember()

    async with space.lend(OURS):
        await redis.set("test-of another worker", 1)
    with pytest.raises(IsolationError, match=r"key stray\n") as caught:
        await leave(space, redis)

    assert "theirs" not in str(caught.value)
    assert await redis.exists("theirs", "test-of another worker", "stray") == 3
    await redis.unlink("theirs", "test-of another worker", "stray")


async def test_a_channel_elsewhere_that_is_still_listened_to_is_named(redis: Redis) -> None:
    space = Keyspace(redis, private=True)
    ear = redis.pubsub()

    async def subscribe() -> None:
        async with space.lend(OURS):
            await ear.subscribe("somewhere else")
            await ear.get_message(timeout=1.0)

    with pytest.raises(IsolationError, match="channel somewhere else"):
        await subscribe()

    await ear.aclose()  # type: ignore[no-untyped-call]


async def test_nothing_is_ever_flushed(space: Keyspace) -> None:
    async with space.lend(OURS):
        await space.redis.set(f"{OURS}:{secrets.token_hex(4)}", 1)

    commands = await space.redis.info("commandstats")
    assert not {"cmdstat_flushall", "cmdstat_flushdb"} & set(commands)
