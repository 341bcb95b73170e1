"""`python -m app migrate`, and starts on databases that are behind or ahead, as processes."""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text

from app.db.schema import migrations
from commitstream.db.database import Database
from test_framework.faults.breakable import Breakable
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


async def set_revision(database: Database, revision: str) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(text("DELETE FROM alembic_version"))
        await connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": revision})


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


async def test_migrate_leaves_a_database_that_is_ahead(database: Database, environment: Mapping[str, str]) -> None:
    await set_revision(database, "f00dfeed")

    async with run(environment, "migrate") as process:
        ended = await process.ended()

    assert ended.code == 0
    assert "f00dfeed, which this code doesn't have" in ended.said


async def test_migrate_refuses_a_database_of_other_tables(database: Database, environment: Mapping[str, str]) -> None:
    await set_revision(database, "f00dfeed")
    async with database.engine.begin() as connection:
        await connection.execute(text("DROP TABLE commitstream_dead_letters"))

    async with run(environment, "migrate") as process:
        ended = await process.ended()

    assert ended.code == 1
    ended.assert_brief("f00dfeed", "lacks commitstream_dead_letters", "DATABASE_URL")


async def test_migrate_gives_up_on_a_database_that_is_away(environment: Mapping[str, str], away: str) -> None:
    async with run({**environment, "DATABASE_URL": away}, "migrate", "--wait", "1.5") as process:
        ended = await process.ended()

    assert ended.code == 3
    ended.assert_brief("did not answer within 1.5 s", "DATABASE_URL")
    (announced,) = ended.said.splitlines()
    assert announced.startswith("waiting up to 1.5 s for the database postgresql+asyncpg://me:***@127.0.0.1:")
    assert "hunter2" not in ended.said + ended.complained


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


@pytest.mark.parametrize("command", [["migrate"], []], ids=["migrate", "serve"])
async def test_a_file_that_is_no_database_is_named_at_once(
    environment: Mapping[str, str], tmp_path: Path, command: list[str]
) -> None:
    file = tmp_path / "notes.db"
    file.write_bytes(b"these are notes, and no database " * 100)

    async with run({**environment, "DATABASE_URL": f"sqlite+aiosqlite:///{file}"}, *command) as process:
        ended = await process.ended()

    assert ended.code == 1
    ended.assert_brief(f"{file} is not a SQLite database", "Move it away or delete it")
    assert "attempt 6" not in ended.complained
    assert file.read_bytes().startswith(b"these are notes")


async def test_migrate_that_is_interrupted_says_so(environment: Mapping[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections, and never answers
        url = f"postgresql+asyncpg://me:hunter2@127.0.0.1:{silent.getsockname()[1]}/app"
        async with run({**environment, "DATABASE_URL": url}, "migrate") as process:
            connection, _ = await asyncio.to_thread(silent.accept)
            with connection:
                ended = await process.ended(signal.SIGINT)

    assert ended.code == 130
    assert ended.complained.startswith("interrupted: ")
    assert "run it again" in ended.complained
    assert "Traceback" not in ended.complained


async def test_the_service_starts_on_a_database_that_is_ahead(
    database: Database, environment: Mapping[str, str]
) -> None:
    await set_revision(database, "f00dfeed")

    async with run(environment) as process:
        url = await process.url()
        async with httpx.AsyncClient(trust_env=False) as client:
            ready = await client.get(f"{url}/health/ready")
        await process.complaint("f00dfeed")

    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert (await migrations.standing(database.engine)).current == "f00dfeed"


@pytest.mark.needs("postgres")
async def test_migrate_waits_for_a_database_that_comes_back(
    environment: Mapping[str, str], postgres: Breakable
) -> None:
    async with postgres.stopped(for_=2), run(environment, "migrate") as process:
        ended = await process.ended()

    assert (ended.code, ended.complained) == (0, "")
