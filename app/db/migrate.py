"""Bring a database's tables to where the code expects them, or tell how far they are from there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"


class SchemaError(Exception):
    """The database's tables are not those that this code was written for."""


@dataclass(frozen=True)
class Standing:
    """Which migration a database has, and which one the code wants."""

    current: str | None
    wanted: str

    @property
    def behind(self) -> bool:
        return self.current != self.wanted


async def upgrade(engine: AsyncEngine, revision: str = "head") -> None:
    """Apply the migrations that are missing."""
    from alembic import command

    await _run(engine, lambda config: command.upgrade(config, revision))


async def downgrade(engine: AsyncEngine, revision: str) -> None:
    """Undo migrations down to a revision."""
    from alembic import command

    await _run(engine, lambda config: command.downgrade(config, revision))


async def check(engine: AsyncEngine) -> None:
    """Raise unless the tables as migrated are the tables as declared."""
    from alembic import command

    await _run(engine, command.check)


async def revise(engine: AsyncEngine, message: str) -> None:
    """Write the migration that leads from the database's tables to the declared ones."""
    from alembic import command

    number = f"{int(newest_revision()) + 1:04d}"
    await _run(engine, lambda config: command.revision(config, message, autogenerate=True, rev_id=number))
    newest_revision.cache_clear()


async def standing(engine: AsyncEngine) -> Standing:
    """Tell where the database stands without importing alembic, which costs a start-up dearly."""
    async with engine.connect() as connection:
        return Standing(current=await connection.run_sync(_current), wanted=newest_revision())


async def demand_newest(engine: AsyncEngine) -> None:
    """Refuse to go on with a database that is behind."""
    found = await standing(engine)
    if found.behind:
        raise SchemaError(
            f"the database is at migration {found.current or 'none'}, this code needs {found.wanted}: "
            "run `invoke db.upgrade`"
        )


@cache
def newest_revision() -> str:
    """Name the head of the migrations: they are numbered, so the last file is the newest."""
    return max(file.stem for file in (MIGRATIONS / "versions").glob("[0-9]*.py")).split("_")[0]


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


async def _run(engine: AsyncEngine, command: Callable[[Config], object]) -> None:
    from alembic.config import Config

    def on_connection(connection: Connection) -> None:
        config = Config(stdout=sys.stdout)  # alembic would keep the one of its first import
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
        config.attributes["connection"] = connection
        command(config)

    async with engine.begin() as connection:
        if engine.dialect.name == "postgresql":  # several processes may start at once: one migrates, the others wait
            await connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('alembic_version'))"))
        await connection.run_sync(on_connection)
