"""One user never sees what another's is: not by its cursor, and not by its channel."""

from __future__ import annotations

import asyncio

from commitstream.bus.base import MemoryBus
from commitstream.bus.channels import PARTITIONS, Channels
from commitstream.tests.jobs.inside import Inside, assert_problem

LOOKALIKES = (
    "ada",
    "Ada",
    "ADA",
    "ada ",
    "ada:ada",
    "*",
    "ad?",
    "a[d]a",
    "user:ada",
    "\uff41da",
    "ada\u0301",
    "\u0430da",
)


async def job_of(own: Inside, user: str) -> str:
    answer = await own.client.post("/api/jobs", json={"message": "hello"}, headers=own.user(user))
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def test_the_cursor_of_another_opens_nothing(own: Inside) -> None:
    await job_of(own, "ada")

    answer = await own.client.get("/api/events?after=5", headers=own.user("bob"))

    assert_problem(answer, 409, "cursor 5 is ahead of the last event, 0")


async def test_a_cursor_within_ones_own_stream_shows_ones_own_events(own: Inside) -> None:
    hers, his = await job_of(own, "ada"), await job_of(own, "bob")

    found = await own.engine.journal.after("user:bob", 0)

    assert found is not None
    assert all(his in frame and hers not in frame for frame in found.frames)


def test_the_channels_of_any_two_users_differ() -> None:
    names = Channels("events")

    channels = [names.of_stream(user) for user in LOOKALIKES]

    assert len(set(channels)) == len(LOOKALIKES)
    assert tuple(names.stream_of(channel) for channel in channels) == LOOKALIKES
    assert not {names.beat(number, "process") for number in range(PARTITIONS)} & set(channels)


async def test_the_in_process_bus_brings_a_user_their_own_alone(own: Inside) -> None:
    assert isinstance(own.engine.bus, MemoryBus)
    before = own.engine.counters.received

    await job_of(own, "ada")
    await asyncio.gather(*(job_of(own, user) for user in LOOKALIKES[1:4]))

    assert own.engine.counters.received == before
    assert own.engine.hub.watchers == 0
