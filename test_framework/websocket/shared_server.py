"""One service for many tests: what a test does is told from what others do by its user, so it need not start a server."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest_asyncio

from test_framework.modes import Mode

if TYPE_CHECKING:
    from test_framework.servers import Server
    from test_framework.test_context import TestContext
    from test_framework.websocket.event_path import EventPath


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_server(mode: Mode, shared_database_url: str, shared_redis_url: str) -> AsyncIterator[Server]:
    """The service under test, as `server` gives it, begun once: bring a user of your own, and leave it as it is."""
    from test_framework.isolation.redis import SHARED
    from test_framework.project import project
    from test_framework.servers import in_loop, in_processes
    from test_framework.settings import settings_for_tests

    async with AsyncExitStack() as stack:
        namespace, secret = f"{SHARED}{secrets.token_hex(4)}", secrets.token_urlsafe(48)
        own = project().settings_of_each_test(shared_database_url, shared_redis_url, namespace, secret)
        settings = settings_for_tests(**own)
        serving = in_processes(settings, 2) if mode is Mode.FULL else in_loop(settings)
        running: Server = await stack.enter_async_context(serving)
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


@pytest_asyncio.fixture
async def path(database_url: str) -> AsyncIterator[EventPath]:
    """Journal, outbox and relay on this test's own database, with a bus that takes notes."""
    from test_framework.websocket.event_path import event_path

    async with event_path(database_url) as wired:
        yield wired
