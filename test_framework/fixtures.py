"""What a test may ask for. Each fixture's docstring names the trouble it spares."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from test_framework.fault_fixtures import service_of
from test_framework.modes import Mode

if TYPE_CHECKING:
    from app.settings import Settings
    from test_framework.event_path import EventPath
    from test_framework.servers import Server
    from test_framework.skewed_clock import Clock

MakeSettings = Callable[..., "Settings"]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated_file(mode: Mode, tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """An empty SQLite file, migrated once: a copy of it costs a hundredth of migrating another."""
    if mode is not Mode.LIGHTWEIGHT:
        return None
    from app.db import migrate
    from app.db.database import Database

    file = tmp_path_factory.mktemp("migrated") / "empty.db"
    database = Database(f"sqlite+aiosqlite:///{file}")
    await migrate.upgrade(database.engine)
    await database.close()
    return file


@pytest_asyncio.fixture
async def database_url(
    request: pytest.FixtureRequest, migrated_file: Path | None, tmp_path: Path
) -> AsyncIterator[str]:
    """An empty, migrated database of this test's own: nobody else's rows, real commits."""
    if migrated_file is not None:
        file = tmp_path / "test.db"
        shutil.copyfile(migrated_file, file)
        yield f"sqlite+aiosqlite:///{file}"
        return
    from test_framework.isolation.postgres import PostgresTemplate

    async with PostgresTemplate(service_of(request, "postgres").url).clone() as url:
        yield url


@pytest.fixture
def redis_url(mode: Mode, request: pytest.FixtureRequest) -> str:
    """The Redis of this run; empty where nothing is real."""
    if mode is Mode.LIGHTWEIGHT:
        return ""
    return service_of(request, "redis").url


@pytest.fixture
def make_settings(database_url: str, redis_url: str) -> MakeSettings:
    """Settings for the service under test: this test's database, channels and secret; none of the developer's."""
    from app.settings import ROOT
    from test_framework.env_files import file_for_tests
    from test_framework.settings import IsolatedSettings

    own: dict[str, Any] = {
        "port": 0,
        "database_url": database_url,
        "redis_url": redis_url,
        "channel_prefix": f"test-{secrets.token_hex(4)}",
        "token_secret": secrets.token_urlsafe(48),
        "log_level": "warning",
    }
    return lambda **changed: IsolatedSettings(_env_file=file_for_tests(ROOT), **own | changed)


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    """The settings of the service under test."""
    return make_settings()


@pytest_asyncio.fixture
async def server(request: pytest.FixtureRequest, mode: Mode, settings: Settings) -> AsyncIterator[Server]:
    """The service under test, running behind its own server: in this loop, or in full as a process."""
    from test_framework.servers import in_loop, in_process

    async with AsyncExitStack() as stack:
        if "clock" in request.fixturenames:
            skewed: Clock = request.getfixturevalue("clock")
            yield await stack.enter_async_context(in_process(settings, skewed.environment))
            return
        running: Server = await stack.enter_async_context((in_process if mode is Mode.FULL else in_loop)(settings))
        yield running


@pytest_asyncio.fixture
async def path(database_url: str) -> AsyncIterator[EventPath]:
    """Journal, outbox and relay on this test's own database, with a bus that takes notes."""
    from test_framework.event_path import event_path

    async with event_path(database_url) as wired:
        yield wired
