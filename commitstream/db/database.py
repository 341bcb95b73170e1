"""The database: `transaction()` writes and commits, `reading()` only reads.

SQLite gets what its driver leaves out: a real BEGIN (without it a rolled-back savepoint survives), write-ahead logging,
and one writer at a time by an asyncio lock, because its own busy polling makes the slowest commit ten times slower.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Protocol

from sqlalchemy import event, make_url, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

from commitstream.settings import CONNECTIONS

CONNECTION_LOST = (OSError, TimeoutError, OperationalError, InterfaceError)
CONNECT_SECONDS = 5
STATEMENT_SECONDS = 10
BUSY_MILLISECONDS = 5000


LOST_STATES = ("08", "28", "53", "55000", "57P")  # 28: our password is being changed, and a running agent survives that


class DatabaseAway(ConnectionError):
    """The connection failed or was lost; the last statement may have been executed or not."""


class NotADatabaseError(DatabaseAway):
    """The file of DATABASE_URL is not a database; a retry would not help."""


class Database:
    def __init__(self, url: str, pool: int = CONNECTIONS, *, statement_timeout: float = STATEMENT_SECONDS) -> None:
        self.dialect = make_url(url).get_backend_name()
        self.engine = (
            _sqlite_engine(url) if self.dialect == "sqlite" else _postgres_engine(url, pool, statement_timeout)
        )
        writing = self.engine.execution_options(begin="BEGIN IMMEDIATE")
        self._sessions = async_sessionmaker(writing, expire_on_commit=False)
        self._readers = async_sessionmaker(self.engine, expire_on_commit=False)
        self._one_writer: AbstractAsyncContextManager[None] = (
            asyncio.Lock() if self.dialect == "sqlite" else nullcontext()
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Open a session that writes: commits when the block ends, rolls back when it raises."""
        async with self._one_writer:
            with _unify_connection_errors():
                async with self._sessions.begin() as session:
                    yield session

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Open a session that only reads."""
        with _unify_connection_errors():
            async with self._readers() as session:
                yield session

    async def ping(self) -> None:
        """Run a query that needs no table."""
        async with self.reading() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        await self.engine.dispose()


@contextmanager
def _unify_connection_errors() -> Iterator[None]:
    """Raise DatabaseAway for lost connections; SQLAlchemy wraps only some of the errors."""
    try:
        yield
    except Exception as error:
        if _is_connection_lost(error):
            raise DatabaseAway(f"{type(error).__name__}: {error}") from error
        raise


def _is_connection_lost(error: Exception) -> bool:
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None) or ""
        return error.connection_invalidated or state.startswith(LOST_STATES)
    connecting = type(error).__module__.startswith("asyncpg.")
    return connecting or isinstance(error, PoolTimeout)


def _postgres_engine(url: str, pool: int, statement_timeout: float) -> AsyncEngine:
    return create_async_engine(
        url,
        hide_parameters=True,  # users' data must not appear in logs
        pool_size=pool,
        max_overflow=0,  # an overflow connection is closed when it is returned, and another opened for the next caller
        pool_timeout=CONNECT_SECONDS,
        connect_args={"timeout": CONNECT_SECONDS, "command_timeout": statement_timeout},
    )


def _sqlite_engine(url: str) -> AsyncEngine:
    file = make_url(url).database
    if file and file != ":memory:":
        Path(file).parent.mkdir(parents=True, exist_ok=True)
    closing = {"factory": _Sqlite, "check_same_thread": False}
    engine = create_async_engine(url, hide_parameters=True, connect_args=closing)
    event.listen(engine.sync_engine, "connect", lambda connection, _: _prepare_sqlite(connection, file))
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


class _Sqlite(sqlite3.Connection):
    """Closes itself: aiosqlite leaks a connection whose opening was cancelled."""

    def __del__(self) -> None:
        with suppress(sqlite3.ProgrammingError):  # it was never opened
            self.close()


class _SqliteConnection(Protocol):
    isolation_level: str | None

    def cursor(self) -> _SqliteCursor: ...


class _SqliteCursor(Protocol):
    def execute(self, statement: str) -> object: ...

    def close(self) -> None: ...


def _prepare_sqlite(connection: _SqliteConnection, file: str | None) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        f"busy_timeout={BUSY_MILLISECONDS}",
        "foreign_keys=ON",
        "temp_store=MEMORY",  # sorts are small, and a temporary file would stay open for as long as the connection
    ):
        try:
            cursor.execute(f"PRAGMA {pragma}")
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_NOTADB:
                raise
            raise NotADatabaseError(
                f"{file} is not a SQLite database: it is damaged, or another program wrote it. "
                "Move it away or delete it, then start again"
            ) from None
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))
