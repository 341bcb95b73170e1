"""The tables as migrated are the tables as declared, and every migration can be undone and done again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import inspect

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
