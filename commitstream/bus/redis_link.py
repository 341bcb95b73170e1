"""One Redis server: a connection that publishes, one that subscribes, and a beat that goes out by the one and back by the other.

A client never learns from TCP that Redis has frozen. When beats stay away the link is unhealthy, and its subscription is
made anew until they come back. Nothing here waits longer than its deadline.
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
LONGEST_PAUSE = 1.0
HEEDS_SECONDS = 0.05
MESSAGES_PER_TURN = 64
FAILED = (
    RedisError,
    OSError,
    TimeoutError,
    RuntimeError,
)  # uvloop's word for a connection that was reset is RuntimeError

Heard = Callable[[str, bytes], None]
Changed = Callable[[str], None]


class SlotMoved(RedisError):
    """A server of a cluster ended a subscription: its slot is served elsewhere now."""


class _Message(TypedDict):
    type: str
    channel: bytes
    data: bytes


class Link:
    """Carries what is published and watched on the channels of one server; `sharded` where that is one of a cluster's."""

    def __init__(self, url: str, beat: str, channels: Iterable[str], *, sharded: bool, heard: Heard) -> None:
        self._url = url
        self._beat = beat
        self._sharded = sharded
        self._heard = heard
        self._publisher = connect(url, ANSWER_SECONDS)
        self._channels = set(channels)
        self._pubsub: PubSub | None = None
        self._confirmations: dict[str, asyncio.Future[None]] = {}
        self._leaving: Counter[str] = Counter()
        self._unanswered = BEATS_UNANSWERED
        self._closed_until = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def healthy(self) -> bool:
        return self._unanswered < BEATS_UNANSWERED

    def open(self, changed: Changed) -> None:
        """Connect, and stay connected; `changed` is told why health may be another now."""
        self._changed = changed
        self._task = asyncio.create_task(self._stay_connected(), name="redis link")

    async def close(self) -> None:
        if self._task is not None:
            await end(self._task)
        await hang_up(self._publisher)

    async def publish(self, messages: Sequence[tuple[str, str]]) -> None:
        """Send texts on channels; raises `BusAway` within a deadline, and at once when the server failed a moment ago."""
        now = asyncio.get_running_loop().time()
        if now < self._closed_until:
            raise BusAway("Redis did not answer a moment ago")
        pipeline = self._publisher.pipeline(transaction=False)
        publish = pipeline.spublish if self._sharded else pipeline.publish
        for channel, text in messages:
            publish(channel, text)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await pipeline.execute()
        except FAILED as error:
            self._closed_until = asyncio.get_running_loop().time() + BREAKER_SECONDS
            if isinstance(error, ResponseError):
                self._unanswered = BEATS_UNANSWERED  # it answers, but not for these channels: ask who does
                self._changed(describe(error))
            raise BusAway(f"Redis can't be reached: {describe(error)}") from error

    async def watch(self, channel: str) -> None:
        self._channels.add(channel)
        if self._pubsub is None:
            return
        confirmed = asyncio.get_running_loop().create_future()
        self._confirmations[channel] = confirmed
        with suppress(*FAILED):  # the hub reads the journal meanwhile, and the next connection subscribes to all
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
        pause = BEAT_SECONDS / 4
        while True:
            client = connect(self._url, None)
            try:
                await self._listen(client.pubsub())
                pause = BEAT_SECONDS / 4
                why = "the subscription ended"
            except FAILED as error:
                why = f"no subscription to Redis: {describe(error)}"
            except Exception as error:
                logger.exception("a subscription to Redis ended of what nobody had foreseen, and is made anew")
                why = describe(error)
            finally:
                self._pubsub = None
                self._unanswered = BEATS_UNANSWERED
                await hang_up(client)
            self._changed(why)
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 (spreads reconnections, hides nothing)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _listen(self, pubsub: PubSub) -> None:
        self._leaving.clear()
        known = set(self._channels)
        async with asyncio.timeout(ANSWER_SECONDS * 2):
            await self._subscribe(pubsub, [self._beat, *known])
            while known != self._channels:  # who came or left meanwhile found no connection to say so to
                came, left = self._channels - known, known - self._channels
                known = set(self._channels)
                await self._subscribe(pubsub, came)
                await self._unsubscribe(pubsub, left)
        self._pubsub = pubsub
        reader = asyncio.create_task(self._read(pubsub), name="redis link: read")
        try:
            while not reader.done():
                await self._send_beat()
                await asyncio.wait([reader], timeout=BEAT_SECONDS)
                if self._unanswered > BEATS_UNANSWERED * 2:
                    raise TimeoutError(f"{self._unanswered} beats were not answered")
            await reader
        finally:
            await end(reader)
            if not reader.cancelled() and (failure := reader.exception()) and not isinstance(failure, FAILED):
                raise failure  # any other is no news to a link that is leaving

    async def _subscribe(self, pubsub: PubSub, channels: Iterable[str]) -> None:
        subscribe = pubsub.ssubscribe if self._sharded else pubsub.subscribe
        for together in self._commands(channels):
            await subscribe(*together)

    async def _unsubscribe(self, pubsub: PubSub, channels: Iterable[str]) -> None:
        unsubscribe = pubsub.sunsubscribe if self._sharded else pubsub.unsubscribe
        for together in self._commands(channels):
            self._leaving.update(together)
            await unsubscribe(*together)

    def _commands(self, channels: Iterable[str]) -> Iterable[Sequence[str]]:
        """Put into one command what may stand in one: a cluster takes the channels of one slot at a time."""
        together: defaultdict[int, list[str]] = defaultdict(list)
        for channel in channels:
            together[key_slot(channel.encode()) if self._sharded else 0].append(channel)
        return together.values()

    async def _send_beat(self) -> None:
        self._unanswered += 1
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await (self._publisher.spublish if self._sharded else self._publisher.publish)(self._beat, b"")
        except FAILED:
            self._unanswered = max(self._unanswered, BEATS_UNANSWERED)
        self._changed("beats come back" if self.healthy else "beats stay away")

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
            self._heard(channel, message["data"])
        elif kind == "unsubscribe":
            if channel not in self._leaving:
                raise SlotMoved(f"{channel} is served elsewhere")
            self._leaving[channel] -= 1
            if not self._leaving[channel]:
                del self._leaving[channel]
        elif channel == self._beat:
            self._unanswered = 0
        elif (confirmation := self._confirmations.get(channel)) is not None and not confirmation.done():
            confirmation.set_result(None)


def connect(url: str, answer_seconds: float | None) -> Redis:
    """Say no more than hello to a new connection: with a slow Redis every further round trip is a missed deadline."""
    return Redis.from_url(
        url,
        protocol=3,
        driver_info=None,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        socket_timeout=answer_seconds,
        socket_connect_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


def describe(error: Exception) -> str:
    """What an error says, or what it is where it says nothing."""
    return str(error) or type(error).__name__


async def end(task: asyncio.Task[None]) -> None:
    """Cancel until it heeds: redis-py swallows a cancellation that meets an answer on its way in."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=HEEDS_SECONDS)


async def hang_up(client: Redis) -> None:
    """Close every connection of a client, within a deadline, also when whoever does it is cancelled meanwhile."""
    closing = asyncio.create_task(_close(client), name="redis link: hang up")
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
