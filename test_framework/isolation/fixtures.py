"""The databases, channels and keys of a test's own. Each fixture's docstring names the trouble it spares."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from test_framework.faults.fixtures import pool_of
from test_framework.isolation.levels import Level, level_of
from test_framework.modes import Mode
from test_framework.project import project
from test_framework.running.reality import POOL

if TYPE_CHECKING:
    from test_framework.isolation.databases import Databases
    from test_framework.isolation.redis import Keyspaces
    from test_framework.project import Tables
    from test_framework.service_pool import ServicePool
    from test_framework.services.statistics import Share


@pytest.fixture
def isolation_level(request: pytest.FixtureRequest) -> Level:
    """How this test's database is emptied; a module or a folder may override it instead of marking every test."""
    return level_of(request.node)


@pytest.fixture
def migrations() -> Tables:
    """What makes the tables of a test's database: the project's; the tests of another application name theirs."""
    return project().migrations()


class MigratedFiles:
    """Empty SQLite files, migrated once: a copy of one costs a hundredth of migrating another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[Tables, Path] = {}

    async def of(self, migrations: Tables) -> Path:
        """Return the file with an application's tables; made when first asked for."""
        if migrations not in self._files:
            file = self._folder / f"empty-{len(self._files)}.db"
            async with project().connect(f"sqlite+aiosqlite:///{file}") as engine:
                await migrations.upgrade(engine)
            self._files[migrations] = file
        return self._files[migrations]


@pytest.fixture(scope="session")
def migrated_files(mode: Mode, tmp_path_factory: pytest.TempPathFactory) -> MigratedFiles | None:
    """The migrated SQLite files of this worker; None where there is a real database."""
    return MigratedFiles(tmp_path_factory.mktemp("migrated")) if mode is Mode.LIGHTWEIGHT else None


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated_file(migrated_files: MigratedFiles | None) -> Path | None:
    """An empty SQLite file with the service's tables; None where there is a real database."""
    return None if migrated_files is None else await migrated_files.of(project().migrations())


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def worker_databases(
    mode: Mode, service_share: Share, pytestconfig: pytest.Config
) -> AsyncIterator[Databases | None]:
    """What this worker has on Postgres servers: a copy of the template, emptied between tests and used again."""
    if mode is Mode.LIGHTWEIGHT:
        yield None
        return
    from test_framework.isolation.connection_failures import counted
    from test_framework.isolation.databases import databases

    def postgres() -> str | None:
        pool = pytestconfig.stash[POOL]
        return pool.url_of("postgres") if pool is not None else None

    async with databases(os.environ.get("PYTEST_XDIST_WORKER", "main")) as found:
        with counted(postgres, service_share.database_failures):
            yield found
    costs = asdict(found.costs) | {"reused": found.store.reused}
    service_share.add(costs)


@pytest.fixture
def pool_of_postgres(mode: Mode, request: pytest.FixtureRequest) -> ServicePool | None:
    """Whose Postgres this test gets its database on."""
    return None if mode is Mode.LIGHTWEIGHT else pool_of(request, "postgres")


@pytest.fixture
def pool_of_redis(mode: Mode, request: pytest.FixtureRequest) -> ServicePool | None:
    """Whose Redis this test gets its namespace on."""
    return None if mode is Mode.LIGHTWEIGHT else pool_of(request, "redis")


@pytest_asyncio.fixture
async def database_url(
    request: pytest.FixtureRequest,
    mode: Mode,
    pool_of_postgres: ServicePool | None,
    worker_databases: Databases | None,
    migrated_files: MigratedFiles | None,
    migrations: Tables,
    tmp_path: Path,
    isolation_level: Level,
) -> AsyncIterator[str]:
    """An empty, migrated database of this test's own: nobody else's rows, real commits."""
    if migrated_files is not None or pool_of_postgres is None or worker_databases is None:
        assert migrated_files is not None, "without services there is SQLite"
        file = tmp_path / "test.db"
        shutil.copyfile(await migrated_files.of(migrations), file)
        yield f"sqlite+aiosqlite:///{file}"
        return
    # where the service is a process of its own, no transaction can hold what it commits
    level = Level.RESET if (mode, isolation_level) == (Mode.FULL, Level.ROLLBACK) else isolation_level
    began = ended = time.perf_counter()
    async with worker_databases.give(pool_of_postgres, level, request.node.nodeid, migrations) as given:
        began = time.perf_counter() - began
        yield given.url
        ended = time.perf_counter()
    ended = time.perf_counter() - ended
    cost = {"level": str(level), "emptied": given.emptied, "milliseconds": round((began + ended) * 1000, 2)}
    request.node.user_properties.append(("isolation.database", cost))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def keyspaces(mode: Mode, service_share: Share) -> AsyncIterator[Keyspaces | None]:
    """The connections by which this worker looks after what tests leave in Redis."""
    if mode is Mode.LIGHTWEIGHT:
        yield None
        return
    from test_framework.isolation.redis import Keyspaces

    spaces = Keyspaces()
    yield spaces
    service_share.add({"redis_connections": await spaces.connections()})
    await spaces.close()


@pytest.fixture
def redis_namespace() -> str:
    """What the keys and channels of this test begin with, so that no other test sees them."""
    return f"test-{secrets.token_hex(6)}"


@pytest_asyncio.fixture
async def redis_url(
    pool_of_redis: ServicePool | None, keyspaces: Keyspaces | None, redis_namespace: str
) -> AsyncIterator[str]:
    """A Redis, empty where nothing is real; what this test leaves there outside its namespace fails it."""
    if pool_of_redis is None or keyspaces is None:
        yield ""
        return
    server = await asyncio.to_thread(pool_of_redis.get, "redis")
    async with keyspaces.lend(server, pool_of_redis.run, redis_namespace):
        yield server.url


MakeDatabase = Callable[["Tables"], AbstractAsyncContextManager[str]]


@pytest.fixture(scope="session")
def lasting_database(
    request: pytest.FixtureRequest,
    worker_databases: Databases | None,
    migrated_files: MigratedFiles | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> MakeDatabase:
    """Makes a migrated database for a server that outlives a test: never emptied, so bring rows that are told from others'."""

    folder = tmp_path_factory.mktemp("shared")

    @asynccontextmanager
    async def lasting(migrations: Tables) -> AsyncIterator[str]:
        if migrated_files is not None:
            file = folder / f"{secrets.token_hex(4)}.db"
            await asyncio.to_thread(shutil.copyfile, await migrated_files.of(migrations), file)
            yield f"sqlite+aiosqlite:///{file}"
            return
        assert worker_databases is not None
        async with worker_databases.lasting(request.getfixturevalue("pool"), migrations) as url:
            yield url

    return lasting


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_database_url(lasting_database: MakeDatabase) -> AsyncIterator[str]:
    """A database with the service's tables for a server that outlives a test."""
    async with lasting_database(project().migrations()) as url:
        yield url


@pytest.fixture(scope="session")
def shared_redis_url(mode: Mode, request: pytest.FixtureRequest) -> str:
    """The Redis for a server that outlives a test, empty where nothing is real."""
    return "" if mode is Mode.LIGHTWEIGHT else request.getfixturevalue("pool").get("redis").url
