"""What a test asks for to break something: it then gets servers of its worker's own, at addresses that stay, healed after it.

A test that names one of these also gets its settings, its database and its server on what it is going to break.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from test_framework.modes import Mode
from test_framework.services.state import ServiceName

if TYPE_CHECKING:
    from test_framework.faults.breakable import Breakable, BreakablePool, Disk, Network
    from test_framework.faults.skewed_clock import Clock
    from test_framework.service_pool import ServicePool
    from test_framework.services.stack import Storage


BREAKS: dict[ServiceName, frozenset[str]] = {
    "redis": frozenset({"redis", "network"}),
    "postgres": frozenset({"postgres", "network", "disk"}),
}


def pool_of(request: pytest.FixtureRequest, name: ServiceName) -> ServicePool:
    """Whose service a test's settings lead to: the run's, or one of its worker's own if the test is going to break it."""
    if not BREAKS[name].intersection(request.fixturenames):
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
        pytest.skip("nothing is real in lightweight, so nothing can be broken")
    return BreakablePool(storage=storage)


@contextmanager
def whole_again(request: pytest.FixtureRequest) -> Iterator[BreakablePool]:
    """Yield what a test may break, and heal it afterwards, whatever the test did."""
    pool = breakable_pool(request)
    try:
        yield pool
    finally:
        pool.heal()


@pytest.fixture(scope="session")
def servers_that_stay(mode: Mode) -> Iterator[BreakablePool]:
    """Servers that tests may end, pause and cut off: nobody else's, and at the same address however often they are killed."""
    with pool_to_break(mode, "kept") as own:
        yield own


@pytest.fixture(scope="session")
def servers_on_a_small_disk(mode: Mode) -> Iterator[BreakablePool]:
    """The same on a disk that can be filled, which loses its data with its container."""
    from test_framework.services.small_disk import obstacle

    with pool_to_break(mode, "small") as own:
        if own.wanted in {"native", "bundled"} and (reason := obstacle()):
            pytest.skip(reason)
        yield own


@pytest.fixture
def redis(request: pytest.FixtureRequest) -> Iterator[Breakable]:
    """A Redis to break: `async with redis.paused(for_=5):`."""
    with whole_again(request) as pool:
        yield pool.get("redis")


@pytest.fixture
def postgres(request: pytest.FixtureRequest) -> Iterator[Breakable]:
    """A Postgres to break: `async with postgres.killed():`."""
    with whole_again(request) as pool:
        yield pool.get("postgres")


@pytest.fixture
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    """The ways to Postgres and Redis: `async with network.delayed(200, 50):`."""
    with whole_again(request) as pool:
        yield pool.network


@pytest.fixture
def disk(request: pytest.FixtureRequest) -> Iterator[Disk]:
    """The disk that Postgres writes to: `async with disk.full():`."""
    with whole_again(request) as pool:
        yield pool.disk


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """The clock of the server under test, which is then a process of its own: `async with clock.skewed(3600):`."""
    from test_framework.faults.skewed_clock import Clock, find_library

    library = find_library()
    if isinstance(library, str):
        pytest.skip(library)
    return Clock(library, tmp_path)
