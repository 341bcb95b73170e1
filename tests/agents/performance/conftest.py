"""Two processes of the service that share a Postgres and a Redis, and a third that stands by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from app.settings import Settings
from commitstream.settings import CONNECTIONS
from test_framework.faults.breakable import Breakable, Network
from test_framework.fixtures import MakeSettings
from test_framework.servers import ProcessServer
from tests.agents.performance.ordeal import Breakables, in_process_with_rooms

PLENTY = 10_000_000


@pytest.fixture
def breakables(redis: Breakable, postgres: Breakable, network: Network) -> Breakables:
    """Everything that a scenario may break; asked for before the pair, so that the pair reaches it through the proxy."""
    return Breakables(redis, postgres, network)


@pytest.fixture
def make_settings(make_settings: MakeSettings) -> MakeSettings:
    """Settings with as many connections to Postgres as in production, where other tests make do with few."""
    return lambda **changed: make_settings(**{"database_pool_size": CONNECTIONS} | changed)


@pytest.fixture
def shared(make_settings: MakeSettings) -> Settings:
    """The settings of both processes."""
    settings: Settings = make_settings(requests_per_minute=PLENTY)
    return settings


@pytest_asyncio.fixture
async def pair(shared: Settings) -> AsyncIterator[list[ProcessServer]]:
    """Two processes of the service, on the same database and Redis."""
    async with AsyncExitStack() as stack:
        yield await asyncio.gather(*(stack.enter_async_context(in_process_with_rooms(shared)) for _ in range(2)))


@pytest_asyncio.fixture
async def bystander(make_settings: MakeSettings) -> AsyncIterator[ProcessServer]:
    """A process of its own on the same database, which needs no Redis: what it takes is what the machine gives."""
    async with in_process_with_rooms(make_settings(redis_url="", requests_per_minute=PLENTY)) as server:
        yield server
