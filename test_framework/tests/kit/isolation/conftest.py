"""Databases as a worker of another run would have them, so that what follows a test can be watched from inside a test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from test_framework.isolation.databases import Databases, databases


@pytest_asyncio.fixture
async def worker() -> AsyncIterator[Databases]:
    """A worker of our own, whose tests we play."""
    async with databases("played") as own:
        yield own
