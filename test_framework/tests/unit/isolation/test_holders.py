"""A pool that is exhausted says who holds its connections."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from test_framework.isolation.holders import Holders


async def a_function_that_holds(engine: AsyncEngine) -> AsyncConnection:
    connection = await engine.connect()
    await connection.execute(text("SELECT 1"))
    return connection


async def test_whoever_waits_in_vain_is_told_who_holds_what() -> None:
    engine = create_async_engine(
        "sqlite+aiosqlite://", poolclass=AsyncAdaptedQueuePool, pool_size=1, max_overflow=0, pool_timeout=0.05
    )
    holders = Holders(lambda: "test_that_is_greedy")
    holders.begin()
    try:
        held = await a_function_that_holds(engine)
        with pytest.raises(PoolTimeout, match="1 connections are checked out") as caught:
            await a_function_that_holds(engine)
        await held.close()
        assert "test_holders.py" in str(caught.value)
        assert "(a_function_that_holds), in the task" in str(caught.value)
        assert "of test_that_is_greedy, for" in str(caught.value)

        await (await a_function_that_holds(engine)).close()
        assert holders.told() == "0 connections are checked out:"
    finally:
        holders.end()
        await engine.dispose()
