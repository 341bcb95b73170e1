"""The browser of this machine, for tests that look at a page: `async def test_it(browser): await browser.new_page()`.

A test that asks for it is left out, and counted, where there is none; `CHROMIUM` says where one is that is not on PATH.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest_asyncio

from test_framework.running import needs

if TYPE_CHECKING:
    from playwright.async_api import Browser

SWITCHES = (
    "no-sandbox disable-gpu disable-quic disable-dev-shm-usage no-first-run disable-background-networking "
    "disable-component-update disable-sync"
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for the tests of a module; open a context of its own in each, and nothing of one is seen by another."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(
            executable_path=needs.find_browser(), args=[f"--{switch}" for switch in SWITCHES.split()]
        )
        yield started
        await started.close()
