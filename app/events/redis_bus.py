"""The bus of a service that is many processes: Redis pub/sub, one subscription connection for each process.

A client never learns from TCP that Redis has frozen. So every process sends itself a beat, out by the connection that
publishes and back by the one that subscribes: when beats stay away the bus is unhealthy, hubs read the journal instead, and
the connection is made anew until beats come back. Nothing here waits longer than its deadline.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from contextlib import suppress
from typing import TypedDict, cast

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from app.events.bus import BusAway, Receive
from app.events.envelope import Batch, merged

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 0.5
BEAT_SECONDS = 0.2
BEATS_UNANSWERED = 3
BREAKER_SECONDS = 0.25
SUBSCRIBE_SECONDS = 0.3
LONGEST_PAUSE = 1.0
HEEDS_SECONDS = 0.05
MESSAGES_PER_TURN = 64
FAILED = (RedisError, OSError, TimeoutError)


class _Message(TypedDict):
    type: str
    channel: bytes
    data: bytes


class RedisBus:
    def __init__(self, url: str, prefix: str, process: str) -> None:
        self._url = url
        self._channels = f"{prefix}:user:"
        self._beat = f"{prefix}:beat:{process}"
        self._publisher = self._connect(ANSWER_SECONDS)
        self._receive: Receive | None = None
        self._watched: set[str] = set()
        self._pubsub: PubSub | None = None
        self._confirmations: dict[str, asyncio.Future[None]] = {}
        self._unanswered = BEATS_UNANSWERED
        self._closed_until = 0.0
        self._pending: list[Batch] = []
        self._task: asyncio.Task[None] | None = None
        self._was_healthy = True

    @property
    def healthy(self) -> bool:
        return self._unanswered < BEATS_UNANSWERED

    async def start(self, receive: Receive) -> None:
        self._receive = receive
        self._task = asyncio.create_task(self._stay_connected(), name="redis bus")

    async def close(self) -> None:
        if self._task is not None:
            await _end(self._task)
        await _hang_up(self._publisher)

    async def publish(self, batches: Sequence[Batch]) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._closed_until:
            raise BusAway("Redis did not answer a moment ago")
        pipeline = self._publisher.pipeline(transaction=False)
        for batch in batches:
            pipeline.publish(self._channels + batch.user_id, batch.packed())
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await pipeline.execute()
        except FAILED as error:
            self._closed_until = asyncio.get_running_loop().time() + BREAKER_SECONDS
            raise BusAway(f"Redis can't be reached: {describe(error)}") from error

    async def watch(self, user_id: str) -> None:
        self._watched.add(user_id)
        if self._pubsub is None:
            return
        confirmed = asyncio.get_running_loop().create_future()
        self._confirmations[user_id] = confirmed
        with suppress(*FAILED):  # the hub reads the journal meanwhile, and the next connection subscribes to all
            async with asyncio.timeout(SUBSCRIBE_SECONDS):
                await self._pubsub.subscribe(self._channels + user_id)
                await confirmed
        self._confirmations.pop(user_id, None)

    async def unwatch(self, user_id: str) -> None:
        self._watched.discard(user_id)
        if self._pubsub is not None:
            with suppress(*FAILED):
                async with asyncio.timeout(SUBSCRIBE_SECONDS):
                    await self._pubsub.unsubscribe(self._channels + user_id)

    async def _stay_connected(self) -> None:
        pause = BEAT_SECONDS / 4
        while True:
            client = self._connect(None)
            try:
                await self._subscribe(client.pubsub())
                pause = BEAT_SECONDS / 4
            except FAILED as error:
                self._note(f"no subscription to Redis: {describe(error)}")
            finally:
                self._pubsub = None
                self._unanswered = BEATS_UNANSWERED
                await _hang_up(client)
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 (spreads reconnections, hides nothing)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _subscribe(self, pubsub: PubSub) -> None:
        known = set(self._watched)
        async with asyncio.timeout(ANSWER_SECONDS * 2):
            await pubsub.subscribe(self._beat, *(self._channels + user_id for user_id in known))
            while known != self._watched:  # who came or left meanwhile found no connection to say so to
                came, left = self._watched - known, known - self._watched
                known = set(self._watched)
                if came:
                    await pubsub.subscribe(*(self._channels + user_id for user_id in came))
                if left:
                    await pubsub.unsubscribe(*(self._channels + user_id for user_id in left))
        self._pubsub = pubsub
        reader = asyncio.create_task(self._read(pubsub), name="redis bus: read")
        try:
            while not reader.done():
                await self._send_beat()
                await asyncio.wait([reader], timeout=BEAT_SECONDS)
                if self._unanswered > BEATS_UNANSWERED * 2:
                    raise TimeoutError(f"{self._unanswered} beats were not answered")
            await reader
        finally:
            await _end(reader)

    async def _send_beat(self) -> None:
        self._unanswered += 1
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._publisher.publish(self._beat, b"")
        except FAILED:
            self._unanswered = max(self._unanswered, BEATS_UNANSWERED)
        self._note("beats come back" if self.healthy else "beats stay away")

    async def _read(self, pubsub: PubSub) -> None:
        count = 0
        async for message in pubsub.listen():
            self._handle(cast("_Message", message))
            count += 1
            if count % MESSAGES_PER_TURN == 0:
                await asyncio.sleep(0)

    def _handle(self, message: _Message) -> None:
        channel = message["channel"].decode()
        if channel == self._beat:
            self._unanswered = 0
            return
        user_id = channel.removeprefix(self._channels)
        if message["type"] == "subscribe":
            confirmation = self._confirmations.get(user_id)
            if confirmation is not None and not confirmation.done():
                confirmation.set_result(None)
        elif message["type"] == "message":
            try:
                batch = Batch.unpack(user_id, message["data"].decode())
            except ValueError:
                logger.warning("on the channel of %s came what is no event: %.100r", user_id, message["data"])
                return
            if not self._pending:
                asyncio.get_running_loop().call_soon(self._hand_over)
            self._pending.append(batch)

    def _hand_over(self) -> None:
        """Give the hub what has arrived together, joined where it belongs together."""
        batches, self._pending = self._pending, []
        if self._receive is not None:
            for batch in merged(batches):
                self._receive(batch)

    def _connect(self, answer_seconds: float | None) -> Redis:
        """Say no more than hello to a new connection: with a slow Redis every further round trip is a missed deadline."""
        return Redis.from_url(
            self._url,
            protocol=3,
            driver_info=None,
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
            socket_timeout=answer_seconds,
            socket_connect_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )

    def _note(self, what: str) -> None:
        """Say in the log when the bus goes away and when it is back, once each."""
        if self.healthy != self._was_healthy:
            self._was_healthy = self.healthy
            logger.warning("the bus is %s: %s", "back" if self.healthy else "away, the journal delivers", what)


def describe(error: Exception) -> str:
    """What an error says, or what it is where it says nothing."""
    return str(error) or type(error).__name__


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel until it heeds: redis-py swallows a cancellation that meets an answer on its way in."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=HEEDS_SECONDS)


async def _hang_up(client: Redis) -> None:
    with suppress(*FAILED):
        async with asyncio.timeout(ANSWER_SECONDS):
            await client.aclose()
