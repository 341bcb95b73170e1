"""The link to one Redis server: a publishing connection, a subscribed one, a heartbeat.

The heartbeat is published by the one connection and arrives at the other. TCP does not report a frozen Redis. When
heartbeats are missing the link is unhealthy, and it reconnects its subscription until they arrive again. Every wait has
a timeout.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TypedDict, cast

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from commitstream.bus.base import BusAway

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 0.5
BEAT_SECONDS = 0.2
BEATS_UNANSWERED = 3
BREAKER_SECONDS = 0.25
SUBSCRIBE_SECONDS = 0.3
LONGEST_BACKOFF = 1.0
CANCEL_SECONDS = 0.05
MESSAGES_PER_TURN = 64
FAILED = (
    RedisError,
    OSError,
    TimeoutError,
    RuntimeError,
)  # uvloop raises RuntimeError for a connection that was reset

OnMessage = Callable[[str, bytes], None]
OnChange = Callable[[str], None]


class SlotMoved(RedisError):
    """A server of a cluster ended a subscription, because another server has its slot now."""


class _Message(TypedDict):
    type: str
    channel: bytes
    data: bytes


class Link:
    """Publishes and subscribes to the channels of one server; `sharded` where it belongs to a cluster."""

    def __init__(self, url: str, beat: str, channels: Iterable[str], *, sharded: bool, on_message: OnMessage) -> None:
        self._url = url
        self._beat = beat
        self._sharded = sharded
        self._on_message = on_message
        self._publisher = connect(url, ANSWER_SECONDS)
        self._channels = set(channels)
        self._pubsub: PubSub | None = None
        self._confirmations: dict[str, asyncio.Future[None]] = {}
        self._unsubscribing: Counter[str] = Counter()
        self._unanswered = BEATS_UNANSWERED
        self._open_until = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def healthy(self) -> bool:
        return self._unanswered < BEATS_UNANSWERED

    def open(self, on_change: OnChange) -> None:
        """Connect and stay connected; `on_change` gets the reason of each possible health change."""
        self._on_change = on_change
        self._task = asyncio.create_task(self._stay_connected(), name="redis link")

    async def close(self) -> None:
        if self._task is not None:
            await cancel(self._task)
        await close_client(self._publisher)

    async def publish(self, messages: Sequence[tuple[str, str]]) -> None:
        """Send texts on channels; raises `BusAway` after a timeout, or if the breaker is open."""
        now = asyncio.get_running_loop().time()
        if now < self._open_until:
            raise BusAway("Redis failed less than a second ago, not asked again yet")
        pipeline = self._publisher.pipeline(transaction=False)
        publish = pipeline.spublish if self._sharded else pipeline.publish
        for channel, text in messages:
            publish(channel, text)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await pipeline.execute()
        except FAILED as error:
            self._open_until = asyncio.get_running_loop().time() + BREAKER_SECONDS
            if isinstance(error, ResponseError):
                self._unanswered = BEATS_UNANSWERED  # it answers, but not for these channels: query the topology
                self._on_change(describe(error))
            raise BusAway(f"Redis can't be reached: {describe(error)}") from error

    async def watch(self, channel: str) -> None:
        self._channels.add(channel)
        if self._pubsub is None:
            return
        confirmed = asyncio.get_running_loop().create_future()
        self._confirmations[channel] = confirmed
        with suppress(
            *FAILED
        ):  # the hub reads the journal meanwhile, and the next connection subscribes to all channels
            async with asyncio.timeout(SUBSCRIBE_SECONDS):
                await self._subscribe(self._pubsub, [channel])
                await confirmed
        self._confirmations.pop(channel, None)

    async def unwatch(self, channel: str) -> None:
        self._channels.discard(channel)
        if self._pubsub is not None:
            with suppress(*FAILED):
                async with asyncio.timeout(SUBSCRIBE_SECONDS):
                    await self._unsubscribe(self._pubsub, [channel])

    async def _stay_connected(self) -> None:
        backoff = BEAT_SECONDS / 4
        while True:
            client = connect(self._url, None)
            try:
                await self._listen(client.pubsub())
                backoff = BEAT_SECONDS / 4
                why = "the subscription ended"
            except FAILED as error:
                why = f"no subscription to Redis: {describe(error)}"
            except Exception as error:
                logger.exception("a subscription to Redis failed unexpectedly, reconnecting")
                why = describe(error)
            finally:
                self._pubsub = None
                self._unanswered = BEATS_UNANSWERED
                await close_client(client)
            self._on_change(why)
            await asyncio.sleep(random.uniform(backoff / 2, backoff))  # noqa: S311 (spreads reconnections, hides nothing)
            backoff = min(backoff * 2, LONGEST_BACKOFF)

    async def _listen(self, pubsub: PubSub) -> None:
        self._unsubscribing.clear()
        known = set(self._channels)
        async with asyncio.timeout(ANSWER_SECONDS * 2):
            await self._subscribe(pubsub, [self._beat, *known])
            while known != self._channels:  # watch and unwatch had no connection meanwhile
                added, removed = self._channels - known, known - self._channels
                known = set(self._channels)
                await self._subscribe(pubsub, added)
                await self._unsubscribe(pubsub, removed)
        self._pubsub = pubsub
        reader = asyncio.create_task(self._read(pubsub), name="redis link: read")
        try:
            while not reader.done():
                await self._send_beat()
                await asyncio.wait([reader], timeout=BEAT_SECONDS)
                if self._unanswered > BEATS_UNANSWERED * 2:
                    raise TimeoutError(f"{self._unanswered} heartbeats were not answered")
            await reader
        finally:
            await cancel(reader)
            if not reader.cancelled() and (failure := reader.exception()) and not isinstance(failure, FAILED):
                raise failure  # any other is expected while the link closes

    async def _subscribe(self, pubsub: PubSub, channels: Iterable[str]) -> None:
        subscribe = pubsub.ssubscribe if self._sharded else pubsub.subscribe
        for group in self._commands(channels):
            await subscribe(*group)

    async def _unsubscribe(self, pubsub: PubSub, channels: Iterable[str]) -> None:
        unsubscribe = pubsub.sunsubscribe if self._sharded else pubsub.unsubscribe
        for group in self._commands(channels):
            self._unsubscribing.update(group)
            await unsubscribe(*group)

    def _commands(self, channels: Iterable[str]) -> Iterable[Sequence[str]]:
        """Group channels into as few commands as possible: a cluster takes the channels of one slot at a time."""
        by_slot: defaultdict[int, list[str]] = defaultdict(list)
        for channel in channels:
            by_slot[key_slot(channel.encode()) if self._sharded else 0].append(channel)
        return by_slot.values()

    async def _send_beat(self) -> None:
        self._unanswered += 1
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await (self._publisher.spublish if self._sharded else self._publisher.publish)(self._beat, b"")
        except FAILED:
            self._unanswered = max(self._unanswered, BEATS_UNANSWERED)
        self._on_change("heartbeats arrive" if self.healthy else "heartbeats are missing")

    async def _read(self, pubsub: PubSub) -> None:
        count = 0
        async for message in pubsub.listen():
            self._handle(cast("_Message", message))
            count += 1
            if count % MESSAGES_PER_TURN == 0:
                await asyncio.sleep(0)

    def _handle(self, message: _Message) -> None:
        channel = message["channel"].decode()
        kind = message["type"].removeprefix("s") if self._sharded else message["type"]
        if kind == "message" and channel != self._beat:
            self._on_message(channel, message["data"])
        elif kind == "unsubscribe":
            if channel not in self._unsubscribing:
                raise SlotMoved(f"another server has the slot of {channel}")
            self._unsubscribing[channel] -= 1
            if not self._unsubscribing[channel]:
                del self._unsubscribing[channel]
        elif channel == self._beat:
            self._unanswered = 0
        elif (confirmation := self._confirmations.get(channel)) is not None and not confirmation.done():
            confirmation.set_result(None)


def connect(url: str, timeout: float | None) -> Redis:
    """Return a client that sends HELLO alone: a slow Redis exceeds timeouts by each round trip."""
    return Redis.from_url(
        url,
        protocol=3,
        driver_info=None,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        socket_timeout=timeout,
        socket_connect_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


def describe(error: Exception) -> str:
    """Return an error's message, or its type where it has none."""
    return str(error) or type(error).__name__


async def cancel(task: asyncio.Task[None]) -> None:
    """Cancel a task until it ends: redis-py swallows a cancellation that arrives together with an answer."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_SECONDS)


async def close_client(client: Redis) -> None:
    """Close every connection of a client, within a timeout, even when the caller is cancelled meanwhile."""
    closing = asyncio.create_task(_close(client), name="redis link: close")
    cancelled = False
    while not closing.done():
        try:
            await asyncio.wait([closing])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError


async def _close(client: Redis) -> None:
    with suppress(*FAILED):
        async with asyncio.timeout(ANSWER_SECONDS):
            await client.aclose()
