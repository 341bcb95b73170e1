"""What is published is what was committed: one table of transactions, on whatever database is real."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from commitstream.db.tables import StreamHead
from commitstream.topics import user_stream
from test_framework.websocket.event_path import EventPath, thought

Shape = Callable[[EventPath], Awaitable[None]]
JoinMode = Literal["conditional_savepoint", "rollback_only", "control_fully", "create_savepoint"]

JOIN_MODES: tuple[JoinMode, ...] = ("conditional_savepoint", "rollback_only", "control_fully", "create_savepoint")
STREAM = user_stream("ada")
USER = str(STREAM)
TABLE: dict[str, tuple[Shape, str]] = {}


class Refusal(Exception):
    """What a block raises in these shapes."""


def shape(committed: str) -> Callable[[Shape], Shape]:
    """Enter a transaction into the table, with the letters of the events that it leaves in the journal."""

    def enter(function: Shape) -> Shape:
        TABLE[function.__name__.replace("_", " ")] = (function, committed)
        return function

    return enter


async def log(path: EventPath, session: AsyncSession, letters: str) -> None:
    await path.journal.append(session, STREAM, *(thought(letter) for letter in letters))


@shape("a")
async def a_commit(path: EventPath) -> None:
    async with path.database.transaction() as session:
        await log(path, session, "a")


@shape("abcd")
async def several_events_in_one_commit(path: EventPath) -> None:
    async with path.database.transaction() as session:
        await log(path, session, "ab")
        await log(path, session, "cd")


@shape("")
async def a_rollback(path: EventPath) -> None:
    async with path.database.transaction() as session:
        await log(path, session, "a")
        await session.rollback()


@shape("")
async def an_exception_in_the_block(path: EventPath) -> None:
    with suppress(Refusal):
        async with path.database.transaction() as session:
            await log(path, session, "a")
            raise Refusal


@shape("ab")
async def a_savepoint_released_then_a_commit(path: EventPath) -> None:
    async with path.database.transaction() as session:
        await log(path, session, "a")
        async with session.begin_nested():
            await log(path, session, "b")


@shape("ac")
async def a_savepoint_rolled_back_then_a_commit(path: EventPath) -> None:
    async with path.database.transaction() as session:
        await log(path, session, "a")
        with suppress(Refusal):
            async with session.begin_nested():
                await log(path, session, "b")
                raise Refusal
        await log(path, session, "c")


@shape("")
async def a_savepoint_released_then_a_rollback(path: EventPath) -> None:
    async with path.database.transaction() as session:
        async with session.begin_nested():
            await log(path, session, "a")
        await session.rollback()


@shape("")
async def nothing_but_a_savepoint_rolled_back(path: EventPath) -> None:
    async with path.database.transaction() as session:
        nested = await session.begin_nested()
        await log(path, session, "a")
        await nested.rollback()


@shape("ac")
async def a_savepoint_in_sql_rolled_back_then_a_commit(path: EventPath) -> None:
    async with path.database.transaction() as session:
        await log(path, session, "a")
        await session.execute(text("SAVEPOINT by_hand"))
        await log(path, session, "b")
        await session.execute(text("ROLLBACK TO SAVEPOINT by_hand"))
        await log(path, session, "c")


@shape("ab")
async def a_savepoint_in_sql_released_then_a_commit(path: EventPath) -> None:
    async with path.database.transaction() as session:
        await log(path, session, "a")
        await session.execute(text("/* by hand */ savepoint by_hand"))
        await log(path, session, "b")
        await session.execute(text("-- and let go\n release savepoint by_hand"))


@shape("")
async def nothing_but_a_savepoint_in_sql_rolled_back(path: EventPath) -> None:
    async with path.database.transaction() as session:
        await (await session.connection()).exec_driver_sql("SAVEPOINT by_hand")
        await log(path, session, "a")
        await (await session.connection()).exec_driver_sql("ROLLBACK TO by_hand")


@shape("")
async def a_savepoint_in_sql_released_then_a_rollback(path: EventPath) -> None:
    async with path.database.transaction() as session:
        await session.execute(text("SAVEPOINT by_hand"))
        await log(path, session, "a")
        await session.execute(text("RELEASE SAVEPOINT by_hand"))
        await session.rollback()


@shape("abe")
async def nested_savepoints_of_every_kind(path: EventPath) -> None:
    async with path.database.transaction() as session:
        async with session.begin_nested():
            await log(path, session, "a")
            async with session.begin_nested():
                await log(path, session, "b")
            inner = await session.begin_nested()
            await log(path, session, "c")
            await inner.rollback()
        outer = await session.begin_nested()
        async with session.begin_nested():
            await log(path, session, "d")
        await outer.rollback()
        await log(path, session, "e")


@shape("b")
async def a_commit_after_a_savepoint_was_rolled_back_and_its_numbers_given_again(path: EventPath) -> None:
    async with path.database.transaction() as session:
        nested = await session.begin_nested()
        await log(path, session, "a")
        await nested.rollback()
        async with session.begin_nested():
            await log(path, session, "b")


@shape("b")
async def a_session_used_again_after_its_rollback(path: EventPath) -> None:
    async with path.database.reading() as session:
        await log(path, session, "a")
        await session.rollback()
        await log(path, session, "b")
        await session.commit()


@shape("ab")
async def a_session_that_commits_twice(path: EventPath) -> None:
    async with path.database.reading() as session:
        await log(path, session, "a")
        await session.commit()
        await log(path, session, "b")
        await session.commit()


@shape("")
async def a_session_closed_without_a_commit(path: EventPath) -> None:
    async with path.database.reading() as session:
        await log(path, session, "a")


@shape("")
async def a_session_of_two_transactions_both_left(path: EventPath) -> None:
    async with path.database.reading() as session:
        async with session.begin_nested():
            await log(path, session, "a")
        await session.rollback()
        await log(path, session, "b")


@shape("ab")
async def sessions_interleaved_on_one_user(path: EventPath) -> None:
    async with path.database.reading() as lost, path.database.reading() as kept:
        await log(path, lost, "x")
        await lost.rollback()
        await log(path, kept, "a")
        await kept.commit()
        async with kept.begin_nested():
            await log(path, kept, "b")
        await lost.commit()
        await kept.commit()


@shape("")
async def a_commit_that_a_constraint_refuses(path: EventPath) -> None:
    with suppress(IntegrityError):
        async with path.database.transaction() as session:
            await _demand_at_commit(path, session)
            await log(path, session, "a")


@shape("a")
async def a_commit_after_one_that_a_constraint_refused(path: EventPath) -> None:
    async with path.database.reading() as session:
        await _demand_at_commit(path, session)
        await log(path, session, "x")
        with pytest.raises(IntegrityError):
            await session.commit()
        await session.rollback()
        await log(path, session, "a")
        await session.commit()


@shape("")
async def a_commit_over_a_broken_connection(path: EventPath) -> None:
    with suppress(SQLAlchemyError, OSError):
        async with path.database.transaction() as session:
            await log(path, session, "a")
            await (await session.connection()).invalidate()


@shape("a")
async def a_core_insert_in_the_same_transaction(path: EventPath) -> None:
    async with path.database.transaction() as session:
        await session.execute(insert(StreamHead), [{"stream": f"user:bob-{n}", "last_seq": 0} for n in range(3)])
        await log(path, session, "a")


@shape("ab")
async def a_core_savepoint_released_below_a_session(path: EventPath) -> None:
    async with path.database.transaction() as session:
        await log(path, session, "a")
        async with (await session.connection()).begin_nested():
            await log(path, session, "b")


@shape("ac")
async def a_core_savepoint_rolled_back_below_a_session(path: EventPath) -> None:
    async with path.database.transaction() as session:
        await log(path, session, "a")
        nested = await (await session.connection()).begin_nested()
        await log(path, session, "b")
        await nested.rollback()
        await log(path, session, "c")


async def _demand_at_commit(path: EventPath, session: AsyncSession) -> None:
    """Write what only the commit refuses."""
    await session.execute(text("CREATE TABLE IF NOT EXISTS parents (id INTEGER PRIMARY KEY)"))
    await session.execute(
        text("CREATE TABLE orphans (parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)")
    )
    await session.execute(text("INSERT INTO orphans VALUES (1)"))


@pytest.mark.parametrize("name", TABLE)
async def test_what_is_published_is_what_was_committed(path: EventPath, name: str) -> None:
    carry_out, committed = TABLE[name]

    await carry_out(path)
    await path.settle()

    await assert_published(path, committed)


Ending = Literal["commit", "rollback", "close"]
SURVIVES = {
    ("conditional_savepoint", "commit", "commit"): "a",
    ("conditional_savepoint", "close", "commit"): "a",
    ("rollback_only", "commit", "commit"): "a",
    ("rollback_only", "close", "commit"): "a",
    ("control_fully", "commit", "commit"): "a",
    ("control_fully", "commit", "rollback"): "a",
    ("create_savepoint", "commit", "commit"): "a",
}


@pytest.mark.parametrize("outer_ending", ["commit", "rollback"])
@pytest.mark.parametrize("ending", ["commit", "rollback", "close"])
@pytest.mark.parametrize("join_mode", JOIN_MODES)
async def test_a_session_joined_into_a_transaction_publishes_when_that_commits(
    path: EventPath, join_mode: JoinMode, ending: Ending, outer_ending: Ending
) -> None:
    async with path.database.engine.connect() as connection:
        outer = await connection.begin()
        session = AsyncSession(connection, join_transaction_mode=join_mode)
        await log(path, session, "a")
        await getattr(session, ending)()
        await session.close()
        await path.settle()
        assert path.bus.early == []

        if outer.is_active:
            await getattr(outer, outer_ending)()
    await path.settle()

    await assert_published(path, SURVIVES.get((join_mode, ending, outer_ending), ""))


async def test_a_session_that_outlives_its_connection_loses_nothing(path: EventPath) -> None:
    async with path.database.engine.connect() as connection:
        await connection.begin()
        session = AsyncSession(connection, join_transaction_mode="rollback_only")
        await log(path, session, "a")
        await connection.commit()
    await session.commit()
    await session.close()
    await path.settle()

    await assert_published(path, "a")


async def test_two_sessions_joined_one_after_the_other_publish_what_both_wrote(path: EventPath) -> None:
    async with path.database.engine.connect() as connection, connection.begin():
        for letter in "ab":
            async with AsyncSession(connection, join_transaction_mode="create_savepoint") as session:
                await log(path, session, letter)
                await session.commit()
    await path.settle()

    await assert_published(path, "ab")


async def test_a_connection_that_goes_on_after_its_commit_publishes_what_it_had_committed(path: EventPath) -> None:
    async with path.database.engine.connect() as connection:
        await _joined(path, connection, "a")
        await connection.commit()
        await _joined(path, connection, "b")
        await connection.rollback()
    await path.settle()

    await assert_published(path, "a")


async def _joined(path: EventPath, connection: AsyncConnection, letters: str) -> None:
    await connection.begin()
    async with AsyncSession(connection, join_transaction_mode="create_savepoint") as session:
        await log(path, session, letters)
        await session.commit()


async def test_a_savepoint_never_publishes_what_others_wrote_after_it(path: EventPath) -> None:
    """A session with a savepoint makes the relay look into the journal: it must take its own from there, no more."""
    async with path.database.transaction() as session, session.begin_nested():
        await log(path, session, "a")
    async with path.database.transaction() as session:
        await log(path, session, "b")
    await path.settle()

    await assert_published(path, "ab")


async def test_six_hundred_events_around_a_savepoint_are_all_published(path: EventPath) -> None:
    async with path.database.transaction() as session, session.begin_nested():
        await path.journal.append(session, STREAM, *(thought(str(n)) for n in range(600)))
    await path.settle()

    assert path.bus.frames(USER) == await path.written(USER)
    assert len(path.bus.frames(USER)) == 600


async def assert_published(path: EventPath, committed: str) -> None:
    """The journal holds these letters, without a gap; just that was published, once each, and not before the commit."""
    written = await path.written(USER)
    assert "".join(json.loads(frame)["payload"]["thought"] for frame in written) == committed
    assert [json.loads(frame)["seq"] for frame in written] == list(range(1, len(committed) + 1))
    assert path.bus.frames(USER) == written
    assert path.bus.early == []
