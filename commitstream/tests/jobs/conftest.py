"""The jobs behind real servers, on a database with the engine's tables alone."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest
import pytest_asyncio

from commitstream import Migrations
from commitstream.tests.jobs import application
from commitstream.tests.jobs.application import JobsSettings
from commitstream.tests.jobs.client import JobsContext
from commitstream.tests.jobs.inside import jobs_in_loop
from commitstream.topics import Topics
from test_framework.faults.skewed_clock import Clock
from test_framework.isolation.fixtures import MakeDatabase
from test_framework.isolation.redis import SHARED
from test_framework.modes import Mode
from test_framework.servers import Server, in_process, in_processes
from test_framework.websocket import order

MODULE = "commitstream.tests.jobs"

MakeJobsSettings = Callable[..., JobsSettings]
ServeJobs = Callable[[JobsSettings], AbstractAsyncContextManager[Server]]


def jobs_settings(database_url: str, redis_url: str, channel_prefix: str, **changed: object) -> JobsSettings:
    """Settings whose limits no test reaches unless it tests that limit."""
    own: dict[str, object] = {
        "port": 0,
        "database_url": database_url,
        "database_pool_size": 3,
        "redis_url": redis_url,
        "channel_prefix": channel_prefix,
        "token_secret": secrets.token_urlsafe(48),
        "requests_per_minute": 1_000_000,
        "sockets_per_user": 10_000,
        "shutdown_timeout_seconds": 20.0,
        "log_level": "warning",
    }
    return JobsSettings.model_validate(own | changed)


def serving(mode: Mode, settings: JobsSettings, processes: int = 2) -> AbstractAsyncContextManager[Server]:
    """Serve the jobs in this loop, or in full as several processes behind one door."""
    if mode is Mode.FULL:
        return in_processes(settings, processes, module=MODULE)
    return jobs_in_loop(settings)


@pytest.fixture(autouse=True)
def _order_of_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have captures check the order that the jobs declare, instead of the project's."""
    topics = Topics(application.TOPICS)
    monkeypatch.setattr(order, "registry", lambda: topics)


@pytest.fixture
def migrations() -> Migrations:
    return application.migrations


@pytest.fixture
def make_settings(database_url: str, redis_url: str, redis_namespace: str) -> MakeJobsSettings:
    """Makes the settings of the jobs: this test's database and channels."""
    own = {"database_url": database_url, "redis_url": redis_url, "channel_prefix": redis_namespace}
    return lambda **changed: jobs_settings(**own | changed)


@pytest.fixture
def settings(make_settings: MakeJobsSettings) -> JobsSettings:
    return make_settings()


@pytest_asyncio.fixture
async def server(request: pytest.FixtureRequest, mode: Mode, settings: JobsSettings) -> AsyncIterator[Server]:
    """The jobs of this test's own; where it asks for a clock, in a process that has this clock."""
    if "clock" in request.fixturenames:
        clock: Clock = request.getfixturevalue("clock")
        async with in_process(settings, clock.environment, module=MODULE) as process:
            yield process
        return
    async with serving(mode, settings) as running:
        yield running


@pytest.fixture(scope="session")
def serve(mode: Mode) -> ServeJobs:
    """Return how a test starts one server: in this loop, or as a separate process in full."""
    if mode is Mode.FULL:
        return partial(in_process, module=MODULE)
    return jobs_in_loop


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_server(mode: Mode, lasting_database: MakeDatabase, shared_redis_url: str) -> AsyncIterator[Server]:
    """One server for many tests: bring a user of your own."""
    async with lasting_database(application.migrations) as url:
        settings = jobs_settings(url, shared_redis_url, f"{SHARED}{secrets.token_hex(4)}")
        # one process: it stays to the end of the run, beside the shared service, in every worker
        async with serving(mode, settings, 1) as running:
            yield running


@pytest_asyncio.fixture
async def ada(shared_server: Server) -> AsyncIterator[JobsContext]:
    """One user of the shared server, new in each test."""
    async with JobsContext(shared_server) as user:
        yield user


@pytest_asyncio.fixture
async def bob(shared_server: Server) -> AsyncIterator[JobsContext]:
    """Another user."""
    async with JobsContext(shared_server) as user:
        yield user
