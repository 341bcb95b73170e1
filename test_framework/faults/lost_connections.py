"""A Postgres that ends a test's connections, or takes no new ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine


@asynccontextmanager
async def maintenance(url: str) -> AsyncIterator[tuple[AsyncConnection, str]]:
    """Yield a connection to the server beside the database under test, and that database's name."""
    engine = create_async_engine(make_url(url).set(database="postgres"), isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            yield connection, str(make_url(url).database)
    finally:
        await engine.dispose()


async def end_connections(url: str) -> None:
    """End every connection to a database from the server's side."""
    async with maintenance(url) as (connection, name):
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
        await connection.execute(text(ended), {"name": name})


async def allow_connections(url: str, *, allowed: bool) -> None:
    """Refuse new connections to a database, or accept them again."""
    async with maintenance(url) as (connection, name):
        await connection.execute(text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {allowed}'))
