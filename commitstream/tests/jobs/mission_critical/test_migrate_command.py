"""The command that migrates, and starts on databases that are behind or ahead, as processes."""

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
from alembic.util import CommandError
from sqlalchemy import text

from commitstream.db.database import Database
from commitstream.db.migrate import SchemaError
from commitstream.tests.jobs.application import migrations
from commitstream.tests.jobs.conftest import MODULE
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
        "JOBS_PORT": "0",
        "JOBS_LOG_LEVEL": "warning",
        "JOBS_TOKEN_SECRET": secrets.token_urlsafe(48),
        "JOBS_MIGRATE": "true",
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


async def test_migrate_leaves_a_database_that_is_ahead(database: Database, environment: Mapping[str, str]) -> None:
    await set_revision(database, "f00dfeed")

    async with run(environment, "migrate", module=MODULE) as process:
        ended = await process.ended()

    assert ended.code == 0
    assert "f00dfeed, which this code doesn't have" in ended.said


async def test_migrate_refuses_a_database_of_other_tables(database: Database, environment: Mapping[str, str]) -> None:
    await set_revision(database, "f00dfeed")
    async with database.engine.begin() as connection:
        await connection.execute(text("DROP TABLE commitstream_dead_letters"))

    async with run(environment, "migrate", module=MODULE) as process:
        ended = await process.ended()

    assert ended.code == 1
    ended.assert_brief("f00dfeed", "lacks commitstream_dead_letters", "DATABASE_URL")


async def test_migrate_gives_up_on_a_database_that_is_away(environment: Mapping[str, str], away: str) -> None:
    async with run({**environment, "DATABASE_URL": away}, "migrate", "1.5", module=MODULE) as process:
        ended = await process.ended()

    assert ended.code == 3
    ended.assert_brief("did not answer within 1.5 s", "DATABASE_URL")
    (announced,) = ended.said.splitlines()
    assert announced.startswith("waiting up to 1.5 s for the database postgresql+asyncpg://me:***@127.0.0.1:")
    assert "hunter2" not in ended.said + ended.complained


@pytest.mark.parametrize("command", [["migrate"], []], ids=["migrate", "serve"])
async def test_a_file_that_is_no_database_is_named_at_once(
    environment: Mapping[str, str], tmp_path: Path, command: list[str]
) -> None:
    file = tmp_path / "notes.db"
    file.write_bytes(b"these are notes, and no database " * 100)

    async with run({**environment, "DATABASE_URL": f"sqlite+aiosqlite:///{file}"}, *command, module=MODULE) as process:
        ended = await process.ended()

    assert ended.code == 1
    ended.assert_brief(f"{file} is not a SQLite database", "Move it away or delete it")
    assert "attempt 6" not in ended.complained
    assert file.read_bytes().startswith(b"these are notes")


async def test_migrate_that_is_interrupted_says_so(environment: Mapping[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections, and never answers
        url = f"postgresql+asyncpg://me:hunter2@127.0.0.1:{silent.getsockname()[1]}/app"
        async with run({**environment, "DATABASE_URL": url}, "migrate", module=MODULE) as process:
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

    async with run(environment, module=MODULE) as process:
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
    async with postgres.stopped(for_=2), run(environment, "migrate", module=MODULE) as process:
        ended = await process.ended()

    assert (ended.code, ended.complained) == (0, "")


async def test_a_table_that_strays_from_its_declaration_is_found(database: Database) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE commitstream_dead_letters ADD COLUMN stray INTEGER"))

    with pytest.raises(CommandError, match="stray"):
        await migrations.check(database.engine)


async def test_a_database_of_a_newer_release_is_used_with_a_warning(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await applied_elsewhere(database)

    await migrations.upgrade(database.engine)
    await migrations.require_newest(database.engine)

    (warning,) = caplog.messages
    assert "at migration f00dfeed, which this code doesn't have" in warning
    assert (await migrations.standing(database.engine)).current == "f00dfeed"


async def test_an_unknown_migration_without_a_column_of_ours_is_refused(database: Database) -> None:
    await applied_elsewhere(
        database, "ALTER TABLE commitstream_events DROP COLUMN metadata", "DROP TABLE commitstream_dead_letters"
    )

    with pytest.raises(
        SchemaError, match=r"f00dfeed, which this code doesn't have, and lacks .*commitstream_events\.metadata"
    ):
        await migrations.require_newest(database.engine)
    with pytest.raises(SchemaError, match="commitstream_dead_letters"):
        await migrations.require_newest(database.engine)


async def applied_elsewhere(database: Database, *statements: str) -> None:
    """Migrate as code would that we don't have."""
    async with database.engine.begin() as connection:
        for statement in (
            *statements,
            "DELETE FROM alembic_version",
            "INSERT INTO alembic_version VALUES ('f00dfeed')",
        ):
            await connection.execute(text(statement))
