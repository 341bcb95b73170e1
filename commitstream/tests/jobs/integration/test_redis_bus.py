"""The bus on a real Redis that freezes, dies, forgets and dawdles."""

from __future__ import annotations

import asyncio
import gc
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.exceptions import MovedError

from commitstream.bus import redis as redis_bus
from commitstream.bus import redis_link, redis_topology
from commitstream.bus.base import BusAway
from commitstream.bus.channels import Channels
from commitstream.bus.redis import RedisBus
from commitstream.bus.redis_link import ANSWER_SECONDS
from commitstream.bus.redis_topology import Server
from commitstream.tests.jobs.integration.bus_kit import Ear, events, opened, publish_until
from test_framework.faults.slow_proxy import slow_proxy
from test_framework.services.service import Service
from test_framework.waiting import becomes

NOTICED_SECONDS = 1.0
GRACE_SECONDS = 0.15


@pytest.fixture
def prefix() -> str:
    return f"test-{secrets.token_hex(4)}"


@pytest_asyncio.fixture
async def pair(redis: Service, prefix: str) -> AsyncIterator[tuple[RedisBus, RedisBus, Ear]]:
    """Two processes: one publishes, the other watches ada's stream."""
    async with AsyncExitStack() as stack:
        publisher, _ = await stack.enter_async_context(opened(redis.url, prefix))
        listener, ear = await stack.enter_async_context(opened(redis.url, prefix, "user:ada"))
        yield publisher, listener, ear


Pair = tuple[RedisBus, RedisBus, Ear]


class TestCarrying:
    async def test_what_one_process_publishes_another_receives(self, pair: Pair) -> None:
        publisher, _, ear = pair

        await publisher.publish([events("user:ada", 1, 3), events("user:ada", 4, 4)])
        await ear.hear("user:ada", 4)

        assert ear.frames == list(events("user:ada", 1, 4).frames)

    async def test_only_what_is_watched_is_received(self, pair: Pair) -> None:
        publisher, _, ear = pair

        await publisher.publish(
            [events("user:bob", 1, 1), events("user:ADA", 1, 1), events("user:ada2", 1, 1), events("user:ada", 1, 1)]
        )
        await ear.hear("user:ada", 1)

        assert [batch.stream for batch in ear.batches] == ["user:ada"]

    @pytest.mark.parametrize("key", ["*", "a:b", "ada lovelace", "ådå", "a\nb", "{ada}", "beat", "}:stream:user:ada"])
    async def test_a_stream_s_name_is_taken_byte_for_byte(self, redis: Service, prefix: str, key: str) -> None:
        stream = f"user:{key}"
        async with opened(redis.url, prefix, stream) as (bus, ear):
            await bus.publish([events("user:ada", 1, 1), events(stream, 1, 1)])
            await ear.hear(stream, 1)

            assert [batch.stream for batch in ear.batches] == [stream]

    async def test_services_with_another_prefix_hear_nothing(self, redis: Service, prefix: str, pair: Pair) -> None:
        publisher, _, ear = pair
        async with opened(redis.url, f"{prefix}-other", "user:ada") as (stranger, _):
            await stranger.publish([events("user:ada", 7, 7)])

            await publisher.publish([events("user:ada", 1, 1)])
            await ear.hear("user:ada", 1)

        assert ear.frames == list(events("user:ada", 1, 1).frames)

    async def test_a_stream_watched_again_at_once_is_heard(self, pair: Pair) -> None:
        publisher, listener, ear = pair

        for _ in range(20):
            await asyncio.gather(listener.unwatch("user:ada"), listener.watch("user:ada"))
        await publisher.publish([events("user:ada", 1, 1)])

        await ear.hear("user:ada", 1)

    async def test_a_burst_is_handed_over_in_order_and_joined(self, pair: Pair) -> None:
        publisher, _, ear = pair

        for seq in range(1, 501):
            await publisher.publish([events("user:ada", seq, seq)])
        await ear.hear("user:ada", 500)

        assert ear.frames == list(events("user:ada", 1, 500).frames)

    @pytest.mark.parametrize("noise", [b"", b"noise", b'{"seq":', b'{"seq":x,}', b"\xff\xfe", b'{"type":1,"seq":2}'])
    async def test_what_a_stranger_says_on_a_channel_is_passed_over(
        self, redis: Service, prefix: str, pair: Pair, noise: bytes
    ) -> None:
        publisher, listener, ear = pair
        async with Redis.from_url(redis.url) as stranger:
            await stranger.publish(Channels(prefix).of_stream("user:ada"), noise)

        await publisher.publish([events("user:ada", 1, 1)])
        await ear.hear("user:ada", 1)

        assert (listener.healthy, ear.frames) == (True, list(events("user:ada", 1, 1).frames))


