"""One user never sees what another's is: not by asking for it, not by its cursor, its key or its channel."""

from __future__ import annotations

import asyncio

import pytest

from app.events.bus import MemoryBus
from app.events.redis_bus import RedisBus
from tests.unit.api.inside import Inside, assert_problem, eventually

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


async def run_of(inside: Inside, user: str, message: str = "hello", **headers: str) -> str:
    answer = await inside.client.post(
        "/api/runs",
        json={"message": message},
        headers=inside.user(user) | {k.replace("_", "-"): v for k, v in headers.items()},
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def listed(inside: Inside, user: str) -> list[str]:
    return [run["id"] for run in (await inside.client.get("/api/runs", headers=inside.user(user))).json()]


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/events"), ("POST", "/cancel")])
async def test_the_run_of_another_does_not_exist(inside: Inside, method: str, path: str) -> None:
    hers = await run_of(inside, "ada", "!stall 30")

    for stranger in LOOKALIKES[1:]:
        answer = await inside.client.request(method, f"/api/runs/{hers}{path}", headers=inside.user(stranger))
        nowhere = await inside.client.request(method, f"/api/runs/{'0' * 32}{path}", headers=inside.user(stranger))

        assert_problem(answer, 404)
        assert answer.text.replace(hers, "") == nowhere.text.replace("0" * 32, "")
    assert (await inside.client.get(f"/api/runs/{hers}", headers=inside.user("ada"))).json()["status"] == "running"


async def test_everybody_lists_their_own_runs_alone(inside: Inside) -> None:
    runs = {user: [await run_of(inside, user)] for user in LOOKALIKES}

    assert {user: await listed(inside, user) for user in LOOKALIKES} == runs


async def test_one_key_of_two_users_is_two_runs(inside: Inside) -> None:
    hers = await run_of(inside, "ada", "mine", Idempotency_Key="one")
    his = await run_of(inside, "bob", "my own", Idempotency_Key="one")

    assert hers != his
    assert await run_of(inside, "ada", "mine", Idempotency_Key="one") == hers
    assert await listed(inside, "bob") == [his]


async def test_the_cursor_of_another_opens_nothing(inside: Inside) -> None:
    await run_of(inside, "ada")
    await eventually(lambda: inside.service.journal.head("ada"), lambda head: head == 5)

    answer = await inside.client.get("/api/events?after=5", headers=inside.user("bob"))

    assert_problem(answer, 409, "cursor 5 is ahead of the last event, 0")


async def test_a_cursor_within_ones_own_stream_shows_ones_own_events(inside: Inside) -> None:
    hers, his = await run_of(inside, "ada"), await run_of(inside, "bob")
    await eventually(lambda: inside.service.journal.head("bob"), lambda head: head == 5)

    found = await inside.service.journal.after("bob", 0)

    assert found is not None
    assert all(his in frame and hers not in frame for frame in found.frames)


async def test_the_channels_of_any_two_users_differ() -> None:
    bus = RedisBus("redis://nowhere", "events", "process")

    channels = [bus._channels + user for user in LOOKALIKES]

    assert len(set(channels)) == len(LOOKALIKES)
    assert bus._beat not in channels
    await bus.close()


async def test_the_in_process_bus_brings_a_user_their_own_alone(inside: Inside) -> None:
    assert isinstance(inside.service.bus, MemoryBus)
    before = inside.service.tally.received

    await run_of(inside, "ada")
    await asyncio.gather(*(run_of(inside, user) for user in LOOKALIKES[1:4]))

    assert inside.service.tally.received == before
    assert inside.service.hub.watchers == 0
