"""Gives each test its database on the rung it asks for, and makes it empty again; one for a worker, for each server it uses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import asyncpg

from test_framework.isolation.connections import ConnectionStore, listen, unlisten
from test_framework.isolation.holders import Holders
from test_framework.isolation.lasting import Lasting
from test_framework.isolation.levels import Level
from test_framework.isolation.rollback import Outer
from test_framework.isolation.template import PostgresTemplate, connect
from test_framework.isolation.worker_database import GONE, WorkerDatabase
from test_framework.project import Tables, project
from test_framework.service_pool import ServicePool
from test_framework.services.statistics import Costs


@dataclass
class Given:
    """A database as one test gets it; afterwards it says which tables were emptied."""

    url: str
    emptied: tuple[str, ...] = ()


class Databases:
    """All that one worker has on Postgres servers."""

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self.costs = Costs()
        self._lasting = Lasting()
        self.store = ConnectionStore(self._lasting)
        self.templates: dict[tuple[str, Tables], PostgresTemplate] = {}
        self._databases: dict[PostgresTemplate, WorkerDatabase] = {}
        self._outer_connection: tuple[str, asyncpg.Connection | None] = ("", None)

    @asynccontextmanager
    async def give(
        self, pool: ServicePool, level: Level, test: str, migrations: Tables | None = None
    ) -> AsyncIterator[Given]:
        """Give a test an empty, migrated database until the block ends."""
        template = await self._template(pool, migrations)
        serve = {Level.RESET: self._reset, Level.ROLLBACK: self._rollback, Level.CLONE: self._clone}[level]
        self.costs.tests += 1
        async with serve(pool, template, test) as given:
            yield given

    @asynccontextmanager
    async def _reset(self, pool: ServicePool, template: PostgresTemplate, test: str) -> AsyncIterator[Given]:
        database = self._database(template)
        given = Given(database.known_url or await self._lasting(database.url()))
        # where a test breaks servers and networks, a connection that was kept would spare it what it came to see
        async with self.store.naming(test) if pool.own else self.store.serving(given.url, test):
            try:
                yield given
            finally:
                given.emptied = tuple(await self._lasting(database.reset()))

    @asynccontextmanager
    async def _rollback(self, pool: ServicePool, template: PostgresTemplate, test: str) -> AsyncIterator[Given]:
        given = Given(await self._lasting(self._database(template).url()))
        outer = Outer(await self._lasting(self._undone(given.url, test)))
        self.store.outer = outer
        try:
            await outer.begin()
            async with self.store.serving(given.url, test):
                yield given
            await outer.undo()
        except BaseException:
            outer.connection.terminate()
            raise
        finally:
            self.store.outer = None

    async def _undone(self, url: str, test: str) -> asyncpg.Connection:
        """The connection whose transactions are undone: one for all tests of a database."""
        known, connection = self._outer_connection
        if connection is not None and known == url and not connection.is_closed():
            await connection.reset()
            await connection.execute("SELECT set_config('application_name', $1, false)", self.store.named(test))
            return connection
        if connection is not None:
            await connection.close()
        connection = await connect(url, self.store.named(test))
        self._outer_connection = (url, connection)
        return connection

    @asynccontextmanager
    async def _clone(self, pool: ServicePool, template: PostgresTemplate, test: str) -> AsyncIterator[Given]:
        began = time.perf_counter()
        url = await self._lasting(template.copy(self.worker))
        self.costs.copies += 1
        self.costs.copy_seconds += time.perf_counter() - began
        async with self.store.naming(test):
            try:
                yield Given(url)
            finally:
                with suppress(*GONE):  # a server that the test has ended takes its databases along
                    self.costs.sessions += await self._lasting(template.drop(url))

    @asynccontextmanager
    async def lasting(self, pool: ServicePool, migrations: Tables | None = None) -> AsyncIterator[str]:
        """Give a database that is no single test's, until the block ends."""
        template = await self._template(pool, migrations)
        url = await self._lasting(template.copy(self.worker))
        try:
            yield url
        finally:
            self.costs.sessions += await self._lasting(template.drop(url))

    async def leave(self, pool: ServicePool) -> None:
        """Let go of servers that are about to end, and to take their databases along."""
        for run, migrations in list(self.templates):
            if run != pool.run:
                continue
            database = self._databases.pop(self.templates.pop((run, migrations)), None)
            if database is not None:
                with suppress(*GONE):
                    await database.renew()

    async def close(self) -> None:
        """Leave nothing on servers that stay; those that are gone took it with them."""
        await self.store.close()
        if (outer := self._outer_connection[1]) is not None:
            outer.terminate()
        for database in self._databases.values():
            with suppress(*GONE):
                await database.renew()

    async def _template(self, pool: ServicePool, migrations: Tables | None) -> PostgresTemplate:
        """The template on a pool's server; a thread that waits for the server is needed until it is up."""
        migrations = project().migrations() if migrations is None else migrations
        known = self.templates.get((pool.run, migrations))
        if known is not None and pool.has("postgres"):
            return known
        server = await self._lasting(asyncio.to_thread(pool.get, "postgres"))
        made = PostgresTemplate(server.url, pool.stack, migrations=migrations)
        return self.templates.setdefault((pool.run, migrations), made)

    def _database(self, template: PostgresTemplate) -> WorkerDatabase:
        if template not in self._databases:
            self._databases[template] = WorkerDatabase(template, self.worker, self.costs)
        return self._databases[template]


@asynccontextmanager
async def databases(worker: str) -> AsyncIterator[Databases]:
    """What a worker has on Postgres servers, until the block ends."""
    found = Databases(worker)
    holders = Holders(lambda: found.store.test)
    listen(found.store)
    holders.begin()
    try:
        yield found
    finally:
        holders.end()
        unlisten(found.store)
        await found.close()
