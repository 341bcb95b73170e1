from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from app.settings import Settings
from tests.unit.api.inside import Inside, started


@pytest_asyncio.fixture
async def inside(settings: Settings) -> AsyncIterator[Inside]:
    """The service, ready, without a server: what needs no socket is asked in this process."""
    async with started(settings) as running:
        yield running
