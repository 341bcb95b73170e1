"""Several streams in one transaction: numbered each, published together, and locked in one order by every writer."""

from __future__ import annotations

import asyncio
import json
import random

import pytest
from sqlalchemy import text

from commitstream.tests.unit.events.auction import LOTS, Chatted
from commitstream.topics import Stream, Topics, user_stream, users
from test_framework.websocket.event_path import EventPath, Thought, thought

STREAMS = [LOTS.stream(key) for key in ("1", "2", "10")] + [user_stream("ada"), user_stream("lot:1")]
SOON_SECONDS = 5.0


@pytest.fixture(autouse=True)
def _lots(path: EventPath) -> None:
    path.journal.topics.add(LOTS)


def said(stream: Stream, words: str) -> Chatted | Thought:
    return Chatted(text=words) if stream.topic == LOTS.name else thought(words)


async def words(path: EventPath, stream: Stream) -> list[str]:
    frames = [json.loads(frame) for frame in await path.written(str(stream))]
    assert [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1))
    assert {frame["stream"] for frame in frames} <= {str(stream)}
    return [next(iter(frame["payload"].values())) for frame in frames]


async def test_each_stream_is_numbered_by_itself_in_the_order_given(path: EventPath) -> None:
    shuffled = [stream for stream in STREAMS for _ in range(3)]
    random.Random(1).shuffle(shuffled)

    async with path.database.transaction() as session:
        for place, stream in enumerate(shuffled):
            await path.journal.append(session, stream, said(stream, f"{place}"), said(stream, f"{place} again"))
    await path.settle()

    for stream in STREAMS:
        given = [place for place, other in enumerate(shuffled) if other == stream]
        assert await words(path, stream) == [word for place in given for word in (f"{place}", f"{place} again")]
        assert path.bus.frames(str(stream)) == await path.written(str(stream))
    assert path.bus.early == []


async def test_a_rollback_takes_back_all_streams(path: EventPath) -> None:
    async with path.database.transaction() as session:
        for stream in STREAMS:
            await path.journal.append(session, stream, said(stream, "never"))
        await session.rollback()
    await path.settle()

    assert [await words(path, stream) for stream in STREAMS] == [[]] * len(STREAMS)
    assert path.bus.published == []


async def test_an_unknown_type_is_refused_before_anything_is_written(path: EventPath) -> None:
    async with path.database.transaction() as session:
        await path.journal.append(session, user_stream("ada"), thought("kept"))
        with pytest.raises(ValueError, match="topic lot takes no thought"):
            await path.journal.append(session, LOTS.stream("1"), thought("refused"))

    assert await words(path, user_stream("ada")) == ["kept"]


@pytest.mark.parametrize("seed", range(3))
async def test_writers_of_the_same_streams_never_wait_for_one_another(path: EventPath, seed: int) -> None:
    chance = random.Random(seed)

    async def write(number: int) -> None:
        for turn in range(10):
            async with path.database.transaction() as session:
                for stream in chance.sample(STREAMS, k=4):
                    await path.journal.append(session, stream, said(stream, f"{number}/{turn}"))

    async with asyncio.timeout(SOON_SECONDS * 4):
        await asyncio.gather(*(write(number) for number in range(5)))

    assert sum([len(await words(path, stream)) for stream in STREAMS]) == 5 * 10 * 4


@pytest.mark.needs("postgres")
async def test_streams_are_locked_in_sorted_order(path: EventPath) -> None:
    """A writer that waits for the first of its streams, by name, must hold none of the others."""
    first, second = sorted(STREAMS, key=str)[:2]
    for stream in (first, second):
        async with path.database.transaction() as session:
            await path.journal.append(session, stream, said(stream, "before"))

    async def write(*streams: Stream) -> None:
        async with path.database.transaction() as session:
            for stream in streams:
                await path.journal.append(session, stream, said(stream, "after"))

    async with path.database.transaction() as holder:
        lock = text("SELECT last_seq FROM commitstream_streams WHERE stream = :stream FOR UPDATE")
        await holder.execute(lock, {"stream": str(first)})
        waiting = asyncio.create_task(write(second, first))
        async with asyncio.timeout(SOON_SECONDS):
            await _until_it_waits(path)
            await write(second)
        assert not waiting.done()
    await waiting

    assert [await words(path, stream) for stream in (first, second)] == [
        ["before", "after"],
        ["before", "after", "after"],
    ]


async def _until_it_waits(path: EventPath) -> None:
    blocked = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    while True:
        async with path.database.reading() as session:
            if await session.scalar(blocked):
                return
        await asyncio.sleep(0.01)


async def test_metadata_is_shown_where_the_topic_names_it(path: EventPath) -> None:
    lot, ada = LOTS.stream("1"), user_stream("ada")
    metadata = {"source": "bidding floor", "request_id": "r-1", "trace_id": None}

    async with path.database.transaction() as session:
        await path.journal.append(session, lot, Chatted(text="hm"), metadata=metadata)
        await path.journal.append(session, ada, thought("hm"), metadata=metadata)
        await path.journal.append(session, ada, thought("without"))
    await path.settle()

    (shown,) = [json.loads(frame) for frame in path.bus.frames(str(lot))]
    assert shown["metadata"] == {"source": "bidding floor"}
    assert "r-1" not in path.bus.frames(str(lot))[0]
    assert not any("metadata" in json.loads(frame) for frame in path.bus.frames(str(ada)))
    kept = {"source": "bidding floor", "request_id": "r-1"}
    assert [await path.journal.metadata(*place) for place in ((lot, 1), (ada, 1), (ada, 2))] == [kept, kept, {}]


def test_nothing_of_the_metadata_is_shown_unless_named() -> None:
    (topic,) = Topics([users(events=[Thought])])

    assert topic.metadata_shown("thought") == frozenset()
