"""Numbers without gaps, in the order of commits: "everything after n" misses nothing, however many write at once."""

from __future__ import annotations

import asyncio
import json
import random

import pytest

from commitstream.topics import Stream, user_stream
from test_framework.websocket.event_path import EventPath, thought

WRITERS = 16
TRANSACTIONS = 12
ADA, BOB, EVE = user_stream("ada"), user_stream("bob"), user_stream("eve")


class ChangedItsMind(Exception):
    """Why a writer rolls back."""


async def write(path: EventPath, stream: Stream, number: int) -> int:
    """Commit and roll back at random, with a little wait between the insert and the end; tell how many events stay."""
    chance = random.Random(number)
    kept = 0
    for turn in range(TRANSACTIONS):
        events = [thought(f"{number}/{turn}/{n}") for n in range(chance.randint(1, 3))]
        try:
            async with path.database.transaction() as session:
                await path.journal.append(session, stream, *events)
                await asyncio.sleep(chance.uniform(0, 0.002))
                if chance.random() < 0.3:
                    raise ChangedItsMind
        except ChangedItsMind:
            continue
        kept += len(events)
    return kept


async def follow(path: EventPath, stream: str, seen: list[int], until: asyncio.Event) -> None:
    """Read everything after what was read, again and again, and once more when all is written."""
    last = False
    while not last:
        last = until.is_set()
        batch = await path.journal.after(stream, seen[-1] if seen else 0, limit=7)
        if batch is not None:
            seen += [json.loads(frame)["seq"] for frame in batch.frames]
            last = False
        await asyncio.sleep(0)


async def test_sixteen_writers_of_one_user_leave_no_gap_and_a_reader_misses_nothing(path: EventPath) -> None:
    seen: list[int] = []
    written = asyncio.Event()
    following = asyncio.create_task(follow(path, str(ADA), seen, written))

    kept = sum(await asyncio.gather(*(write(path, ADA, number) for number in range(WRITERS))))
    written.set()
    await following
    await path.settle()

    assert seen == list(range(1, kept + 1))
    assert path.bus.early == []
    assert sorted(path.bus.frames(str(ADA)), key=lambda frame: int(json.loads(frame)["seq"])) == await path.written(
        str(ADA)
    )


async def test_writers_of_several_users_are_numbered_each_for_themselves(path: EventPath) -> None:
    users = [user_stream(f"user{number % 4}") for number in range(WRITERS)]

    kept = await asyncio.gather(*(write(path, user, number) for number, user in enumerate(users)))

    for user in set(users):
        expected = sum(count for count, owner in zip(kept, users, strict=True) if owner == user)
        numbers = [json.loads(frame)["seq"] for frame in await path.written(str(user))]
        assert numbers == list(range(1, expected + 1))


async def test_the_events_of_one_transaction_are_numbered_in_the_order_in_which_they_were_given(
    path: EventPath,
) -> None:
    texts = [str(number) for number in range(300)]

    async with path.database.transaction() as session:
        await path.journal.append(session, ADA, *(thought(text) for text in texts))

    written = [json.loads(frame) for frame in await path.written(str(ADA))]
    assert [event["payload"]["thought"] for event in written] == texts


async def test_what_is_read_in_one_query_for_many_users_is_each_user_s_own_page(path: EventPath) -> None:
    for user, count in ((ADA, 5), (BOB, 2), (EVE, 0)):
        if count:
            async with path.database.transaction() as session:
                await path.journal.append(session, user, *(thought(f"{user} {n}") for n in range(count)))

    found = await path.journal.after_each({str(ADA): 1, str(BOB): 2, str(EVE): 0, "user:nobody": 7}, limit=3)

    assert [(batch.stream, batch.first, batch.last) for batch in found] == [(str(ADA), 2, 4)]


async def test_a_page_is_no_larger_than_it_may_be_and_never_empty(path: EventPath) -> None:
    for user in (ADA, BOB):
        async with path.database.transaction() as session:
            await path.journal.append(session, user, *(thought("x" * 10_000) for _ in range(10)))

    found = await path.journal.after_each({str(ADA): 0, str(BOB): 8}, size=35_000)
    one = await path.journal.after(str(ADA), 3, size=1)

    assert [(batch.stream, batch.first, batch.last) for batch in found] == [(str(ADA), 1, 4), (str(BOB), 9, 10)]
    assert one is not None
    assert (one.first, one.last) == (4, 4)


@pytest.mark.parametrize(
    "text",
    ["line\nbreak", "a \0 nul", 'quotes " and \\', "ünïcödé 🐘", "\u2028 separators \u2029", "%s :user_id $1", ""],
)
async def test_any_text_comes_back_as_it_was_written(path: EventPath, text: str) -> None:
    user = user_stream("".join(filter(str.isprintable, text)) or "ada")
    async with path.database.transaction() as session:
        await path.journal.append(session, user, thought(text))

    (frame,) = await path.written(str(user))
    assert json.loads(frame)["payload"]["thought"] == text


async def test_an_empty_log_is_refused(path: EventPath) -> None:
    async with path.database.transaction() as session:
        with pytest.raises(ValueError, match="at least one event"):
            await path.journal.append(session, ADA)
