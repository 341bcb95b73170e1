"""One user never sees what another's is: not by asking for it, not by its cursor, its key or its channel."""

from __future__ import annotations

import asyncio

import pytest

from commitstream.bus.base import MemoryBus
from commitstream.bus.channels import PARTITIONS, Channels
from tests.agents.unit.api.inside import Inside, assert_problem, eventually

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


async def run_of(own: Inside, user: str, message: str = "hello", **headers: str) -> str:
    answer = await own.client.post(
        "/api/runs",
        json={"message": message},
        headers=own.user(user) | {k.replace("_", "-"): v for k, v in headers.items()},
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def listed(own: Inside, user: str) -> list[str]:
    return [run["id"] for run in (await own.client.get("/api/runs", headers=own.user(user))).json()]


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/events"), ("POST", "/cancel")])
async def test_the_run_of_another_does_not_exist(own: Inside, method: str, path: str) -> None:
    hers = await run_of(own, "ada", "!stall 30")

    for stranger in LOOKALIKES[1:]:
        answer = await own.client.request(method, f"/api/runs/{hers}{path}", headers=own.user(stranger))
        nowhere = await own.client.request(method, f"/api/runs/{'0' * 32}{path}", headers=own.user(stranger))

        assert_problem(answer, 404)
        assert answer.text.replace(hers, "") == nowhere.text.replace("0" * 32, "")
    assert (await own.client.get(f"/api/runs/{hers}", headers=own.user("ada"))).json()["status"] == "running"


async def test_everybody_lists_their_own_runs_alone(own: Inside) -> None:
    runs = {user: [await run_of(own, user)] for user in LOOKALIKES}

    assert {user: await listed(own, user) for user in LOOKALIKES} == runs


async def test_one_key_of_two_users_is_two_runs(own: Inside) -> None:
    hers = await run_of(own, "ada", "mine", Idempotency_Key="one")
    his = await run_of(own, "bob", "my own", Idempotency_Key="one")

    assert hers != his
    assert await run_of(own, "ada", "mine", Idempotency_Key="one") == hers
    assert await listed(own, "bob") == [his]


async def test_the_cursor_of_another_opens_nothing(own: Inside) -> None:
    await run_of(own, "ada")
    await eventually(lambda: own.engine.journal.head("user:ada"), lambda head: head == 5)

    answer = await own.client.get("/api/events?after=5", headers=own.user("bob"))

    assert_problem(answer, 409, "cursor 5 is ahead of the last event, 0")


async def test_a_cursor_within_ones_own_stream_shows_ones_own_events(own: Inside) -> None:
    hers, his = await run_of(own, "ada"), await run_of(own, "bob")
    await eventually(lambda: own.engine.journal.head("user:bob"), lambda head: head == 5)

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

    await run_of(own, "ada")
    await asyncio.gather(*(run_of(own, user) for user in LOOKALIKES[1:4]))

    assert own.engine.counters.received == before
    assert own.engine.hub.watchers == 0
