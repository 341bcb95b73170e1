"""One service for many tests: what a test does is told from what others do by its user, so it need not start a server."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from test_framework.modes import Mode

if TYPE_CHECKING:
    from test_framework.servers import Server
    from test_framework.service_pool import ServicePool
    from test_framework.test_context import TestContext


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_server(
    mode: Mode, request: pytest.FixtureRequest, migrated_file: Path | None, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    """The service under test, as `server` gives it, begun once: bring a user of your own, and leave it as it is."""
    from app.settings import ROOT
    from test_framework.env_files import file_for_tests
    from test_framework.servers import in_loop, in_process
    from test_framework.settings import IsolatedSettings

    async with AsyncExitStack() as stack:
        redis_url = ""
        if migrated_file is not None:
            file = shutil.copyfile(migrated_file, tmp_path_factory.mktemp("shared") / "shared.db")
            database_url = f"sqlite+aiosqlite:///{file}"
        else:
            from test_framework.isolation.postgres import PostgresTemplate

            pool: ServicePool = request.getfixturevalue("pool")
            redis_url = pool.get("redis").url
            template = PostgresTemplate(pool.get("postgres").url)
            database_url = await stack.enter_async_context(template.clone())
        settings = IsolatedSettings(
            _env_file=file_for_tests(ROOT),
            port=0,
            database_url=database_url,
            redis_url=redis_url,
            channel_prefix=f"shared-{secrets.token_hex(4)}",
            token_secret=secrets.token_urlsafe(48),
            requests_per_minute=1_000_000,
            log_level="warning",
        )
        serve = in_process if mode is Mode.FULL else in_loop
        running: Server = await stack.enter_async_context(serve(settings))
        yield running


@pytest_asyncio.fixture
async def ada(shared_server: Server) -> AsyncIterator[TestContext]:
    """A user whom nobody else knows, connected to the shared service."""
    from test_framework.test_context import TestContext

    async with TestContext(shared_server) as ada:
        yield ada


@pytest_asyncio.fixture
async def bob(shared_server: Server) -> AsyncIterator[TestContext]:
    """Another user whom nobody else knows, connected to the shared service."""
    from test_framework.test_context import TestContext

    async with TestContext(shared_server) as bob:
        yield bob
