"""The tables as migrated are the tables as declared, and every migration can be undone and done again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from alembic.util import CommandError
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

from app.agents.events import EventKind
from app.db.base import Base
from app.db.schema import migrations
from commitstream.db.database import Database
from commitstream.db.migrate import SchemaError
from commitstream.db.tables import JournalEntry

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
        await connection.execute(text("ALTER TABLE runs ADD COLUMN stray INTEGER"))

    with pytest.raises(CommandError, match="stray"):
        await migrations.check(database.engine)


async def test_the_migrations_lead_down_to_nothing_and_up_again(database: Database) -> None:
    await migrations.downgrade(database.engine, "base")
    assert await tables(database) == {"alembic_version"}
    assert (await migrations.standing(database.engine)).behind

    await migrations.upgrade(database.engine)

    assert await tables(database) == {"alembic_version", *Base.metadata.tables}
    await migrations.check(database.engine)


async def test_every_single_step_can_be_undone_and_done_again(database: Database) -> None:
    while (step := (await migrations.standing(database.engine)).current) is not None:
        await migrations.downgrade(database.engine, "-1")
        below = (await migrations.standing(database.engine)).current
        await migrations.upgrade(database.engine, "+1")
        assert (await migrations.standing(database.engine)).current == step
        await migrations.downgrade(database.engine, "-1")
        assert (await migrations.standing(database.engine)).current == below


async def test_a_database_that_is_behind_is_refused_with_the_command_that_helps(database: Database) -> None:
    await migrations.downgrade(database.engine, "base")

    with pytest.raises(SchemaError, match=r"at migration none, this code needs \w+: run `python -m app migrate`"):
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
    await applied_elsewhere(database, "ALTER TABLE model_calls DROP COLUMN error", "DROP TABLE dead_letters")

    with pytest.raises(SchemaError, match=r"f00dfeed, which this code doesn't have, and lacks .*model_calls\.error"):
        await migrations.require_newest(database.engine)
    with pytest.raises(SchemaError, match="dead_letters"):
        await migrations.require_newest(database.engine)


async def applied_elsewhere(database: Database, *statements: str) -> None:
    """Migrate as code would that we don't have."""
    async with database.engine.begin() as connection:
        for statement in (*statements, "UPDATE alembic_version SET version_num = 'f00dfeed'"):
            await connection.execute(text(statement))


async def test_the_journal_takes_the_five_kinds_and_no_other(database: Database) -> None:
    row = {"user_id": "ada", "seq": 1, "run_id": "run", "body": "{}", "at": datetime.now(UTC)}

    async with database.transaction() as session:
        session.add_all(JournalEntry(**row | {"seq": seq, "kind": kind}) for seq, kind in enumerate(EventKind, 1))
    with pytest.raises(IntegrityError):
        await _add(database, JournalEntry(**row | {"seq": 6, "kind": "agent_dreaming"}))
    with pytest.raises(IntegrityError):
        await _add(database, JournalEntry(**row | {"kind": EventKind.AGENT_STARTED}))


async def _add(database: Database, entry: JournalEntry) -> None:
    async with database.transaction() as session:
        session.add(entry)
