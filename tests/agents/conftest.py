"""What the tests of the agents ask for: users who can start runs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from test_framework.servers import Server
from tests.agents.context import AgentsContext


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
