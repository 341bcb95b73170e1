"""What the tests of the agents ask for: users who can start runs, and a server whose streams are shared."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from test_framework.isolation.fixtures import MakeDatabase
from test_framework.modes import Mode
from test_framework.servers import Server
from tests.agents.context import AgentsContext

if TYPE_CHECKING:
    from tests.agents.rooms import RoomsServer


@pytest.fixture(params=["own", "shared"])
def kind_of_stream(request: pytest.FixtureRequest) -> str:
    """Run a test on users' own streams, and again on shared ones: `usefixtures` this, and the rest of the test stays."""
    kind: str = request.param
    return kind


def on_shared_streams(request: pytest.FixtureRequest) -> bool:
    """Whether the test asks for a kind of stream, and this time for shared ones."""
    return "kind_of_stream" in request.fixturenames and request.getfixturevalue("kind_of_stream") == "shared"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server_with_rooms(
    mode: Mode, lasting_database: MakeDatabase, shared_redis_url: str
) -> AsyncIterator[RoomsServer]:
    """A service for many tests, where users work in rooms; it starts with the first test that asks for it."""
    from app.db.schema import migrations
    from test_framework.isolation.redis import SHARED
    from test_framework.servers import in_loop, in_processes
    from test_framework.settings import settings_for_tests
    from tests.agents.rooms import MODULE, RoomsServer, app_with_rooms

    async with lasting_database(migrations) as url:
        settings = settings_for_tests(
            database_url=url,
            redis_url=shared_redis_url,
            channel_prefix=f"{SHARED}{secrets.token_hex(4)}",
            token_secret=secrets.token_urlsafe(48),
        )
        if mode is Mode.FULL:
            async with in_processes(settings, 2, module=MODULE) as processes:
                yield RoomsServer(settings, processes.url)
        else:
            async with in_loop(settings, app_with_rooms(settings)) as server:
                yield RoomsServer(settings, server.url)


@pytest.fixture
def shared_server(request: pytest.FixtureRequest, shared_server: Server) -> Server:
    """The service that many tests share, with the kind of stream that the test asks for."""
    if not on_shared_streams(request):
        return shared_server
    with_rooms: Server = request.getfixturevalue("server_with_rooms")
    return with_rooms


@pytest_asyncio.fixture
async def ada(shared_server: Server) -> AsyncIterator[AgentsContext]:
    """One user of the shared server, new in each test."""
    async with AgentsContext(shared_server) as user:
        yield user


@pytest_asyncio.fixture
async def bob(shared_server: Server) -> AsyncIterator[AgentsContext]:
    """Another user."""
    async with AgentsContext(shared_server) as user:
        yield user
