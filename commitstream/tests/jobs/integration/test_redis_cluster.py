"""The bus on a real cluster: a message stays with the master of its stream, and a master that fails takes only its own streams with it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from commitstream.bus.base import BusAway
from commitstream.bus.channels import Channels
from commitstream.bus.redis import RedisBus
from commitstream.tests.jobs.client import JobsClient, JobsContext
from commitstream.tests.jobs.conftest import MakeJobsSettings
from commitstream.tests.jobs.inside import jobs_in_loop
from commitstream.tests.jobs.integration.bus_kit import Ear, events, opened, publish_until
from commitstream.tests.jobs.integration.redis_cluster import Cluster, Master, connections_of, redis_cluster, say
from commitstream.topics import user_stream
from test_framework.service_pool import ServicePool
from test_framework.waiting import becomes

STREAMS = [f"user:{number}" for number in range(30)]


@pytest.fixture(scope="module")
def cluster_of_this_module(servers_that_stay: ServicePool) -> Iterator[Cluster]:
    with redis_cluster(servers_that_stay) as cluster:
        yield cluster


@pytest.fixture
def cluster(cluster_of_this_module: Cluster) -> Iterator[Cluster]:
    """Three masters, well again afterwards."""
    yield cluster_of_this_module
    cluster_of_this_module.heal()


@pytest.fixture
def prefix() -> str:
    return f"test-{secrets.token_hex(4)}"


@pytest_asyncio.fixture
async def pair(cluster: Cluster, prefix: str) -> AsyncIterator[tuple[RedisBus, RedisBus, Ear]]:
    """Two processes, which know different masters: one publishes, the other watches all streams."""
    async with AsyncExitStack() as stack:
        publisher, _ = await stack.enter_async_context(opened(cluster.masters[1].url, prefix))
        listener, ear = await stack.enter_async_context(opened(cluster.masters[2].url, prefix, *STREAMS))
        yield publisher, listener, ear


Pair = tuple[RedisBus, RedisBus, Ear]


def home_of(cluster: Cluster, prefix: str, stream: str) -> Master:
    return cluster.of(Channels(prefix).of_stream(stream))


async def test_what_one_process_publishes_another_receives_whoever_serves_it(
    cluster: Cluster, prefix: str, pair: Pair
) -> None:
    publisher, _, ear = pair

    await publisher.publish([events(stream, 1, 2) for stream in STREAMS])
    for stream in STREAMS:
        await ear.hear(stream, 2)

    assert len({home_of(cluster, prefix, stream).port for stream in STREAMS}) == len(cluster.masters)
    assert sorted(ear.frames) == sorted(frame for stream in STREAMS for frame in events(stream, 1, 2).frames)


async def test_channels_are_sharded_and_connections_as_few_as_masters(
    cluster: Cluster, prefix: str, pair: Pair
) -> None:
    for master in cluster.masters:
        with master.client() as client:
            sharded = say(client, "PUBSUB", "SHARDCHANNELS", f"{prefix}:*:stream:*")
            plain = say(client, "PUBSUB", "CHANNELS", f"{prefix}:*")
            subscribers = [entry for entry in client.client_list() if int(entry["ssub"])]

        theirs = [stream for stream in STREAMS if home_of(cluster, prefix, stream) is master]
        assert sorted(sharded) == sorted(Channels(prefix).of_stream(stream) for stream in theirs)
        assert plain == []
        assert len(subscribers) == 2  # one of each process


async def test_whoever_leaves_is_unsubscribed_from_the_master(cluster: Cluster, prefix: str, pair: Pair) -> None:
    _, listener, _ = pair
    stream = STREAMS[0]

    for _ in range(5):
        await asyncio.gather(listener.unwatch(stream), listener.watch(stream))
    await listener.unwatch(stream)

    def gone() -> bool:
        with home_of(cluster, prefix, stream).client() as client:
            return not say(client, "PUBSUB", "SHARDCHANNELS", Channels(prefix).of_stream(stream))

    await becomes(gone, "the end of the subscription")
    assert listener.healthy


@pytest.mark.parametrize("fault", ["pause", "kill"])
async def test_a_master_that_fails_is_noticed_and_takes_only_its_own_streams_with_it(
    cluster: Cluster, prefix: str, pair: Pair, fault: str
) -> None:
    publisher, listener, ear = pair
    hers = STREAMS[0]
    failed = home_of(cluster, prefix, hers)
    another = next(stream for stream in STREAMS if home_of(cluster, prefix, stream) is not failed)

    getattr(failed, fault)()
    await becomes(lambda: not (publisher.healthy or listener.healthy), "the bus unhealthy")
    with pytest.raises(BusAway):
        await publisher.publish([events(hers, 1, 1)])
    await publisher.publish([events(another, 1, 1)])
    await ear.hear(another, 1)
    await asyncio.to_thread(cluster.heal)
    await becomes(lambda: publisher.healthy and listener.healthy, "the bus healthy")

    await publish_until(publisher, ear, hers, 2)


async def test_a_slot_that_moves_is_followed(cluster: Cluster, prefix: str, pair: Pair) -> None:
    publisher, listener, ear = pair
    stream = STREAMS[0]
    channel = Channels(prefix).of_stream(stream)
    before = cluster.of(channel)
    after = next(master for master in cluster.masters if master is not before)

    cluster.move(channel, after)
    try:
        await publish_until(publisher, ear, stream, 1)

        await becomes(lambda: publisher.healthy and listener.healthy, "the bus healthy")
        with after.client() as client:
            assert say(client, "PUBSUB", "SHARDCHANNELS", channel) == [channel]
        await publish_until(publisher, ear, stream, 2)
    finally:
        cluster.move(channel, before)


async def test_closing_leaves_no_connection_to_any_master(cluster: Cluster, prefix: str) -> None:
    before = connections_of(cluster)
    at_work = asyncio.all_tasks()  # a server that other tests share has a bus of its own

    async with opened(cluster.url, prefix, *STREAMS) as (bus, _):
        await bus.publish([events(stream, 1, 1) for stream in STREAMS])
        assert len(connections_of(cluster) - before) >= 2 * len(cluster.masters)

    await becomes(lambda: connections_of(cluster) <= before, "the end of every connection of the bus")
    assert [task for task in asyncio.all_tasks() - at_work if "redis" in task.get_name()] == []


@pytest.mark.parametrize("fault", ["pause", "kill"])
async def test_the_service_is_degraded_while_a_master_is_away_and_shows_everything_all_the_same(
    make_settings: MakeJobsSettings, cluster: Cluster, fault: str
) -> None:
    settings = make_settings(redis_url=cluster.url)
    async with AsyncExitStack() as stack:
        here, there = [await stack.enter_async_context(jobs_in_loop(settings)) for _ in range(2)]
        ada = await stack.enter_async_context(JobsContext(there))
        anywhere = await stack.enter_async_context(JobsClient(here.url, ada.user.token))
        await becomes(lambda: here.engine.bus.healthy and there.engine.bus.healthy, "both healthy")
        calm = await anywhere.start("while all is well")
        await ada.wait_for_end(calm.id)
        by_bus = there.engine.counters.received

        getattr(home_of(cluster, settings.channel_prefix, str(user_stream(ada.user.id))), fault)()
        await becomes(lambda: not (here.engine.bus.healthy or there.engine.bus.healthy), "both degraded")
        readiness = await anywhere.request("GET", "/health/ready")
        job = await anywhere.start("while one of three is away")
        await ada.wait_for_end(job.id)
        await asyncio.to_thread(cluster.heal)
        await becomes(lambda: here.engine.bus.healthy and there.engine.bus.healthy, "both healthy")
        last = await anywhere.start("when it is back")
        await ada.wait_for_end(last.id)

        assert (readiness.status_code, readiness.json()["status"]) == (200, "degraded")
        assert by_bus == 5
        ada.capture.assert_unbroken()
