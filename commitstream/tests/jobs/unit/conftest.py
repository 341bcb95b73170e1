from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from commitstream.tests.jobs import application
from commitstream.tests.jobs.application import JobsSettings
from commitstream.tests.jobs.conftest import jobs_settings
from commitstream.tests.jobs.inside import Inside, eventually, jobs_in_loop, left_over, started
from test_framework.isolation.fixtures import MakeDatabase
from test_framework.servers import InLoopServer


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def plain(lasting_database: MakeDatabase) -> AsyncIterator[JobsSettings]:
    """The settings of the shared service: no test reaches its limits."""
    async with lasting_database(application.migrations) as url:
        yield jobs_settings(url, "", f"inside-{secrets.token_hex(4)}")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared(plain: JobsSettings) -> AsyncIterator[Inside]:
    async with started(plain) as running:
        yield running


@pytest.fixture
def inside(shared: Inside) -> Inside:
    """The service, ready, without a server: shared by tests, each of which creates a new user."""
    return shared.for_somebody_new()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def served(plain: JobsSettings) -> AsyncIterator[InLoopServer]:
    """One server for all who watch: what one socket or stream does must not be noticed by another."""
    async with jobs_in_loop(plain) as running:
        yield running


@pytest_asyncio.fixture
async def watched(served: InLoopServer) -> AsyncIterator[InLoopServer]:
    """That server; after the test no watcher and no task of a socket or stream is left."""
    yield served
    await eventually(lambda: left_over(served), lambda left: not left)


@pytest_asyncio.fixture
async def own(settings: JobsSettings) -> AsyncIterator[Inside]:
    """A service of a test's own, without a server."""
    async with started(settings) as running:
        yield running
