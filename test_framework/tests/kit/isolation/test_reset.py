"""Isolation by reset: commits are real, afterwards nothing is left, and who leaves what can't be undone is told so."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from contextlib import AsyncExitStack

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.schema import migrations
from commitstream.db.database import Database
from commitstream.db.migrate import Migrations
from test_framework import CHECKOUT
from test_framework.isolation.databases import Databases
from test_framework.isolation.levels import Level
from test_framework.isolation.template import connect
from test_framework.isolation.worker_database import IsolationError
from test_framework.service_pool import ServicePool

TESTS = 30
WRITE = "INSERT INTO commitstream_streams (stream, last_seq) VALUES ($1, 1)"
COUNT = "SELECT count(*) FROM commitstream_streams"
ANOTHER_PROCESS = """
import asyncio, sys
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from commitstream.db.database import Database
from commitstream.db.migrate import Migrations
async def write():
    database = Database(sys.argv[1])
    async with database.transaction() as session:
        await session.execute(text("INSERT INTO commitstream_streams (stream, last_seq) VALUES ('from another process', 1)"))
    await database.close()
asyncio.run(write())
"""


async def write(url: str, stream: str = "user:ada") -> None:
    connection = await connect(url, "a test that writes")
    await connection.execute(WRITE, stream)
    await connection.close()


async def count(url: str) -> int:
    connection = await connect(url, "a test that reads")
    try:
        return int(await connection.fetchval(COUNT))
    finally:
        await connection.close()


async def leave(worker: Databases, pool: ServicePool, *statements: str) -> str:
    """Play a test that executes statements, each of them committed; tell where."""
    async with worker.give(pool, Level.RESET, "tests/integration/test_played.py::test_that_leaves") as given:
        connection = await connect(given.url, "a test that leaves something")
        for statement in statements:
            await connection.execute(statement)
        await connection.close()
        return given.url


async def test_what_several_connections_and_processes_committed_is_seen_by_all_and_gone_afterwards(
    worker: Databases, pool: ServicePool
) -> None:
    async with worker.give(pool, Level.RESET, "first") as given:
        await write(given.url)
        process = [sys.executable, "-c", ANOTHER_PROCESS, given.url]
        await asyncio.to_thread(subprocess.run, process, cwd=CHECKOUT, check=True, timeout=20)
        assert await count(given.url) == 2
    async with worker.give(pool, Level.RESET, "second") as again:
        assert await count(again.url) == 0

    assert given.url == again.url
    assert (given.emptied, again.emptied) == (("commitstream_streams",), ())


async def test_only_tables_that_were_written_are_emptied_also_where_the_writer_rolled_back(
    worker: Databases, pool: ServicePool
) -> None:
    async with worker.give(pool, Level.RESET, "rolls back") as given:
        connection = await connect(given.url, "a test that rolls back")
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("DELETE FROM runs")
        await transaction.rollback()
        await connection.execute("SELECT * FROM commitstream_streams")
        await connection.close()

    assert given.emptied == ("runs",)


async def test_migrations_and_models_see_nothing_of_it(worker: Databases, pool: ServicePool) -> None:
    async with worker.give(pool, Level.RESET, "checks") as given:
        database = Database(given.url)
        await migrations.check(database.engine)
        await database.close()

    assert given.emptied == ()


async def test_a_transaction_left_open_is_named_and_the_next_test_finds_an_empty_database(
    worker: Databases, pool: ServicePool
) -> None:
    async def leak() -> None:
        async with worker.give(pool, Level.RESET, "tests/integration/test_a.py::test_that_leaks") as given:
            await write(given.url)
            database = Database(given.url)
            session = AsyncSession(database.engine)
            left_open.push_async_callback(database.close)
            # its connection was ended under it: a rollback on it would count as a failed connection of this run
            left_open.push_async_callback(session.invalidate)
            await session.execute(
                text("INSERT INTO commitstream_streams (stream, last_seq) VALUES ('never committed', 1)")
            )

    left_open = AsyncExitStack()
    with pytest.raises(IsolationError) as caught:
        await leak()

    assert "after 200ms" in str(caught.value)
    assert "tests/integration/test_a.py::test_that_leaks (pid " in str(caught.value)
    assert "idle in transaction" in str(caught.value)
    assert "last query: INSERT INTO commitstream_streams" in str(caught.value)
    async with worker.give(pool, Level.RESET, "next") as given:
        assert await count(given.url) == 0
    await left_open.aclose()


async def test_a_lock_in_the_way_is_named_hardly_later_than_the_patience_allows(
    worker: Databases, pool: ServicePool
) -> None:
    async with worker.give(pool, Level.RESET, "warm up") as given:
        await write(given.url)

    async def lock() -> None:
        async with worker.give(pool, Level.RESET, "locks") as given:
            await write(given.url)
            connection = await connect(given.url, "the one who locks")
            await connection.execute("BEGIN; LOCK TABLE commitstream_streams IN SHARE MODE")

    began = time.perf_counter()
    with pytest.raises(IsolationError, match="the one who locks"):
        await lock()

    assert time.perf_counter() - began < 2.0


async def test_a_changed_schema_is_shown_and_gone_for_the_next_test(worker: Databases, pool: ServicePool) -> None:
    with pytest.raises(IsolationError) as caught:
        await leave(worker, pool, "CREATE TABLE stray (id int)", "ALTER TABLE runs ALTER COLUMN message DROP NOT NULL")

    assert "+ table stray" in str(caught.value)
    assert "- column runs.message text not null" in str(caught.value)
    assert '@pytest.mark.isolation("clone")' in str(caught.value)
    async with worker.give(pool, Level.RESET, "next") as given:
        with pytest.raises(asyncpg.UndefinedTableError):
            await (connection := await connect(given.url, "looks")).execute("SELECT * FROM stray")
        await connection.close()


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ("CREATE INDEX stray ON runs (message)", "+ CREATE INDEX stray ON public.runs"),
        ("CREATE FUNCTION stray() RETURNS int LANGUAGE sql AS 'SELECT 1'", "+ function stray()"),
        ("CREATE TYPE stray AS ENUM ('a', 'b')", "+ type stray a, b"),
        ("CREATE SCHEMA stray", "+ schema stray"),
        (
            "DROP INDEX ix_commitstream_events_stream_subject_seq",
            "- CREATE INDEX ix_commitstream_events_stream_subject_seq",
        ),
        (
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = ''1MB''', current_database()); END $$",
            "work_mem",
        ),
    ],
)
async def test_whatever_is_changed_is_noticed(worker: Databases, pool: ServicePool, change: str, shown: str) -> None:
    with pytest.raises(IsolationError) as caught:
        await leave(worker, pool, change)

    assert shown in str(caught.value)


async def test_a_change_that_was_undone_and_a_temporary_table_are_no_change(
    worker: Databases, pool: ServicePool
) -> None:
    first = await leave(worker, pool, "CREATE TEMP TABLE mine (id int)", "CREATE TABLE a (id int)", "DROP TABLE a")
    second = await leave(worker, pool)

    assert first == second


async def test_rows_that_came_with_the_migrations_come_back(worker: Databases, pool: ServicePool) -> None:
    await leave(worker, pool, "DELETE FROM alembic_version", WRITE.replace("$1", "'ada'"))

    async with worker.give(pool, Level.RESET, "next") as given:
        database = Database(given.url)
        await migrations.require_newest(database.engine)
        await database.close()
        assert await count(given.url) == 0


async def test_a_database_that_a_test_dropped_is_made_anew(worker: Databases, pool: ServicePool) -> None:
    async with worker.give(pool, Level.RESET, "drops") as given:
        server = await connect(pool.get("postgres").url, "the one who drops")
        await server.execute(f'DROP DATABASE "{given.url.rpartition("/")[2].partition("?")[0]}" WITH (FORCE)')
        await server.close()

    async with worker.give(pool, Level.RESET, "next") as again:
        assert await count(again.url) == 0


async def test_many_tests_with_an_engine_each_open_a_handful_of_connections(
    worker: Databases, pool: ServicePool
) -> None:
    pids = set()
    for number in range(TESTS):
        async with worker.give(pool, Level.RESET, f"test {number}") as given:
            database = Database(given.url)
            async with database.transaction() as writing, database.reading() as reading:
                pids.add(await writing.scalar(text("SELECT pg_backend_pid()")))
                pids.add(await reading.scalar(text("SELECT pg_backend_pid()")))
                name = await reading.scalar(text("SELECT current_setting('application_name')"))
                await reading.execute(text("SET statement_timeout = 4711"))
                await reading.commit()
            assert str(name).endswith(f"test {number}")
            await database.close()
            database = Database(given.url)
            async with database.reading() as session:
                assert await session.scalar(text("SHOW statement_timeout")) == "0"
            await database.close()

    assert len(pids) == 2
    assert worker.store.opened <= 3
    assert worker.store.reused >= TESTS


TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
TEMPLATES = "SELECT datname FROM pg_database WHERE datistemplate AND datname LIKE 'template\\_%\\_%'"


async def names(url: str, question: str) -> set[str]:
    connection = await connect(url, "a test that reads")
    try:
        return {row[0] for row in await connection.fetch(question)}
    finally:
        await connection.close()


async def test_each_application_gets_its_own_tables(worker: Databases, pool: ServicePool) -> None:
    engine_alone = Migrations()
    async with worker.give(pool, Level.RESET, "of the service") as given:
        service = await names(given.url, TABLES)
        before = await names(given.url, TEMPLATES)
    async with worker.give(pool, Level.RESET, "of another application", engine_alone) as given:
        other = await names(given.url, TABLES)
        after = await names(given.url, TEMPLATES)
    async with worker.give(pool, Level.RESET, "of the service again") as given:
        assert await names(given.url, TABLES) == service

    assert other < service
    assert "commitstream_streams" in other
    assert before < after, "one application's template was swept by another's"
