"""What a test asks for to break something: it then gets servers of its worker's own, at addresses that stay, healed after it.

They end with the module that broke them. A test that names one of these also gets its settings, its database and its server on what it is going to break.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from test_framework.configuration import project_root, table_of
from test_framework.modes import WITH_SERVICES, Mode
from test_framework.running.machine import service_lacking
from test_framework.running.needs import KNOWN, Need, requires
from test_framework.services.state import ServiceName

if TYPE_CHECKING:
    from test_framework.faults.breakable import Breakable, BreakablePool, Disk, Network
    from test_framework.faults.skewed_clock import Clock
    from test_framework.isolation.databases import Databases
    from test_framework.isolation.redis import Keyspaces
    from test_framework.service_pool import ServicePool
    from test_framework.services.drivers import Driver
    from test_framework.services.stack import Storage


def pytest_configure(config: pytest.Config) -> None:
    """Give the services that pyproject.toml names what the kit's own have: a need, and fixtures."""
    if not table_of(project_root()).get("drivers"):
        return
    from test_framework.services.drivers import DriverError, drivers

    try:
        known = drivers()
    except DriverError as error:
        raise pytest.UsageError(str(error)) from None
    for driver in known.values():
        if driver.name not in KNOWN:
            KNOWN[driver.name] = Need(f"a real {driver.title}", WITH_SERVICES, partial(service_lacking, driver.name))
            config.pluginmanager.register(fixtures_of(driver), f"fixtures of {driver.name}")


def fixtures_of(driver: Driver) -> ModuleType:
    """Make the fixtures of a service: by its name one to break, and by `NAME_url` the address where a test finds it empty."""

    @pytest.fixture(name=driver.name)
    @requires(driver.name)
    def to_break(request: pytest.FixtureRequest) -> Iterator[Breakable]:
        with whole_again(request) as pool:
            yield pool.get(driver.name)

    @pytest.fixture(name=f"{driver.name}_url")
    @requires(driver.name)
    def url(request: pytest.FixtureRequest) -> str:
        found = pool_of(request, driver.name).get(driver.name)
        return driver.fresh(found.url, private=found.private)

    plugin = ModuleType(driver.name)
    vars(plugin).update(to_break=to_break, url=url)
    return plugin


def pool_of(request: pytest.FixtureRequest, name: ServiceName) -> ServicePool:
    """Whose service a test's settings lead to: the run's, or one of its worker's own if the test is going to break it."""
    from test_framework.services.drivers import driver_of

    if not driver_of(name).breaking_fixtures.intersection(request.fixturenames):
        pool: ServicePool = request.getfixturevalue("pool")
        return pool
    return breakable_pool(request)


def breakable_pool(request: pytest.FixtureRequest) -> BreakablePool:
    on_a_small_disk = "disk" in request.fixturenames
    pool: BreakablePool = request.getfixturevalue("servers_on_a_small_disk" if on_a_small_disk else "servers_that_stay")
    return pool


def pool_to_break(mode: Mode, storage: Storage) -> BreakablePool:
    from test_framework.faults.breakable import BreakablePool

    if mode is Mode.LIGHTWEIGHT:
        raise RuntimeError("lightweight starts no service: have the test say needs(…), or move it to integration/")
    return BreakablePool(storage=storage)


@contextmanager
def whole_again(request: pytest.FixtureRequest) -> Iterator[BreakablePool]:
    """Yield what a test may break, and heal it afterwards, whatever the test did."""
    pool = breakable_pool(request)
    try:
        yield pool
    finally:
        pool.heal()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
@requires("postgres", "redis")
async def servers_that_stay(
    mode: Mode, worker_databases: Databases | None, keyspaces: Keyspaces | None
) -> AsyncIterator[BreakablePool]:
    """Servers that tests may end, pause and cut off: nobody else's, and at the same address however often they are killed."""
    async with left_with_its_module(pool_to_break(mode, "kept"), worker_databases, keyspaces) as own:
        yield own


@pytest_asyncio.fixture(scope="module", loop_scope="session")
@requires("postgres", "redis", "small_disk")
async def servers_on_a_small_disk(
    mode: Mode, worker_databases: Databases | None, keyspaces: Keyspaces | None
) -> AsyncIterator[BreakablePool]:
    """The same on a disk that can be filled, which loses its data with its container."""
    async with left_with_its_module(pool_to_break(mode, "small"), worker_databases, keyspaces) as own:
        yield own


@asynccontextmanager
async def left_with_its_module(
    pool: BreakablePool, databases: Databases | None, keyspaces: Keyspaces | None
) -> AsyncIterator[BreakablePool]:
    """Have a module's servers until the block ends: whoever comes after it can't use what they take of the machine."""
    await asyncio.to_thread(pool.begin)
    try:
        yield pool
    finally:
        if databases is not None and keyspaces is not None:
            await databases.leave(pool)
            await keyspaces.leave(pool.run)
        await asyncio.to_thread(pool.stop_all)


@pytest.fixture
@requires("redis")
def redis(request: pytest.FixtureRequest) -> Iterator[Breakable]:
    """A Redis to break: `async with redis.paused(for_=5):`."""
    with whole_again(request) as pool:
        yield pool.get("redis")


@pytest.fixture
@requires("postgres")
def postgres(request: pytest.FixtureRequest) -> Iterator[Breakable]:
    """A Postgres to break: `async with postgres.killed():`."""
    with whole_again(request) as pool:
        yield pool.get("postgres")


@pytest.fixture
@requires("postgres", "redis")
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    """The ways to Postgres and Redis: `async with network.delayed(200, 50):`."""
    with whole_again(request) as pool:
        yield pool.network


@pytest.fixture
@requires("postgres", "small_disk")
def disk(request: pytest.FixtureRequest) -> Iterator[Disk]:
    """The disk that Postgres writes to: `async with disk.full():`."""
    with whole_again(request) as pool:
        yield pool.disk


@pytest.fixture
@requires("faketime")
def clock(tmp_path: Path) -> Clock:
    """The clock of the server under test, which is then a process of its own: `async with clock.skewed(3600):`."""
    from test_framework.faults.skewed_clock import Clock, find_library

    library = find_library()
    if isinstance(library, str):
        raise RuntimeError(library)  # a test gets here only by getfixturevalue("clock"): have it say needs("faketime")
    return Clock(library, tmp_path)
