"""What a test may leave in Redis: keys of its own namespace, which go, and nothing else. Nothing is ever flushed.

A test's keys and channels begin with its namespace, those of a server that several tests share with `shared-`. On a Redis of the worker's own whatever else appears is the test's doing, and is
taken away; on one that is shared, keys that were there before, and those of other namespaces, are somebody else's and stay.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import cast

from redis import exceptions
from redis.asyncio import Redis

from test_framework.isolation.lasting import Lasting
from test_framework.isolation.worker_database import IsolationError
from test_framework.services.service import Service
from test_framework.waiting import becomes

NAMESPACE = "test-"
SHARED = "shared-"
SCANNED = 1000
MOST_SHOWN = 10
LEAVING_SECONDS = 1.0
ANSWER_SECONDS = 2.0
LARGEST_SHARED = 100_000

Key = tuple[int, bytes]


@dataclass
class Keyspace:
    """The keys of one Redis as one worker sees them."""

    redis: Redis
    private: bool
    known: frozenset[Key] = frozenset()
    was_away: bool = False

    async def remember(self) -> None:
        """Take what is there for somebody else's."""
        self.known = frozenset(await self._keys())

    @asynccontextmanager
    async def lend(self, namespace: str) -> AsyncIterator[None]:
        """Let a test use its namespace; afterwards it is empty, and what lies outside it fails the test."""
        await self.prepare()
        yield
        await self.look_after(namespace)

    async def prepare(self) -> None:
        """Take away what a test left whose Redis was away afterwards: whose it was can't be told any more."""
        if self.was_away and self.private:
            await self._take_away(await self._keys())
            self.was_away = False

    async def look_after(self, namespace: str) -> None:
        """Empty a namespace, and raise if there is something outside it."""
        try:
            await self._look_after(namespace)
        except (exceptions.ConnectionError, exceptions.TimeoutError):  # the test ended it, and has not brought it back
            self.was_away = True

    async def _look_after(self, namespace: str) -> None:
        left = [key for key in await self._keys() if key not in self.known]
        ours = [key for key in left if _within(key[1], namespace)]
        strangers = [key for key in left if not _within(key[1], namespace if self.private else NAMESPACE, SHARED)]
        await self._take_away(ours + (strangers if self.private else []))
        if not self.private:
            self.known |= frozenset(strangers)
        channels = await self._strange_channels(namespace)
        if strangers or channels:
            raise IsolationError(_strayed(namespace, strangers, channels, private=self.private))

    async def _keys(self) -> list[Key]:
        """Every key of every logical database; on a shared Redis that holds more than we should read, none."""
        counts = {int(name[2:]): facts["keys"] for name, facts in (await self.redis.info("keyspace")).items()}
        if not self.private and sum(counts.values()) > LARGEST_SHARED:
            return []
        found: list[Key] = []
        for number in counts:
            async with self._database(number) as redis:
                found += [(number, key) async for key in redis.scan_iter(count=SCANNED)]
        return found

    async def _take_away(self, keys: list[Key]) -> None:
        for number in {number for number, _ in keys}:
            async with self._database(number) as redis:
                await redis.unlink(*(key for where, key in keys if where == number))

    async def _strange_channels(self, namespace: str) -> list[bytes]:
        """Channels that somebody still listens to outside the namespace, once those who are leaving have left."""
        if not self.private:
            return []

        async def strange() -> list[bytes]:
            channels = cast("list[bytes]", await self.redis.pubsub_channels())
            return [channel for channel in channels if not _within(channel, namespace, SHARED)]

        async def none() -> bool:
            return not await strange()

        try:
            await becomes(none, "the end of subscriptions", LEAVING_SECONDS)
        except AssertionError:
            return await strange()
        return []

    @asynccontextmanager
    async def _database(self, number: int) -> AsyncIterator[Redis]:
        if number == self.redis.connection_pool.connection_kwargs.get("db", 0):
            yield self.redis
            return
        options = {**self.redis.connection_pool.connection_kwargs, "db": number}
        pool = type(self.redis.connection_pool)(self.redis.connection_pool.connection_class, **options)
        async with Redis(connection_pool=pool) as other:
            yield other
        await pool.disconnect()


def _within(name: bytes, *namespaces: str) -> bool:
    return name.startswith(tuple(namespace.encode() for namespace in namespaces))


def _strayed(namespace: str, keys: list[Key], channels: list[bytes], *, private: bool) -> str:
    return "\n".join(
        [
            f"this test left something in Redis outside its namespace {namespace!r}"
            + ("" if private else ", or somebody did with whom this Redis is shared")
            + ":",
            *_shown("key", [f"{key.decode(errors='replace')}" + (f" in database {n}" if n else "") for n, key in keys]),
            *_shown("channel", [channel.decode(errors="replace") for channel in channels]),
            "  next: begin their names with the fixture redis_namespace, or with settings.channel_prefix",
        ]
    )


def _shown(kind: str, names: list[str]) -> Iterator[str]:
    for name in sorted(names)[:MOST_SHOWN]:
        yield f"  {kind} {name}"
    if len(names) > MOST_SHOWN:
        yield f"  and {len(names) - MOST_SHOWN} more"


class Keyspaces:
    """The Redis servers that one worker's tests use."""

    def __init__(self) -> None:
        self._spaces: dict[str, Keyspace] = {}
        self._lasting = Lasting()
        self._seen: dict[str, int] = {}

    @asynccontextmanager
    async def lend(self, service: Service, run: str, namespace: str) -> AsyncIterator[None]:
        """Lend a test its namespace on a server."""
        if run not in self._spaces:
            redis = Redis.from_url(service.url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS)
            self._spaces[run] = Keyspace(redis, service.private)
            await self._lasting(self._spaces[run].remember())
        space = self._spaces[run]
        await self._lasting(space.prepare())
        yield
        await self._lasting(space.look_after(namespace))

    async def connections(self) -> dict[str, int]:
        """How many connections each server has seen, by its own count; those that are gone say nothing."""
        for space in self._spaces.values():
            await self._count(space)
        return self._seen

    async def leave(self, run: str) -> None:
        """Let go of a server that is about to end."""
        if (space := self._spaces.pop(run, None)) is not None:
            await self._count(space)
            await space.redis.aclose()

    async def close(self) -> None:
        for run in list(self._spaces):
            await self.leave(run)

    async def _count(self, space: Keyspace) -> None:
        with suppress(exceptions.RedisError, OSError):
            facts = await space.redis.info()
            self._seen[str(facts["run_id"])] = int(facts["total_connections_received"])
