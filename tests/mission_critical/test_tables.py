"""The tables as migrated are the tables as declared, and every migration can be undone and done again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from alembic.util import CommandError
from sqlalchemy import inspect, text

from app.db.schema import migrations
from commitstream.db.database import Database
from commitstream.db.migrate import SchemaError
from commitstream.db.tables import StreamHead

pytestmark = pytest.mark.isolation("clone")  # the schema is what is changed here


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


async def tables(database: Database) -> set[str]:
    async with database.engine.connect() as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


async def test_the_tables_as_migrated_are_the_tables_as_declared(database: Database) -> None:
    await migrations.check(database.engine)


async def test_a_table_that_strays_from_its_declaration_is_found(database: Database) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE commitstream_dead_letters ADD COLUMN stray INTEGER"))

    with pytest.raises(CommandError, match="stray"):
        await migrations.check(database.engine)


async def test_the_migrations_lead_down_to_nothing_and_up_again(database: Database) -> None:
    await migrations.downgrade(database.engine, "base")
    assert await tables(database) == {"alembic_version"}
    assert (await migrations.standing(database.engine)).behind

    await migrations.upgrade(database.engine)

    assert await tables(database) == {"alembic_version", *(table.name for table in migrations.tables)}
    await migrations.check(database.engine)


async def test_every_step_of_the_application_can_be_undone_and_done_again(database: Database) -> None:
    newest = (await migrations.standing(database.engine)).current
    steps = len([file for folder in migrations.own_folders for file in folder.glob("*.py")])
    for step in range(1, steps + 1):
        await migrations.downgrade(database.engine, f"-{step}")
        assert StreamHead.__tablename__ in await tables(database)
        assert (await migrations.standing(database.engine)).behind

        await migrations.upgrade(database.engine)
        assert (await migrations.standing(database.engine)).current == newest


async def test_a_database_that_is_behind_is_refused_with_the_command_that_helps(database: Database) -> None:
    await migrations.downgrade(database.engine, "base")

    with pytest.raises(SchemaError, match=r"at migration none, this code needs [\w, ]+: run `python -m app migrate`"):
        await migrations.require_newest(database.engine)


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
