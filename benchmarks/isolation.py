"""An empty Postgres for each test, against a rollback by hand, a database per test, and pytest-postgresql

Each turn is a number of tests that insert a row, commit and read it back, on one Postgres from the wheel, with 10 tables and with
50. What a contender needs once for a whole session is not counted, what it needs for each test is. Whoever makes a database for a
test connects to it for that test; an engine as our own application makes it, once for each test, is shown beside.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from time import perf_counter
from typing import Any

import psycopg
from pytest_postgresql.janitor import DatabaseJanitor
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from app.db.schema import migrations
from benchmarks.measure import Row, take_turns
from test_framework.isolation.databases import Databases, databases
from test_framework.isolation.levels import Level
from test_framework.isolation.template import PostgresTemplate, connect
from test_framework.service_pool import ServicePool

TESTS, FEW_TESTS = 60, 8
TURNS = 5
TABLES = (10, 50)
WITHIN, FASTER = 1.2, 10.0
Seconds = Callable[[], Awaitable[float]]


def run() -> list[Row]:
    """Let all who empty a database take turns."""
    with ServicePool("bundled", say=lambda line: None) as pool:
        return [row for count in TABLES for row in asyncio.run(_measure(pool, count))]


async def _measure(pool: ServicePool, tables: int) -> list[Row]:
    async with AsyncExitStack() as stack:
        worker = await stack.enter_async_context(databases("bench"))
        template, url = await _widen(worker, pool, tables)
        engine = create_async_engine(url, pool_size=1)
        stack.push_async_callback(engine.dispose)
        server = await connect(pool.get("postgres").url, "benchmark")
        stack.push_async_callback(server.close)
        contenders: dict[str, Seconds] = {
            "reset": partial(_each, partial(_by_reset, worker, pool, engine), TESTS),
            "reset, own engine": partial(_each, partial(_by_reset, worker, pool, None), TESTS),
            "rollback": partial(_each, partial(_by_hand, engine), TESTS),
            "our rollback": partial(_each, partial(_by_rollback, worker, pool), TESTS),
            "create": partial(_each, partial(_by_create, server, url, template), FEW_TESTS),
            "plugin": partial(_on_thread, partial(_by_plugin, pool.get("postgres").url, template), FEW_TESTS),
        }
        found = {name: seconds * 1000 for name, seconds in (await take_turns(contenders, TURNS)).items()}
    few, by_hand, ours = f"{tables} tables", found["rollback"], found["reset"]
    return [
        Row.within(f"{few}, one engine: reset, and a rollback by hand", ours, by_hand, "ms", WITHIN),
        Row.within(f"{few}: reset, and CREATE DATABASE … TEMPLATE", ours, found["create"], "ms", 1 / FASTER),
        Row.within(f"{few}: reset, and pytest-postgresql", ours, found["plugin"], "ms", 1 / FASTER),
        Row.within(
            f"{few}: reset, an engine per test, and a rollback by hand", found["reset, own engine"], by_hand, "ms"
        ),
        Row.within(f"{few}: our rollback, an engine per test, and the same", found["our rollback"], by_hand, "ms"),
    ]


async def _widen(worker: Databases, pool: ServicePool, tables: int) -> tuple[str, str]:
    """Have all contenders work on as many tables as wanted; tell the template's name, and a URL of a copy."""
    server, template = pool.get("postgres").url, f"wide_{tables}"
    async with worker.give(pool, Level.CLONE, "wide") as given:
        kit = await connect(server, "benchmark")
        await kit.execute(f'CREATE DATABASE "{template}" TEMPLATE "{make_url(given.url).database}"')
        await kit.close()
    wide = await connect(make_url(server).set(database=template).render_as_string(hide_password=False), "benchmark")
    have = await wide.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    for number in range(int(have), tables):
        await wide.execute(f"CREATE TABLE wide_{number} (id bigserial PRIMARY KEY, note text)")
    await wide.close()
    worker.templates[pool.run, migrations] = PostgresTemplate(server, pool.stack, ready=template)
    async with worker.give(pool, Level.RESET, "wide") as again:
        return template, again.url


async def _each(test: Callable[[int], Awaitable[None]], count: int) -> float:
    """Return how long the median of some tests takes: the longest tell of other programs."""
    seconds = []
    for number in range(count):
        began = perf_counter()
        await test(number)
        seconds.append(perf_counter() - began)
    return statistics.median(seconds)


async def _on_thread(test: Callable[[int], None], count: int) -> float:
    def all_of_them() -> float:
        seconds = []
        for number in range(count):
            began = perf_counter()
            test(number)
            seconds.append(perf_counter() - began)
        return statistics.median(seconds)

    return await asyncio.to_thread(all_of_them)


async def _body(session: AsyncSession, number: int) -> None:
    """What the test itself does, the same for all."""
    await session.execute(
        text("INSERT INTO commitstream_streams (stream, last_seq) VALUES (:stream, :seq)"),
        {"stream": f"user:{number}", "seq": number},
    )
    await session.commit()
    seen = await session.scalar(text("SELECT count(*) FROM commitstream_streams"))
    if seen != 1:
        raise AssertionError(f"test {number} saw {seen} rows: they are not isolated")


async def _by_reset(worker: Databases, pool: ServicePool, shared: AsyncEngine | None, number: int) -> None:
    async with worker.give(pool, Level.RESET, f"test {number}") as given:
        await _test(shared, given.url, number)


async def _by_rollback(worker: Databases, pool: ServicePool, number: int) -> None:
    async with worker.give(pool, Level.ROLLBACK, f"test {number}") as given:
        await _test(None, given.url, number)


async def _test(shared: AsyncEngine | None, url: str, number: int) -> None:
    """A test on the engine that all share, or on one of its own."""
    engine = shared or create_async_engine(url, pool_size=1)
    async with AsyncSession(engine) as session:
        await _body(session, number)
    if shared is None:
        await engine.dispose()


async def _by_hand(engine: AsyncEngine, number: int) -> None:
    """The fixture that SQLAlchemy's own documentation shows."""
    async with engine.connect() as connection:
        outer = await connection.begin()
        async with AsyncSession(connection, join_transaction_mode="create_savepoint") as session:
            await _body(session, number)
        await outer.rollback()


_names = itertools.count()


async def _by_create(server: Any, url: str, template: str, number: int) -> None:
    name = f"created_{next(_names)}"
    await server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    await _test(None, make_url(url).set(database=name).render_as_string(hide_password=False), number)
    await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _by_plugin(url: str, template: str, number: int) -> None:
    """What its `postgresql` fixture does around a test, on the same server."""
    address = make_url(url)
    host, user = str(address.query["host"]), str(address.username)
    janitor = DatabaseJanitor(
        user=user, host=host, port=5432, version="18", dbname="tests", template_dbname=template, isolation_level=None
    )
    with janitor, psycopg.connect(host=host, user=user, dbname="tests") as connection:
        connection.execute(
            "INSERT INTO commitstream_streams (stream, last_seq) VALUES (%s, %s)", (f"user:{number}", number)
        )
        connection.commit()
        connection.execute("SELECT count(*) FROM commitstream_streams")
