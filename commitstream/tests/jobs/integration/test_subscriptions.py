"""A stream that is first watched at any moment of a connection's making is subscribed to, once it is made."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from commitstream.bus.channels import Channels
from commitstream.bus.redis import RedisBus
from commitstream.tests.jobs.inside import eventually

STEPS = range(0, 60, 2)


async def test_whoever_comes_while_the_bus_connects_is_subscribed_to_and_whoever_left_is_not(
    redis_url: str, request: pytest.FixtureRequest
) -> None:
    async with Redis.from_url(redis_url, protocol=3) as redis:

        async def subscribed(prefix: str) -> list[bytes | str]:
            return list(await redis.pubsub_channels(f"{prefix}:*:stream:*"))

        for steps in STEPS:
            prefix = f"{request.node.name}-{steps}"
            bus = RedisBus(redis_url, prefix, "process")
            await bus.watch("user:leaves")
            await bus.start(lambda batch: None)
            for _ in range(steps):
                await asyncio.sleep(0)
            await asyncio.gather(bus.watch("user:comes"), bus.unwatch("user:leaves"))

            expected = [Channels(prefix).of_stream("user:comes").encode()]
            await eventually(lambda: subscribed(prefix), lambda found: found == expected)  # noqa: B023
            await asyncio.wait_for(bus.close(), 2.0)
