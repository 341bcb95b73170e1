"""`python -m app migrate`, and starts on databases that are behind or ahead, as processes."""

from __future__ import annotations

import secrets
import socket
from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio

from app.db.schema import migrations
from commitstream.db.database import Database
from test_framework.running.service_process import run

pytestmark = [pytest.mark.isolation("clone"), pytest.mark.timeout(60)]


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
def environment(database_url: str) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": "",
        "APP_PORT": "0",
        "APP_TOKEN_SECRET": secrets.token_urlsafe(48),
        "APP_MIGRATE": "true",
    }


@pytest.fixture
def away() -> str:
    """The URL of a database on a port where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"postgresql+asyncpg://me:hunter2@127.0.0.1:{taken.getsockname()[1]}/app"


async def test_migrate_says_from_where_to_where_it_led(database: Database, environment: Mapping[str, str]) -> None:
    await migrations.downgrade(database.engine, "base")
    newest = ", ".join(migrations.newest_revisions())

    async with run(environment, "migrate") as process:
        first = await process.ended()
    async with run(environment, "migrate") as process:
        second = await process.ended()

    assert (first.code, first.complained) == (0, "")
    assert first.said == f"the database went from no migration to {newest}\n"
    assert (second.code, second.said) == (0, f"the database is at {newest}, as before\n")
    await migrations.check(database.engine)


@pytest.mark.parametrize("wait", ["nan", "-1", "inf", "soon"])
async def test_a_wait_that_never_ends_is_refused(environment: Mapping[str, str], away: str, wait: str) -> None:
    async with run({**environment, "DATABASE_URL": away}, "migrate", f"--wait={wait}") as process:
        ended = await process.ended()

    assert ended.code == 2
    assert "--wait" in ended.complained


async def test_a_wait_without_a_number_is_named(environment: Mapping[str, str]) -> None:
    async with run(environment, "migrate", "--wait", "soon") as process:
        ended = await process.ended()

    assert "argument --wait: 'soon' is not a number of seconds from 0 to 86400" in ended.complained
