"""The auction behind real servers, on a database with its own tables."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest
import pytest_asyncio

from commitstream import Migrations
from commitstream.tests.auction import application
from commitstream.tests.auction.application import AuctionSettings, create_app
from test_framework.isolation.fixtures import MakeDatabase
from test_framework.isolation.redis import SHARED
from test_framework.modes import Mode
from test_framework.servers import ProcessServer, Server, in_loop, in_process, in_processes

MODULE = "commitstream.tests.auction"
PROCESSES = 2

ServeProcess = Callable[[AuctionSettings], AbstractAsyncContextManager[ProcessServer]]


def auction_settings(database_url: str, redis_url: str, channel_prefix: str) -> AuctionSettings:
    return AuctionSettings(
        port=0,
        database_url=database_url,
        database_pool_size=5,
        redis_url=redis_url,
        channel_prefix=channel_prefix,
        token_secret=secrets.token_urlsafe(48),
        requests_per_minute=1_000_000,
        log_level="warning",
    )


def serving(mode: Mode, settings: AuctionSettings, processes: int = PROCESSES) -> AbstractAsyncContextManager[Server]:
    """Serve the auction in this loop, or in full as several processes behind one door."""
    if mode is Mode.FULL:
        return in_processes(settings, processes, module=MODULE)
    return in_loop(settings, create_app(settings))


@pytest.fixture
def migrations() -> Migrations:
    return application.migrations


@pytest.fixture
def auction(database_url: str, redis_url: str, redis_namespace: str) -> AuctionSettings:
    """The settings of the auction: this test's database and channels."""
    return auction_settings(database_url, redis_url, redis_namespace)


@pytest_asyncio.fixture
async def server(mode: Mode, auction: AuctionSettings) -> AsyncIterator[Server]:
    """An auction of this test's own."""
    async with serving(mode, auction) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_auction(mode: Mode, lasting_database: MakeDatabase, shared_redis_url: str) -> AsyncIterator[Server]:
    """One auction for many tests: open a lot of your own."""
    async with lasting_database(application.migrations) as url:
        settings = auction_settings(url, shared_redis_url, f"{SHARED}{secrets.token_hex(4)}")
        # one process: it stays to the end of the run, beside the shared service, in every worker
        async with serving(mode, settings, 1) as running:
            yield running


@pytest.fixture
def serve_process() -> ServeProcess:
    """Serves the auction in a process, in every mode with a real database and Redis."""
    return partial(in_process, module=MODULE)