class TestFaults:
    async def test_a_frozen_redis_is_noticed_within_a_second_and_returned_to(self, redis: Service, pair: Pair) -> None:
        publisher, listener, ear = pair

        await asyncio.to_thread(redis.pause)
        noticed = await becomes(lambda: not (publisher.healthy or listener.healthy), "the bus unhealthy")
        await listener.watch("user:bob")
        await asyncio.to_thread(redis.unpause)
        back = await becomes(lambda: publisher.healthy and listener.healthy, "the bus healthy")
        await publish_until(publisher, ear, "user:ada", 1)
        await publish_until(publisher, ear, "user:bob", 2)

        print(f"noticed after {noticed:.2f} s, back {back:.2f} s after it went on")
        assert noticed < NOTICED_SECONDS
        await ear.hear("user:bob", 2)

    async def test_nothing_waits_longer_for_a_frozen_redis_than_its_deadline(self, redis: Service, pair: Pair) -> None:
        publisher, listener, _ = pair

        with redis.paused():
            took = []
            for _ in range(20):
                began = time.monotonic()
                with pytest.raises(BusAway):
                    await publisher.publish([events("user:ada", 1, 1)])
                took.append(time.monotonic() - began)
            began = time.monotonic()
            await listener.watch("user:eve")
            watching = time.monotonic() - began

        assert max(took) < ANSWER_SECONDS + GRACE_SECONDS
        assert sorted(took)[10] < 0.02
        assert watching < ANSWER_SECONDS + GRACE_SECONDS

    async def test_a_killed_redis_is_returned_to_when_it_is_back(self, redis: Service, prefix: str) -> None:
        async with slow_proxy(lambda: redis.url) as proxy, opened(proxy.url, prefix, "user:ada") as (bus, ear):
            await asyncio.to_thread(redis.kill)
            noticed = await becomes(lambda: not bus.healthy, "the bus unhealthy")
            with pytest.raises(BusAway):
                await bus.publish([events("user:ada", 1, 1)])

            await asyncio.to_thread(redis.ensure)
            back = await becomes(lambda: bus.healthy, "the bus healthy")
            await publish_until(bus, ear, "user:ada", 2)

        print(f"noticed after {noticed:.2f} s, back {back:.2f} s after it was up")
        assert noticed < NOTICED_SECONDS

    async def test_a_flushed_redis_goes_on(self, redis: Service, pair: Pair) -> None:
        publisher, listener, ear = pair

        async with Redis.from_url(redis.url) as client:
            await client.flushall()
        await publisher.publish([events("user:ada", 1, 1)])
        await ear.hear("user:ada", 1)

        assert listener.healthy

    async def test_a_subscription_that_redis_drops_is_made_anew(self, redis: Service, pair: Pair) -> None:
        publisher, listener, ear = pair

        async with Redis.from_url(redis.url) as client:
            await client.client_kill_filter(_type="pubsub")
        await becomes(lambda: not listener.healthy, "the bus unhealthy")
        await becomes(lambda: listener.healthy and publisher.healthy, "the bus healthy")
        await publish_until(publisher, ear, "user:ada", 1)

    async def test_a_subscription_that_ends_of_what_nobody_foresaw_is_made_anew_and_that_is_logged(
        self, redis: Service, prefix: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with opened(redis.url, prefix, "user:ada") as (bus, ear):
            (link,) = bus._links.values()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(link, "_handle", lambda _: [].pop())
                await becomes(lambda: not bus.healthy, "the bus unhealthy")
            await becomes(lambda: bus.healthy, "the bus healthy")
            await publish_until(bus, ear, "user:ada", 1)

        assert "IndexError: pop from empty list" in caplog.text

    async def test_who_serves_what_is_asked_again_where_the_answer_was_not_to_be_understood(
        self, redis: Service, prefix: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        beyond_us = [Channels(prefix).of_stream("user:ada")]

        async def ask(url: str, channels: Channels) -> frozenset[Server]:
            if channels.of_stream("user:ada") in beyond_us:  # and not of the bus of a server that other tests share
                raise IndexError(beyond_us.pop())
            return await redis_topology.query_topology(url, channels)

        monkeypatch.setattr(redis_bus, "query_topology", ask)  # on purpose: no real Redis can be made to answer so
        async with opened(redis.url, prefix, "user:ada") as (bus, ear):
            await publish_until(bus, ear, "user:ada", 1)

        assert "IndexError" in caplog.text

    async def test_a_redis_that_is_slow_is_used_all_the_same(self, redis: Service, prefix: str) -> None:
        async with slow_proxy(lambda: redis.url) as proxy, opened(proxy.url, prefix, "user:ada") as (bus, ear):
            # one connection for the beats and one for us: to connect takes more round trips, and has a test of its own
            await asyncio.gather(*(bus.publish([events("user:bob", seq, seq)]) for seq in (1, 2)))
            proxy.delay = 0.1
            took = []
            for seq in range(1, 6):
                began = time.monotonic()
                await bus.publish([events("user:ada", seq, seq)])
                took.append(time.monotonic() - began)
            await ear.hear("user:ada", 5)

            assert bus.healthy
        assert ear.frames == list(events("user:ada", 1, 5).frames)
        assert max(took) < ANSWER_SECONDS + GRACE_SECONDS

    async def test_a_redis_that_is_slow_from_the_first_moment_is_connected_to(
        self, redis: Service, prefix: str
    ) -> None:
        async with slow_proxy(lambda: redis.url) as proxy:
            proxy.delay = 0.1
            async with opened(proxy.url, prefix, "user:ada") as (bus, ear):
                await publish_until(bus, ear, "user:ada", 1)

    async def test_a_redis_slower_than_any_deadline_makes_nothing_wait(self, redis: Service, prefix: str) -> None:
        async with slow_proxy(lambda: redis.url) as proxy, opened(proxy.url, prefix, "user:ada") as (bus, _):
            proxy.delay = 2.0
            noticed = await becomes(lambda: not bus.healthy, "the bus unhealthy", 2.0)
            began = time.monotonic()
            with pytest.raises(BusAway):
                await bus.publish([events("user:ada", 1, 1)])
            took = time.monotonic() - began

            proxy.delay = 0.0
            await becomes(lambda: bus.healthy, "the bus healthy")

        assert noticed < NOTICED_SECONDS
        assert took < ANSWER_SECONDS + GRACE_SECONDS


class TestLettingGo:
    async def test_closing_leaves_no_connection_and_no_task(self, redis: Service, prefix: str) -> None:
        async with Redis.from_url(redis.url) as client:
            before = {entry["id"] for entry in await client.client_list()}
            at_work = asyncio.all_tasks()  # a server that other tests share has a bus of its own
            async with opened(redis.url, prefix, "user:ada") as (bus, _):
                await asyncio.gather(*(bus.publish([events("user:ada", n, n)]) for n in range(1, 20)))

            async def all_gone() -> bool:
                return {entry["id"] for entry in await client.client_list()} <= before

            await becomes(all_gone, "the end of every connection of the bus")
        assert [task for task in asyncio.all_tasks() - at_work if "redis" in task.get_name()] == []

    async def test_reconnecting_leaves_no_connection_behind(self, redis: Service, prefix: str) -> None:
        async with Redis.from_url(redis.url) as client:
            before = {entry["id"] for entry in await client.client_list()}
            async with opened(redis.url, prefix, "user:ada") as (bus, _):
                for _ in range(5):
                    await client.client_kill_filter(_type="pubsub")
                    await becomes(lambda: not bus.healthy, "the bus unhealthy")
                    await becomes(lambda: bus.healthy, "the bus healthy")
                at_work = {entry["id"] for entry in await client.client_list()} - before

        assert len(at_work) <= 3

    async def test_closing_while_redis_is_frozen_takes_no_longer_than_a_deadline(
        self, redis: Service, prefix: str
    ) -> None:
        bus = RedisBus(redis.url, prefix, "p")
        await bus.start(Ear())
        await becomes(lambda: bus.healthy, "the bus healthy")

        with redis.paused():
            began = time.monotonic()
            await bus.close()
            took = time.monotonic() - began

        assert took < 2 * ANSWER_SECONDS + GRACE_SECONDS


async def test_a_subscription_that_fails_while_its_link_is_ended_is_no_news(
    redis: Service, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    await fail_while_it_is_ended(redis.url, prefix)

    gc.collect()  # what nobody has asked a task for is told when it is collected
    assert "never retrieved" not in caplog.text


async def fail_while_it_is_ended(url: str, prefix: str) -> None:
    """Nothing holds the link afterwards, and it holds its tasks."""
    failed = asyncio.Event()
    async with opened(url, prefix, "user:ada") as (bus, _):
        (link,) = bus._links.values()  # this one alone: a server that other tests share has a bus of its own

        def fail(message: object) -> None:
            assert link._task is not None
            link._task.cancel()
            failed.set()
            raise MovedError("5649 127.0.0.1:1")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(link, "_handle", fail)
            async with asyncio.timeout(NOTICED_SECONDS):
                await failed.wait()


async def test_a_bus_that_is_closed_in_haste_leaves_no_connection_open(
    redis: Service, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_link, "CANCEL_SECONDS", 0.0)  # as on a machine so busy that nothing is done in time

    for _ in range(10):
        async with opened(redis.url, prefix, "user:ada"):
            pass
    gc.collect()  # a connection that was forgotten warns when it is collected, and a warning fails the test
