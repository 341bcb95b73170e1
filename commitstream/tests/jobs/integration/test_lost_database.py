"""What a database raises that is lost is known as that, however it was lost."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from commitstream.db.database import CONNECTION_LOST, Database

# server and database are both ours to break
pytestmark = [pytest.mark.usefixtures("postgres"), pytest.mark.isolation("clone")]


@asynccontextmanager
async def maintenance(url: str) -> AsyncIterator[tuple[AsyncConnection, str]]:
    """A connection beside the database under test, and that database's name."""
    engine = create_async_engine(make_url(url).set(database="postgres"), isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            yield connection, str(make_url(url).database)
    finally:
        await engine.dispose()


async def break_connections(url: str) -> None:
    """End every connection to a database from the server's side."""
    async with maintenance(url) as (connection, name):
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
        await connection.execute(text(ended), {"name": name})


async def shut(url: str, *, doors: bool) -> None:
    """Let nobody in any more, or let them in again."""
    async with maintenance(url) as (connection, name):
        await connection.execute(text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {not doors}'))


async def test_a_login_that_is_refused_for_a_while_is_a_lost_database(database_url: str) -> None:
    name = f"service_{secrets.token_hex(4)}"
    role = make_url(database_url).set(username=name, password=name)
    async with maintenance(database_url) as (connection, _):
        await connection.execute(text(f"CREATE ROLE {name} SUPERUSER LOGIN PASSWORD '{name}'"))
        database = Database(role.render_as_string(hide_password=False))
        try:
            await database.ping()
            await connection.execute(text(f"ALTER ROLE {name} NOLOGIN"))
            await break_connections(database_url)
            for _ in range(2):
                with pytest.raises(CONNECTION_LOST):
                    await database.ping()
            await connection.execute(text(f"ALTER ROLE {name} LOGIN"))
            await database.ping()
        finally:
            await database.close()
            await connection.execute(text(f"DROP ROLE {name}"))


@pytest.mark.parametrize("fault", ["broken connections", "a shut door"])
async def test_what_a_lost_database_raises_is_known_as_that(database_url: str, fault: str) -> None:
    database = Database(database_url)
    try:
        await database.ping()
        if fault == "a shut door":
            await shut(database_url, doors=True)
        await break_connections(database_url)

        with pytest.raises(CONNECTION_LOST):
            await database.ping()
        await shut(database_url, doors=False)
        await database.ping()
    finally:
        await database.close()
