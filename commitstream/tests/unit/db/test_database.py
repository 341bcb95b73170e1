"""Transactions on SQLite as one is used to them from elsewhere, and one name for every way in which a database is lost."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
import weakref
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from commitstream.db.database import CONNECTION_LOST, Database, DatabaseAway
from test_framework.waiting import becomes

DEADLINE_SECONDS = 5.0


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    async with database.transaction() as session:
        await session.execute(text("CREATE TABLE notes (text TEXT PRIMARY KEY)"))
    yield database
    await database.close()


async def note(database: Database, words: str) -> None:
    async with database.transaction() as session:
        await session.execute(text("INSERT INTO notes VALUES (:words)"), {"words": words})


async def notes(database: Database) -> list[str]:
    async with database.reading() as session:
        return list((await session.scalars(text("SELECT text FROM notes ORDER BY text"))).all())


async def test_what_users_wrote_stands_in_no_error(database: Database) -> None:
    await note(database, "a secret")

    with pytest.raises(IntegrityError) as twice:
        await note(database, "a secret")

    assert "a secret" not in str(twice.value)


class TestSqlite:
    async def test_sixteen_writers_take_turns_and_none_is_turned_away(self, database: Database) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await asyncio.gather(*(note(database, f"{number:03d}") for number in range(160)))

        assert len(await notes(database)) == 160

    async def test_a_reader_waits_for_no_writer_and_sees_nothing_unfinished(self, database: Database) -> None:
        async with database.transaction() as session:
            await session.execute(text("INSERT INTO notes VALUES ('unfinished')"))

            async with asyncio.timeout(DEADLINE_SECONDS):
                assert await notes(database) == []

    async def test_a_writer_cancelled_at_any_moment_leaves_the_door_open_for_the_next(self, database: Database) -> None:
        for turns in range(0, 60, 3):
            writing = asyncio.create_task(note(database, f"cancelled {turns}"))
            for _ in range(turns):
                await asyncio.sleep(0)
            writing.cancel()
            await asyncio.wait([writing])

            async with asyncio.timeout(DEADLINE_SECONDS):
                await note(database, f"after {turns}")

        assert len([words for words in await notes(database) if words.startswith("after")]) == 20

    async def test_what_is_read_leaves_nothing_behind(self, database: Database) -> None:
        async with database.reading() as session:
            await session.execute(text("INSERT INTO notes VALUES ('by the way')"))

        assert await notes(database) == []

    async def test_who_is_cancelled_while_connecting_leaves_no_connection_open(
        self, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connect = sqlite3.connect
        opened: list[weakref.ref[sqlite3.Connection]] = []
        go_on = threading.Event()

        def connect_slowly(*given: Any, **more: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*given, **more)
            opened.append(weakref.ref(connection))
            go_on.wait(DEADLINE_SECONDS)
            return connection

        monkeypatch.setattr(sqlite3, "connect", connect_slowly)
        database = Database(database_url)
        asking = asyncio.create_task(database.ping())
        await becomes(lambda: bool(opened), "a connection that is being made")

        asking.cancel()
        await asyncio.wait([asking])
        go_on.set()

        def is_gone() -> bool:
            gc.collect()  # with a warning that fails this test, if it is still open
            return opened[0]() is None

        await becomes(is_gone, "the end of the connection")
        await database.close()


class TestLosses:
    @pytest.mark.parametrize(
        "error",
        [
            asyncpg.CannotConnectNowError("the database system is starting up"),
            asyncpg.TooManyConnectionsError("too many clients"),
            DBAPIError("SELECT", {}, asyncpg.AdminShutdownError("terminating connection")),
            DBAPIError("SELECT", {}, asyncpg.ConnectionDoesNotExistError("closed in the middle")),
            DBAPIError("SELECT", {}, Exception("gone"), connection_invalidated=True),
            PoolTimeout("the pool is exhausted"),
        ],
    )
    async def test_every_form_of_a_lost_database_has_one_name(self, database: Database, error: Exception) -> None:
        with pytest.raises(DatabaseAway) as named:
            await self._fail(database, error)

        assert named.value.__cause__ is error
        assert isinstance(named.value, CONNECTION_LOST)

    @pytest.mark.parametrize("error", [ValueError("mine"), OSError("a file of mine"), KeyError("key")])
    async def test_what_goes_wrong_in_a_block_keeps_its_own(self, database: Database, error: Exception) -> None:
        with pytest.raises(type(error)) as raised:
            await self._fail(database, error)

        assert raised.value is error

    async def test_what_the_database_refuses_is_no_loss(self, database: Database) -> None:
        await note(database, "once")

        with pytest.raises(IntegrityError):
            await note(database, "once")

    async def test_a_file_that_can_not_be_opened_is_a_loss(self) -> None:
        database = Database("sqlite+aiosqlite:////proc/place.db")
        with pytest.raises(CONNECTION_LOST):
            await database.ping()
        await database.close()

    async def _fail(self, database: Database, error: Exception) -> None:
        async with database.transaction():
            raise error
