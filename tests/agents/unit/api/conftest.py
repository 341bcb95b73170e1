from __future__ import annotations

import secrets
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from app.settings import Settings
from test_framework.servers import InLoopServer, in_loop
from test_framework.settings import settings_for_tests
from tests.agents.unit.api.inside import Inside, at_work, eventually, left_over, started


@pytest.fixture(scope="session")
def plain(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The settings of the shared service: nobody in it runs into a limit that is not what they test."""
    database = tmp_path_factory.mktemp("inside") / "shared.db"
    shutil.copyfile(migrated_file, database)
    return settings_for_tests(
        database_url=f"sqlite+aiosqlite:///{database}", redis_url="", token_secret=secrets.token_urlsafe(48)
    )


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared(plain: Settings) -> AsyncIterator[Inside]:
    async with started(plain) as running:
        yield running


@pytest_asyncio.fixture
async def inside(shared: Inside) -> AsyncIterator[Inside]:
    """The service, ready, without a server: shared by tests, each of which brings a user of its own, and whose runs end with it."""
    yield shared.for_somebody_new()
    await eventually(lambda: at_work(shared), lambda runs: runs == 0)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def served(plain: Settings) -> AsyncIterator[InLoopServer]:
    """One server for all who watch: what one socket or stream does must not be noticed by another."""
    async with in_loop(plain) as running:
        yield running


@pytest_asyncio.fixture
async def watched(served: InLoopServer) -> AsyncIterator[InLoopServer]:
    """That server; after the test nobody watches any more, and no task of a socket or stream is left."""
    yield served
    await eventually(lambda: left_over(served), lambda left: not left)


@pytest_asyncio.fixture
async def own(settings: Settings) -> AsyncIterator[Inside]:
    """A service of a test's own, without a server."""
    async with started(settings) as running:
        yield running
