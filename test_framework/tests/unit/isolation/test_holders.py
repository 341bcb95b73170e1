"""A pool that is exhausted says who holds its connections."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from test_framework.isolation.holders import Holders


async def a_function_that_holds(engine: AsyncEngine) -> AsyncConnection:
    connection = await engine.connect()
    await connection.execute(text("SELECT 1"))
    return connection


def small() -> AsyncEngine:
    """An engine that has one connection, and no patience."""
    return create_async_engine(
        "sqlite+aiosqlite://", poolclass=AsyncAdaptedQueuePool, pool_size=1, max_overflow=0, pool_timeout=0.05
    )


async def test_whoever_waits_in_vain_is_told_who_holds_what_of_that_pool() -> None:
    engine, other = small(), small()
    holders = Holders(lambda: "test_that_is_greedy")
    holders.begin()
    try:
        elsewhere = await other.connect()
        held = await a_function_that_holds(engine)
        with pytest.raises(PoolTimeout, match="1 connections are checked out") as caught:
            await a_function_that_holds(engine)
        await held.close()
        await elsewhere.close()
        assert "test_holders.py" in str(caught.value)
        assert "(a_function_that_holds), in the task" in str(caught.value)
        assert "of test_that_is_greedy, for" in str(caught.value)

        await (await a_function_that_holds(engine)).close()
        assert holders.told(engine.pool) == "0 connections are checked out:"
    finally:
        holders.end()
        await engine.dispose()
        await other.dispose()


async def test_a_session_is_held_by_whoever_asked_it_something_and_not_by_generated_code() -> None:
    engine = small()
    holders = Holders(lambda: "")
    holders.begin()
    try:
        async with AsyncSession(engine) as session:
            await session.execute(text("SELECT 1"))
            assert "test_holders.py" in holders.told(engine.pool)
    finally:
        holders.end()
        await engine.dispose()
