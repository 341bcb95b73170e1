"""A database per test on one Postgres: cloned from a template that the real migrations made, once per run.

Commits are real, several connections and processes see them, and nobody else's test does.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from filelock import FileLock
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from app.db import migrate
from app.db.database import Database
from test_framework.services.stack import runtime_root

LOCK_SECONDS = 60


class PostgresTemplate:
    """One migrated database that is only ever copied."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url.replace("postgresql://", "postgresql+asyncpg://"))
        self._name = f"template_{migrate.newest_revision()}"

    @asynccontextmanager
    async def clone(self) -> AsyncIterator[str]:
        """Make a database for one test; the block gets its URL, and its end drops it."""
        name = f"test_{uuid.uuid4().hex[:16]}"
        async with self._maintenance() as connection:
            await self._prepare(connection)
            await connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{self._name}"'))
        try:
            yield self._of(name)
        finally:
            async with self._maintenance() as connection:
                await connection.execute(text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))

    async def _prepare(self, connection: AsyncConnection) -> None:
        """Migrate the template unless another worker has; it gets its name only when it is complete."""
        with FileLock(
            runtime_root()
            / f"{self._url.port or self._url.query.get('host', 'socket')}.template.lock".replace("/", "_"),
            timeout=LOCK_SECONDS,
        ):
            exists = text("SELECT 1 FROM pg_database WHERE datname = :name")
            if await connection.scalar(exists, {"name": self._name}):
                return
            draft = f"{self._name}_draft"
            await connection.execute(text(f'DROP DATABASE IF EXISTS "{draft}" WITH (FORCE)'))
            await connection.execute(text(f'CREATE DATABASE "{draft}"'))
            database = Database(self._of(draft))
            await migrate.upgrade(database.engine)
            await database.close()
            await connection.execute(text(f'ALTER DATABASE "{draft}" RENAME TO "{self._name}"'))

    @asynccontextmanager
    async def _maintenance(self) -> AsyncIterator[AsyncConnection]:
        engine = create_async_engine(self._url, isolation_level="AUTOCOMMIT", pool_size=1)
        try:
            async with engine.connect() as connection:
                yield connection
        finally:
            await engine.dispose()

    def _of(self, database: str) -> str:
        return self._url.set(database=database).render_as_string(hide_password=False)
