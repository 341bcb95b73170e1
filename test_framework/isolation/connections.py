"""Every connection that SQLAlchemy opens in this process, while tests run: named after the test, and used again by the next one.

The app opens engines as it does in production and knows nothing of this. What it closes is reset as asyncpg's own pool does it,
and kept for whoever connects to the same database with the same arguments; under "rollback" all get the one connection whose
transaction is undone afterwards. Connections to any other database are left as they are, but for the name.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import asyncpg
from sqlalchemy import URL, event, make_url
from sqlalchemy.engine import Dialect, Engine
from sqlalchemy.pool import ConnectionPoolEntry

from test_framework.isolation.lasting import Lasting
from test_framework.isolation.rollback import Outer
from test_framework.isolation.template import CONNECTION_LOST

LONGEST_NAME = 63
MOST_KEPT = 3
NAME = "SELECT set_config('application_name', $1, false)"
CLOSING_SECONDS = 5.0

Arguments = dict[str, Any]


class KeptConnection(asyncpg.Connection):  # type: ignore[misc]
    """A connection whose end is only its owner's: closed in good order, it waits for the next."""

    store: ConnectionStore | None = None
    key: str = ""

    async def close(self, *, timeout: float | None = None) -> None:
        if self.store is None or not await self.store.keep(self):
            await super().close(timeout=timeout)

    async def end(self) -> None:
        with suppress(Exception):  # whatever ails it, it is over
            await super().close(timeout=CLOSING_SECONDS)


class ConnectionStore:
    """Hands out connections to one database, and takes them back."""

    def __init__(self, lasting: Lasting) -> None:
        self._lasting = lasting
        self.database: URL | None = None
        self.test = ""
        self.outer: Outer | None = None
        self.opened = 0
        self.reused = 0
        self._serves = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._kept: dict[str, list[KeptConnection]] = defaultdict(list)

    @property
    def name(self) -> str:
        """The running test, as the server shows it."""
        return self.named(self.test)

    def named(self, test: str) -> str:
        """A test's name as far as Postgres keeps it; its end tells more than its beginning."""
        worker = os.environ.get("PYTEST_XDIST_WORKER", "")
        prefix = f"{worker} " if worker else ""
        return prefix + test[-(LONGEST_NAME - len(prefix)) :]

    @asynccontextmanager
    async def serving(self, url: str, test: str) -> AsyncIterator[None]:
        """Give the connections to a database out again and again, for the length of a test."""
        database = make_url(url)
        if self.database is not None and database != self.database:
            await self.close()
        self.database, self._loop = database, asyncio.get_running_loop()
        self._serves = True
        try:
            async with self.naming(test):
                yield
        finally:
            self._serves = False

    @asynccontextmanager
    async def naming(self, test: str) -> AsyncIterator[None]:
        """Name every connection that is opened after a test."""
        self.test = test
        try:
            yield
        finally:
            self.test = ""

    async def lease(self, *arguments: object, **options: Any) -> asyncpg.Connection:
        """Return a kept connection, well and under the test's name, or a new one."""
        if asyncio.get_running_loop() is not self._loop:
            return await asyncpg.connect(*arguments, **options)
        key = repr((arguments, sorted(options.items())))
        while self._kept[key]:
            connection = self._kept[key].pop()
            with suppress(*CONNECTION_LOST), _over_if_it_fails(connection):
                await connection.execute(NAME.replace("$1", _quoted(self.name)))
                self.reused += 1
                return connection
        settings = {"application_name": self.name, **options.pop("server_settings", {})}
        opening = asyncpg.connect(*arguments, **options, server_settings=settings, connection_class=KeptConnection)
        connection = await self._lasting(opening, KeptConnection.terminate)
        connection.store, connection.key = self, key
        self.opened += 1
        return connection

    async def keep(self, connection: KeptConnection) -> bool:
        """Take a connection back unless something is amiss with it; say whether it was taken."""
        kept = self._kept[connection.key]
        if connection.is_closed() or connection.is_in_transaction() or len(kept) >= MOST_KEPT:
            return False
        try:
            with _over_if_it_fails(connection):
                await connection.reset(timeout=CLOSING_SECONDS)
        except CONNECTION_LOST:
            return False
        kept.append(connection)
        return True

    async def close(self) -> None:
        """Close what is kept."""
        for connections in self._kept.values():
            for connection in connections:
                await connection.end()
        self._kept.clear()

    def on_connect(
        self, dialect: Dialect, record: ConnectionPoolEntry, arguments: tuple[Any, ...], options: Arguments
    ) -> None:
        """Have SQLAlchemy's asyncpg connections come from here; called before each is made."""
        if dialect.driver != "asyncpg" or not self.test or "async_creator_fn" in options:
            return
        if self._serves and self.database is not None and options.get("database") == self.database.database:
            options["async_creator_fn"] = self.outer.share if self.outer is not None else self.lease
        else:
            options["server_settings"] = {"application_name": self.name, **options.get("server_settings", {})}


@contextmanager
def _over_if_it_fails(connection: KeptConnection) -> Iterator[None]:
    """End a connection that nobody holds while something is asked of it, also where whoever asks is cancelled."""
    try:
        yield
    except BaseException:
        connection.terminate()
        raise


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def listen(store: ConnectionStore) -> None:
    event.listen(Engine, "do_connect", store.on_connect)


def unlisten(store: ConnectionStore) -> None:
    event.remove(Engine, "do_connect", store.on_connect)
